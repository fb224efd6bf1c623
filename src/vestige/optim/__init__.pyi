from .line import Curvature as Curvature
from .line import Numerator as Numerator
from .locally_optimal import LocallyOptimalSchedule as LocallyOptimalSchedule
from .locally_optimal import LocallyOptimalStep as LocallyOptimalStep
from .rate import Probe as Probe
