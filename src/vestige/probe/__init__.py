"""What a language model's activations say of truth, with the controls that show what else they say.

`truth` has a one-layer model in which a truth direction emerges, probes for it, and checks of what they rest on
(arXiv 2510.15804).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
