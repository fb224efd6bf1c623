"""How easily is a model fooled? Attacks on the inputs of a classifier and the report that they end in.

Each attack is a function of a plain module that returns logits, of inputs in data space and of their labels: MALT
(arXiv 2407.02240), APGD, FAB, Square, and suites of them. All take one threat model, `vestige.core.threat.Threat`:

    eps     radius of the ball around each sample, in units of the data, such as 8/255
    norm    of the ball: "linf", "l2" or "l1"
    space   `InputSpace`: the box of valid inputs and their normalization; None for [0, 1] and none

`theory/` says why networks are fooled: common directions, directions off the data's span, linearity along an attack.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
