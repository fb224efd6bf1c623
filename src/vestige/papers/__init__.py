"""One record a paper: what it is, what it gives a user, and whether that works yet; and experiments of the papers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
