"""Graph networks before training: can these tokens express the task, and will the model survive larger graphs?

`tokens` makes tokens of graphs and says what they lose (arXiv 2605.22471); `patterns` compares small and large graphs
by their local structure (arXiv 2010.08853).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
