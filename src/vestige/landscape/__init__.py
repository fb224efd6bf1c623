"""Where does training lead? Exact losses, certified minima, and what overfitting does.

Over Gaussian inputs the loss of a two-layer network that imitates another one has a closed form, with its gradient and
its second derivatives (`gaussian`). On it stand the landscapes of one neuron (`neuron`: arXiv 2001.05205, 2106.01101)
and of teacher and student (`teacher_student`: 2006.01005). `overfitting` has profiles of it (2305.15141).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
