"""ReLU networks as narrow deep ones (arXiv 2202.03841)."""
