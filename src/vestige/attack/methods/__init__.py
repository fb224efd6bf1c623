"""Attacks on inputs, and what they are made of."""
