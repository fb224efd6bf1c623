"""Small ReLU networks that are exact at integers, and how sharp a softmax must be.

z is an integer unless the gadget says otherwise, and so are its values: floating point holds them without rounding.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from vestige.construct.transformer.wires import Wire, relu, total


def is_zero(z: Wire) -> Wire:
    """1 at z = 0, 0 at every other integer."""
    return relu(z + 1) - 2 * relu(z) + relu(z - 1)


def at_least_zero(z: Wire) -> Wire:
    """1 from z = 0 on, 0 at negative integers."""
    return relu(z + 1) - relu(z)


def gated(bit: Wire, z: Wire, largest: float | int) -> Wire:
    """bit z, for any real |z| <= largest."""
    shut = largest * (1 - bit)
    return relu(z - shut) - relu(-z - shut)


def both(*bits: Wire) -> Wire:
    """1 where all bits are 1."""
    return relu(total(bits) - (len(bits) - 1))


def snapped_bit(s: Wire) -> Wire:
    """1 from 1 on and 0 at 0, for s within 1/4 of an integer that is no less than 0."""
    return relu(2 * s - 0.5) - relu(2 * s - 1.5)


def snapped_zero(z: Wire) -> Wire:
    """1 at 0 and 0 at every other integer, for z within 1/4 of an integer."""
    return relu(2 * z + 1.5) - relu(2 * z + 0.5) - relu(2 * z - 0.5) + relu(2 * z - 1.5)


def snapped(s: Wire, largest: int) -> Wire:
    """The nearest integer, for s within 1/4 of one of 0..largest."""
    return total(relu(2 * s - (2 * k - 1.5)) - relu(2 * s - (2 * k - 0.5)) for k in range(1, largest + 1))


def squared(z: Wire, largest: int) -> Wire:
    """z^2 at integers |z| <= largest: the chords between them."""
    magnitude = relu(z) + relu(-z)
    return magnitude + total(2 * relu(magnitude - k) for k in range(1, largest))


def product(a: Wire, b: Wire, largest: int) -> Wire:
    """a b at integers of at most `largest`: ((a + b)^2 - (a - b)^2) / 4."""
    return 0.25 * (squared(a + b, 2 * largest) - squared(a - b, 2 * largest))


def largest_of(values: Sequence[Wire]) -> Wire:
    """The maximum, by a tournament of ceil(log2 n) rounds; any reals."""
    while len(values) > 1:
        pairs = [a + relu(b - a) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = [*pairs, *values[len(pairs) * 2 :]]
    return values[0]


def lookup_temperature(gap: float | int, keys: int, error: float | int) -> float:
    """The factor of logits at which a softmax over `keys` tokens leaves at most `error` to the wrong ones.

    If the best logit is `gap` above all others, these get at most (keys - 1) exp(-factor gap) together.

    Args:
        gap: between the best logit and the next; above 0.
        keys: tokens that are attended to.
        error: probability, above 0.

    Raises:
        ValueError: a gap or an error that is not above 0.

    >>> round(lookup_temperature(1.0, 101, 0.01), 3)
    9.21
    """
    if not (gap > 0 and error > 0):
        raise ValueError(f"gap={gap}, error={error} given; a lookup needs both above 0: are two keys equal?")
    return math.log(max(keys - 1, 1) / error) / gap


def inverse_hinges(n: int, tolerance: float | int) -> tuple[list[float], list[float], float]:
    """The piecewise linear function with the fewest pieces that is 1 / t up to `tolerance` at every t in [1/n, 1].

    A chord of 1 / t between 1 / a and 1 / b is at most (sqrt a - sqrt b)^2 above it, so that vertices at
    c_k = (1 + k sqrt(2 tolerance))^2, t_k = 1 / c_k, of height c_k - tolerance, are off by exactly the tolerance.
    Hinges are anchored at t = 1: sum_k w_k relu(t_k - t) + constant. From t = 1 / n on, the sum would cancel.

    Args:
        n: largest value of 1 / t.
        tolerance: largest error, above 0.

    Returns:
        Places t_k, weights w_k, and the constant.

    >>> [len(inverse_hinges(n, 0.45)[0]) for n in (100, 1000, 10_000, 100_000)]
    [10, 33, 105, 333]
    """
    step = math.sqrt(2 * tolerance)
    pieces = max(1, math.ceil((math.sqrt(n) - 1) / step))
    corners = [(1 + k * step) ** 2 for k in range(pieces + 1)]
    # between two corners the slope of 1 / t's chord is the product of the two values
    slopes = [a * b for a, b in pairwise(corners)]
    weights = [slope - before for slope, before in zip(slopes, [0.0, *slopes], strict=False)]
    return [1 / c for c in corners[:-1]], weights, corners[0] - tolerance


def inverse(t: Wire, n: int, tolerance: float | int) -> Wire:
    """1 / t for t in [1/n, 1], see `inverse_hinges`."""
    places, weights, constant = inverse_hinges(n, tolerance)
    hinges = zip(places, weights, strict=True)
    return total(weight * relu(place - t) for place, weight in hinges) + constant
