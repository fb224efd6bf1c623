"""Constructions as files, and an independent checker of what such a file claims."""
