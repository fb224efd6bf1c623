"""How easily is a model fooled? Attacks on the inputs of a classifier and the report that they end in.

Each attack is a function of a plain module that returns logits and of inputs in data space. The order in which targets
are tried is MALT's (arXiv 2407.02240); around it stand APGD, FAB and Square, and the suite of all of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
