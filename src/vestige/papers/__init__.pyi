from .catalogue import RECORDS as RECORDS
from .non_robust_networks import RobustnessGap as RobustnessGap
from .non_robust_networks import robustness_gap as robustness_gap
from .non_robust_networks import sphere_robustness_gap as sphere_robustness_gap
from .record import Record as Record
