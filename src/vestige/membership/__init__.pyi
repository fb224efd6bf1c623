from .calibration import conformal_p_values as conformal_p_values
from .calibration import q_values as q_values
from .scores import Membership as Membership
from .scores import membership_scores as membership_scores
