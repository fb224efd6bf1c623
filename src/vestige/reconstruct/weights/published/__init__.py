"""The published attack, as its authors run it."""
