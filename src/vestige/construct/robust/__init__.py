"""Narrow networks that keep every label in a ball around its point (arXiv 2502.11162)."""
