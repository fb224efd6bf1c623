from .queries import QueryAudit as QueryAudit
from .queries import audit_queries as audit_queries
from .robustness import RobustnessAudit as RobustnessAudit
from .robustness import audit_robustness as audit_robustness
from .unlearning import UnlearningAudit as UnlearningAudit
from .unlearning import audit_unlearning as audit_unlearning
from .weights import Audit as Audit
from .weights import audit as audit
