"""What robust memorization asks for: the label at every point of a ball around each sample."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Shaped

from vestige.construct.exact.interpolation import Interpolation
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.exact.points import integer_points, objects
from vestige.construct.exact.rounding import upwards
from vestige.construct.robust.radius import lengths
from vestige.core.claims import Claim
from vestige.core.outcome import OnStep

STEPS = 1 << 20  # parts of the way to another point: how close to the edge of its ball a probe gets


@dataclass(frozen=True, eq=False)
class Balls:
    """Within `eps` of each point, in l_norm, the network gives the target.

    A check at finitely many points proves nothing about balls; the claims of a construction's certificate do. What
    `check` measures is where other networks fail first: at the points, and at the edge of each ball towards the nearest
    point of another target and away from it.

    Attributes:
        points: (n, inputs) floats or integers, taken exactly.
        targets: (n, 1) integers, floats or Fractions, taken exactly.
        eps: radius of the balls; inf where all targets agree.
        norm: exponent p of the balls.
        source: the theorem that promises it.
    """

    points: Shaped[np.ndarray, "n inputs"]
    targets: Shaped[np.ndarray, "n outputs"]
    eps: float
    norm: float
    source: str
    kind: ClassVar[str] = "balls"

    def check(self, network: ExactNetwork, *, on_step: OnStep | None = None) -> tuple[Claim, ...]:
        """Errors at the points, and at the probes."""
        probes, owners = self.probes()
        centers = objects(map(Fraction, self.points.ravel().tolist()))
        everything = np.concatenate([centers.reshape(self.points.shape), probes])
        targets = np.concatenate([self.targets, self.targets[owners]])
        errors = Interpolation(everything, targets, self.source).errors(network, on_step=on_step)
        n = len(self.points)
        groups = (("", errors[:n]), (", edges of the balls", errors[n:])) if len(probes) else (("", errors),)
        return tuple(claim for where, group in groups for claim in self._claims(where, group))

    def _claims(self, where: str, errors: list[Fraction]) -> Iterator[Claim]:
        yield Claim(f"points off target{where}", 0, sum(error > 0 for error in errors), self.source)
        yield Claim(f"largest error{where}", 0, upwards(max(errors)), self.source)

    def probes(self) -> tuple[Shaped[np.ndarray, "k inputs"], Shaped[np.ndarray, " k"]]:
        """Points of the balls, as Fractions, and the position of the sample whose ball each is in."""
        integers, exponent = integer_points(self.points, self.points.shape[1])
        floats = np.asarray(self.points, dtype=np.float64)
        labels = self.targets[:, 0]
        found, owners = [], []
        for i in range(len(floats)) if math.isfinite(self.eps) else ():
            others = np.flatnonzero(labels != labels[i])
            if not len(others):
                continue
            apart = lengths(torch.from_numpy(floats[others] - floats[i]), self.norm).numpy()
            nearest = int(others[apart.argmin()])
            share = math.floor(self.eps / float(apart.min()) * (1 - 1e-12) * STEPS)
            start, way = integers[i].astype(object), integers[nearest].astype(object) - integers[i].astype(object)
            found.extend([start * STEPS + share * way, start * STEPS - share * way])
            owners.extend([i, i])
        below = STEPS << exponent
        flat = objects(Fraction(int(v), below) for row in found for v in row)
        return flat.reshape(len(found), self.points.shape[1]), np.array(owners, dtype=int)
