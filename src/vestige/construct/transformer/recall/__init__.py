"""Transformers that recall facts: written down, trained, and read (arXiv 2605.12426)."""
