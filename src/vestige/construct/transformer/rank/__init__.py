"""What the rank of an attention head can do (arXiv 2407.16153)."""
