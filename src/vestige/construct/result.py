"""What a construction returns: the network, what it must do, and the certificate that it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Shaped
from torch import nn

from vestige.construct.exact.network import ExactNetwork
from vestige.core.cite import Paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import OnStep, Outcome


@runtime_checkable
class Specification(Protocol):
    """What a network must do, in a form that any network can be held against."""

    kind: ClassVar[str]

    def check(self, network: ExactNetwork, *, on_step: OnStep | None = None) -> tuple[Claim, ...]:
        """Claims measured on this network, exactly."""
        ...


@dataclass(frozen=True, eq=False)
class Interpolation:
    """At each point the network gives the target, up to a tolerance.

    Args:
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
        worst = max(errors)
        return (
            Claim("points off target", 0, wrong, self.source),
            Claim("largest error", _bound(self.tolerance), _number(worst), self.source),
        )

    def errors(self, network: ExactNetwork, *, on_step: OnStep | None = None) -> list[Fraction]:
        """Largest |output - target| at each point."""
        values = network(self.points, on_step=on_step)
        return [
            max(abs(v - Fraction(t)) for v, t in zip(row, wanted, strict=True))
            for row, wanted in zip(values, self.targets.tolist(), strict=True)
        ]


def _number(value: Fraction) -> float | int:
    """A value to report: an error that is not 0 never rounds to it."""
    return int(value) if value.denominator == 1 else max(float(value), 5e-324)


def _bound(value: Fraction) -> float | int:
    return int(value) if value.denominator == 1 else float(value)


@dataclass(frozen=True, eq=False)
class Construction:
    """A network that was written down rather than trained.

    Args:
        network: exact.
        specification: what it must do.
        certificate: every claim, those of the specification and those on sizes.
        outcome: CONVERGED where the certificate holds.
        warnings: what a reader must know.
        source: the papers.
        numbers: of the method, by name, such as the number of groups.
    """

    network: ExactNetwork
    specification: Specification
    certificate: Certificate
    outcome: Outcome
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]
    numbers: Mapping[str, float | int]

    def verify(self, *, on_step: OnStep | None = None) -> Certificate:
        """The specification's claims, measured anew on the network as it stands."""
        return Certificate(self.specification.check(self.network, on_step=on_step))

    def to_torch(self, dtype: torch.dtype = torch.float64, *, at: Any = None, exact: bool = True) -> nn.Sequential:
        """As `ExactNetwork.to_torch`, at the points of the specification where it has some and `at` is not given."""
        at = getattr(self.specification, "points", None) if at is None else at
        return self.network.to_torch(dtype, at=at, exact=exact)
