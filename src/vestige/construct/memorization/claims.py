"""What a memorizer of a given packing promises: its sizes, and how much its projection may round."""

import math
from fractions import Fraction

import numpy as np
import torch

from vestige.construct.exact.audit import FLOATS
from vestige.construct.exact.layers import Layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.memorization.packing import Packing
from vestige.core.claims import Claim

THEOREM = "arXiv 2110.03187, Theorem 3.1"
COUNTED = "counted before it is built"


def size_claims(network: ExactNetwork, points: int, packing: Packing | None, output_bits: int) -> tuple[Claim, ...]:
    """Width, layers, non-zeros and bits against what is promised before anything is built."""
    if packing is None:
        return (
            Claim("width", 2 * points, network.width, COUNTED),
            Claim("layers", 3, network.depth, COUNTED),
            Claim("nonzeros", 6 * points + network.inputs + 2, network.nonzeros, COUNTED),
        )
    one_lane = packing.lanes == 1
    rest = ExactNetwork(network.layers[1:]).weight_bits
    return (
        Claim("width", 12 if one_lane else packing.width, network.width, THEOREM if one_lane else COUNTED),
        Claim("layers", packing.depth, network.depth, COUNTED),
        Claim("nonzeros", packing.nonzeros(network.inputs), network.nonzeros, COUNTED),
        Claim("weight bits after the first layer", max(packing.weight_bits, output_bits), rest, COUNTED),
    )


def check_projection(projection: Layer, points: np.ndarray, largest_key: int, dtype: torch.dtype) -> None:
    """A projection computed in floats stays within 1/4 of the exact one, with room for the sums that read it.

    A sum of k products of rounded factors is off by at most (k + 3) u / (1 - (k + 3) u) of the sum of magnitudes.
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
