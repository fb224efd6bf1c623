"""Transformers that count tokens (arXiv 2407.15160)."""
