"""Taking samples out of a trained network, and measuring what that did (arXiv 2510.14844)."""
