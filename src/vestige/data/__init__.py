"""Data sets by name or from files, always as labelled samples in data space."""
