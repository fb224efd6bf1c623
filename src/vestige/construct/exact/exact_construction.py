"""A construction whose network holds integers over powers of two: known to the last bit, and audited before floats."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vestige.construct.construction import Construction
from vestige.construct.exact.network import ExactNetwork


@dataclass(frozen=True, eq=False, kw_only=True)
class ExactConstruction(Construction):
    """A construction whose network is evaluated in exact arithmetic."""

    network: ExactNetwork

    def to_torch(self, dtype: torch.dtype = torch.float64, *, at: Any = None, exact: bool = True) -> nn.Sequential:
        """As `ExactNetwork.to_torch`, at the points of the specification where it has some and `at` is not given."""
        at = getattr(self.specification, "points", None) if at is None else at
        return self.network.to_torch(dtype, at=at, exact=exact)
