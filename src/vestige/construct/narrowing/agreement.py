"""What a narrow network must do: agree with its target, at stored inputs exactly checked, and wherever it is safe."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from numpy.typing import NDArray
from torch import Tensor

from vestige.construct.exact.layers import layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.exact.points import rows_of
from vestige.construct.exact.rounding import upwards
from vestige.core.claims import Claim
from vestige.core.outcome import OnStep
from vestige.core.relu_chain import ReluChain


@dataclass(frozen=True)
class SafeRegion:
    """Inputs whose bits are read correctly: |x_j| <= radius, and x_j 2**bits at least `ramp` below the next integer."""

    radius: float
    bits: int
    ramp: Fraction

    def holds(self, x: NDArray[np.float64]) -> NDArray[np.bool_]:
        """One answer an input, without rounding: below an integer the distance to it is exact in floats."""
        scaled = np.ldexp(x, self.bits)
        below = np.ceil(scaled) - scaled
        return ((abs(x) <= self.radius) & ((below == 0) | (below >= float(self.ramp)))).all(1)

    def unsafe_probability(self, inputs: int, density: float | None) -> Fraction:
        """Upper bound for inputs in the box whose density is nowhere larger: one strip a step and coordinate.

        None stands for the uniform distribution.
        """
        side = 2 * Fraction(self.radius)
        uniform = inputs * self.ramp * (1 + Fraction(1, 1 << self.bits) / side)
        return uniform if density is None else uniform * Fraction(density) * side**inputs


@dataclass(frozen=True, eq=False, kw_only=True)
class Agreement:
    """The network's outputs are the target's, up to a tolerance times a size.

    Attributes:
        target: the network to agree with, exactly as its weights are stored.
        points: (n, inputs) float64, safe.
        sizes: n positive floats; an error counts in units of them. Ones for an absolute tolerance.
        tolerance: largest error allowed; 0 for equality to the last bit.
        values: (n, outputs) Fractions that the network must give exactly, computed without it; None if not known.
        source: the theorem that promises it.
        radius: None where it is promised everywhere; else the next four say where, see `is_safe`.
        bits: of a coordinate that are read after the binary point.
        ramp: how far below a multiple of 2**-bits a coordinate must stay, in units of it.
        density: largest density of the inputs on the box; None for the uniform distribution.
        delta: largest probability of inputs that are not safe.
    """

    target: ExactNetwork
    points: Float[np.ndarray, "n inputs"]
    sizes: Float[np.ndarray, " n"]
    tolerance: Fraction
    values: Shaped[np.ndarray, "n outputs"] | None
    source: str
    radius: float | None = None
    bits: int | None = None
    ramp: Fraction | None = None
    density: float | None = None
    delta: float | None = None
    kind: ClassVar[str] = "narrow"

    @property
    def region(self) -> SafeRegion | None:
        """Where the promise holds; None for everywhere."""
        if self.radius is None or self.bits is None or self.ramp is None:
            return None
        return SafeRegion(self.radius, self.bits, self.ramp)

    def is_safe(self, x: Float[Tensor, "n ..."] | Float[np.ndarray, "n ..."]) -> Bool[Tensor, " n"]:
        """Which inputs the promise covers; at others the output may be anything.

        Raises:
            ValueError: inputs of another size than the network's.
        """
        flat = flat_points(x, self.target.inputs)
        finite = np.isfinite(flat).all(1)
        return torch.from_numpy(finite if self.region is None else finite & self.region.holds(flat))

    def check(self, network: ExactNetwork, *, on_step: OnStep | None = None) -> tuple[Claim, ...]:
        """At how many stored inputs the network is off, the largest error, and which outputs are not as computed."""
        found = network(self.points, on_step=on_step)
        errors = self.errors(found)
        claims = (
            Claim(
                "stored inputs where it is off", 0, sum(not error <= self.tolerance for error in errors), self.source
            ),
            Claim("largest error at the stored inputs", float(self.tolerance), upwards(max(errors)), self.source),
        )
        if self.values is None:
            return claims
        other = sum(bool(v != w) for v, w in zip(found.ravel(), self.values.ravel(), strict=True))
        return (*claims, Claim("outputs that differ from plain integer arithmetic", 0, other, self.source))

    def errors(self, found: Shaped[np.ndarray, "n outputs"]) -> list[Fraction]:
        """Largest |output - target| over the size, at each stored input."""
        rows = zip(found, self.target(self.points), self.sizes, strict=True)
        return [max(abs(a - b) for a, b in zip(f, w, strict=True)) / Fraction(float(s)) for f, w, s in rows]


def flat_points(x: Shaped[Tensor, "n ..."] | Shaped[np.ndarray, "n ..."], inputs: int) -> NDArray[np.float64]:
    """(n, inputs) in float64, which holds every narrower float."""
    rows = rows_of(x).astype(np.float64)
    if rows.shape[1] != inputs:
        raise ValueError(f"inputs of shape {list(x.shape)} given; the network reads (n, {inputs}).")
    return rows


def exact_chain(chain: ReluChain) -> ExactNetwork:
    """The chain with the numbers that it stores."""
    pairs = zip(chain.weights, chain.biases, strict=True)
    return ExactNetwork(
        tuple(
            layer(w.shape[1], [(dict(enumerate(row)), v) for row, v in zip(w.tolist(), b.tolist(), strict=True)])
            for w, b in pairs
        )
    )
