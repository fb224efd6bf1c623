"""Taking samples out of a trained network, and measuring what that did (arXiv 2510.14844)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
