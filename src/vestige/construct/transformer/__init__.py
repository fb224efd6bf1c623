"""Transformers whose weights are computed: they run an algorithm, and say what it costs."""
