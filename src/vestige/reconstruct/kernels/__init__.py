"""Training points of kernel machines from their scores (arXiv 2505.19019), and the kernels."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
