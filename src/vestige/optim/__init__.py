"""Step sizes without schedules: the step that descends most, read off slope and curvature (arXiv 2311.13877)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
