"""A network that gives every point its label, with about sqrt(n) weights: no training, and exact to the last bit.

Vardi, Yehudai, Shamir, arXiv 2110.03187, Theorem 3.1: width 12 and about sqrt(n) weights of about sqrt(n) bits. Points
become integer keys on a line; keys and labels of a group of points are packed into two code words, which are weights;
the network finds the group of x and reads the words bit by bit.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import nn

from vestige.construct.exact.exact_construction import ExactConstruction
from vestige.construct.exact.interpolation import Interpolation
from vestige.construct.exact.layers import Layer, layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.exact.points import distinct, integer_points, rows_of
from vestige.construct.memorization.claims import check_projection, size_claims
from vestige.construct.memorization.extraction import Group, memorizer_layers
from vestige.construct.memorization.keys import Keys, keys_of
from vestige.construct.memorization.lower_bound import memorization_lower_bound
from vestige.construct.memorization.packing import Packing, choose_packing
from vestige.construct.memorization.targets import Codes, codes_of, targets_of
from vestige.construct.memorization.wide import wide_layers
from vestige.core.choices import ChoiceEnum
from vestige.core.cite import paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import OnStep, Outcome

PAPER = "2110.03187"
FLOAT64_CODE_BITS = 51


class Strategy(ChoiceEnum):
    """What a memorizer is short in."""

    SQRT = "sqrt"
    DEPTH = "depth"
    BITS = "bits"
    WIDE = "wide"


@dataclass(frozen=True, eq=False, kw_only=True)
class Memorization(ExactConstruction):
    """A construction whose first layer gives every point a key.

    Attributes:
        keys: of the distinct points, in rising order.
        packing: how the code words are cut up; None for the wide one.
    """

    specification: Interpolation
    keys: np.ndarray
    packing: Packing | None

    def to_torch(self, dtype: torch.dtype = torch.float64, *, at: Any = None, exact: bool = True) -> nn.Sequential:
        """Dense layers that give every point its label although the projection may round.

        The projection has to be right to 1/4 only. After it nothing rounds within 3/4 of a key, where all thresholds
        are saturated: this is checked at both ends and at the key.

        Args:
            dtype: of the parameters; points are rounded to it as well.
            at: points at which no operation at all may round; None for the above, at the memorized points.
            exact: False skips the check.

        Raises:
            ValueError: the code words need more bits than the dtype has, or the projection may be off by more than 1/4.
        """
        if not exact or at is not None or self.packing is None:
            return super().to_torch(dtype, at=at, exact=exact)
        ends = np.concatenate([4 * self.keys + quarter for quarter in (-3, 0, 3)]).astype(np.float64) / 4
        ExactNetwork(self.network.layers[1:]).audit(ends[:, None]).check(dtype)
        check_projection(self.network.layers[0], self.specification.points, int(self.keys[-1]), dtype)
        return self.network.to_torch(dtype, exact=False)


def memorize(
    x: Shaped[torch.Tensor, " n *feature"] | Shaped[np.ndarray, " n *feature"],
    y: Shaped[torch.Tensor, " *targets"] | Shaped[np.ndarray, " *targets"],
    *,
    strategy: Strategy | str = Strategy.SQRT,
    depth: int | None = None,
    bits: int | None = None,
    label_bits: int | None = None,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Memorization:
    """Write down a ReLU network f with f(x_i) = y_i for all i, and check it at every point in exact arithmetic.

    Points become keys on a line (one layer), the key selects a group of points (one layer a group), and the keys and
    labels of the group are read off two weights (one layer a bit). Far from every point f is 0, or the least target
    where that is negative or the targets are rounded; "wide" gives a neighbor's label there.

    Args:
        x: points, taken exactly; equal ones are merged where their targets agree.
        y: one integer or real number a point. Real ones that are no integers are rounded to `label_bits` bits; the
            result says by how much.
        strategy: "sqrt", the fewest weights: about sqrt(n), of about sqrt(n) bits; "depth", at most `depth` affine
            layers, in lanes side by side; "bits", code words of at most `bits` bits, for floats: 51 bits for float64
            and 22 for float32 are safe; "wide", one hidden layer after the projection, about 2 n neurons.
        depth: of "depth".
        bits: of "bits", by default 51; may be given with "depth" too.
        label_bits: bits of rounded targets; None for integers as they are and 16 for others.
        generator: draws directions to project on; its seed is read only.
        on_step: called while the network is checked at all points.

    Returns:
        The network, its certificate, and in `numbers`: points, groups, slots, lanes, key_bits, code_bits, label_bits,
        largest_error of rounded targets, nonzeros, weight_bits, and the least_weight_bits that counting leaves to any
        network with as many non-zeros.

    Raises:
        ValueError: no points, values that are not finite, targets that do not fit the points, equal points with
            different targets, a depth or bits too small (with the least that works), options of another strategy.

    Source:
        arXiv 2110.03187, Theorem 3.1 and sections 5 and 6.

    Example:
        >>> made = memorize(np.array([[0.1], [0.7], [0.8]]), np.array([3, 1, 2]))
        >>> [int(value) for value in made.network([[0.1], [0.7], [0.8], [99.0]])[:, 0]]
        [3, 1, 2, 0]
        >>> made.certificate.holds
        True
    """
    strategy = _checked(strategy, depth, bits)
    points = rows_of(x)
    targets = targets_of(y, len(points))
    integers, exponent = integer_points(points)
    kept = distinct(integers, targets)
    codes = codes_of(targets, label_bits)
    keys = keys_of(integers[kept], exponent, generator)
    order = np.argsort(keys.values, kind="stable")
    pairs = list(zip(keys.values[order].tolist(), codes.values[kept][order].tolist(), strict=True))
    packing, layers = _written(pairs, keys, codes, strategy, depth, bits)
    projection = layer(len(keys.weights), [(dict(enumerate(keys.weights)), keys.bias)])
    network = ExactNetwork((projection, *layers))
    specification = Interpolation(points, targets[:, None], f"arXiv {PAPER}, Theorem 3.1", codes.tolerance)
    claims = (
        *specification.check(network, on_step=on_step),
        *size_claims(network, len(pairs), packing, codes.output_bits),
    )
    certificate = Certificate(claims)
    return Memorization(
        network=network,
        specification=specification,
        certificate=certificate,
        outcome=Outcome.CONVERGED if certificate.holds else Outcome.STAGNATED,
        warnings=_warnings(len(points) - len(kept), codes, claims),
        source=(paper(PAPER),),
        numbers=_numbers(network, packing, keys, codes, claims),
        keys=keys.values[order],
        packing=packing,
    )


def _written(
    pairs: list[tuple[int, int]], keys: Keys, codes: Codes, strategy: Strategy, depth: int | None, bits: int | None
) -> tuple[Packing | None, list[Layer]]:
    """The packing, and the layers after the projection; "wide" has none to choose."""
    if strategy is Strategy.WIDE:
        return None, wide_layers(pairs, step=codes.step, offset=codes.offset)
    limit = FLOAT64_CODE_BITS if strategy is Strategy.BITS and bits is None else bits
    packing = choose_packing(len(pairs), keys.bits, codes.bits, depth=depth, bits=limit)
    return packing, memorizer_layers(_lanes(pairs, packing), packing, step=codes.step, offset=codes.offset)


def _checked(strategy: Strategy | str, depth: int | None, bits: int | None) -> Strategy:
    strategy = Strategy(strategy)
    if (depth is None) == (strategy is Strategy.DEPTH):
        raise ValueError(
            f"strategy={strategy.value!r} with depth={depth} given; depth, a number of layers, belongs to "
            "strategy='depth' and is needed there."
        )
    if bits is not None and strategy not in (Strategy.BITS, Strategy.DEPTH):
        raise ValueError(f"strategy={strategy.value!r} with bits={bits} given; bits go with 'bits' or 'depth'.")
    return strategy


def _lanes(pairs: list[tuple[int, int]], packing: Packing) -> list[list[Group]]:
    groups = [pairs[start : start + packing.slots] for start in range(0, len(pairs), packing.slots)]
    return [groups[start : start + packing.groups] for start in range(0, len(groups), packing.groups)]


def _warnings(merged: int, codes: Codes, claims: tuple[Claim, ...]) -> tuple[str, ...]:
    notes = []
    if merged:
        notes.append(f"{merged} points occur more than once, with one target each: they were merged.")
    if codes.tolerance:
        notes.append(f"targets were rounded to {codes.bits} bits: the largest error is {claims[1].measured:.3g}.")
    return tuple(notes)


def _numbers(
    network: ExactNetwork, packing: Packing | None, keys: Keys, codes: Codes, claims: tuple[Claim, ...]
) -> dict[str, float | int]:
    points, weights = len(keys.values), network.nonzeros
    sizes = {"points": points, "key_bits": keys.bits, "label_bits": codes.bits, "largest_error": claims[1].measured}
    if packing is not None:
        sizes |= {name: getattr(packing, name) for name in ("lanes", "groups", "slots", "code_bits")}
    demanded = memorization_lower_bound(points, weights=weights, inputs=network.inputs)
    return {**sizes, "nonzeros": weights, "weight_bits": network.weight_bits, "least_weight_bits": demanded}
