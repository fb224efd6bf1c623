"""Functions that deep networks express, and what tells whether they are learned (arXiv 2102.00434)."""
