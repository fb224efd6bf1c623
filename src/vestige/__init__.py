"""vestige reads, writes and erases what a neural network's weights hold.

`import vestige as vg` has the verbs and nouns that are typed first; the rest is reached through its room, such as
`vg.attack.apgd`. Each room's `__init__.pyi` lists its names, and each is loaded when it is first used, so that
importing the package takes milliseconds and not the seconds that torch takes.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
