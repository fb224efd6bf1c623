"""Questions shaped like trees, and three architectures that answer them (arXiv 2503.01544)."""
