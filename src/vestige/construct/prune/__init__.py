"""Networks that hide in random ones (arXiv 2002.00585)."""
