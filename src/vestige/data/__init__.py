"""Data sets by name or from files, always as labeled samples in data space."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
