"""What a memoriser of a given layout promises: its sizes, and how much its projection may round."""

import math
from fractions import Fraction

import numpy as np
import torch

from vestige.construct.audit import FLOATS
from vestige.construct.exact import ExactNetwork
from vestige.construct.layers import Layer, digits
from vestige.construct.layout import Layout
from vestige.construct.lower_bound import memorization_lower_bound
from vestige.core.claims import Claim

THEOREM = "arXiv 2110.03187, Theorem 3.1"
LAYOUT = "counted for this layout, see construct/layout.py"
COUNTING = "counting, as in arXiv 2110.03187, section 6"


def size_claims(network: ExactNetwork, points: int, layout: Layout | None) -> tuple[Claim, ...]:
    """Width, depth, non-zeros and bits against what is promised before anything is built."""
    demanded = memorization_lower_bound(points, weights=network.nonzeros, inputs=network.inputs)
    counted = Claim("bits that counting demands", network.weight_bits, demanded, COUNTING)
    if layout is None:
        return (
            Claim("width", 2 * points, network.width, LAYOUT),
            Claim("depth", 3, network.depth, LAYOUT),
            Claim("non-zeros", 6 * points + network.inputs + 2, network.nonzeros, LAYOUT),
            counted,
        )
    behind = max(
        digits(v, r.shift) for item in network.layers[1:-1] for r in item.neurons for v in (*r.weights, r.bias)
    )
    one_lane = layout.lanes == 1
    return (
        Claim("width", 12 if one_lane else layout.width, network.width, THEOREM if one_lane else LAYOUT),
        Claim("depth", layout.depth, network.depth, LAYOUT),
        Claim("non-zeros", layout.nonzeros(network.inputs), network.nonzeros, LAYOUT),
        Claim("bits of a weight behind the projection", layout.weight_bits, behind, LAYOUT),
        counted,
    )


def check_projection(projection: Layer, points: np.ndarray, largest_key: int, dtype: torch.dtype) -> None:
    """A projection computed in floats stays within 1/4 of the exact one, with room for the sums that read it.

    A sum of k products of rounded factors is off by at most (k + 3) u / (1 - (k + 3) u) of the sum of magnitudes.

    Raises:
        ValueError: it may not.
    """
    unit = 2.0 ** -FLOATS[dtype][0]
    row = projection.neurons[0]
    weights = np.abs([float(Fraction(w, 1 << row.shift)) for w in row.weights])
    reach = np.abs(points[:, list(row.columns)].astype(np.float64)) @ weights + abs(row.bias) / (1 << row.shift)
    share = (len(weights) + 3) * unit
    error = 1.001 * share / (1 - share) * float(reach.max()) + 16 * unit * largest_key
    if not error <= 0.25:
        missing = math.ceil(math.log2(error / 0.25))
        raise ValueError(
            f"in {dtype} the projection to keys may be off by {error:.3g}, allowed is 1/4: the points are closer than "
            f"it resolves. {FLOATS[dtype][0] + missing} bits of mantissa are enough; or drop nearly equal points."
        )
