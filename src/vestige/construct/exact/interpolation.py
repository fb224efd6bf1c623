"""The commonest specification of an exact network: at each of these points it gives this target."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
from jaxtyping import Shaped

from vestige.construct.exact.network import ExactNetwork
from vestige.construct.exact.rounding import upwards
from vestige.core.claims import Claim
from vestige.core.outcome import OnStep


@dataclass(frozen=True, eq=False)
class Interpolation:
    """At each point the network gives the target, up to a tolerance.

    Attributes:
        points: (n, inputs) floats or integers, taken exactly.
        targets: (n, outputs) integers, floats or Fractions, taken exactly.
        source: the theorem that promises it.
        tolerance: largest error allowed; 0 for equality to the last bit.
    """

    points: Shaped[np.ndarray, "n inputs"]
    targets: Shaped[np.ndarray, "n outputs"]
    source: str
    tolerance: Fraction = Fraction(0)
    kind: ClassVar[str] = "interpolation"

    def check(self, network: ExactNetwork, *, on_step: OnStep | None = None) -> tuple[Claim, ...]:
        """The number of points that are off, and the largest error."""
        errors = self.errors(network, on_step=on_step)
        wrong = sum(bool(error > self.tolerance) for error in errors)
        return (
            Claim("points off target", 0, wrong, self.source),
            Claim("largest error", upwards(self.tolerance), upwards(max(errors)), self.source),
        )

    def errors(self, network: ExactNetwork, *, on_step: OnStep | None = None) -> list[Fraction]:
        """Largest |output - target| at each point."""
        values = network(self.points, on_step=on_step)
        return [
            max(abs(v - Fraction(t)) for v, t in zip(row, wanted, strict=True))
            for row, wanted in zip(values, self.targets.tolist(), strict=True)
        ]
