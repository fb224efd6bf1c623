"""The whole work behind a question about a model: plain values in, a frozen result and, if asked for, a run folder out.

Nothing here knows a terminal: progress enters as `on_step`, whose `Step.note` names the phase.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
