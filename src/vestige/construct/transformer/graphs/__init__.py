"""Transformers that read a graph row by row of its adjacency matrix (arXiv 2503.01805)."""
