"""What is claimed of a network that is right on balls, and how many bits a float needs to be right too."""

import math
from collections.abc import Iterator
from fractions import Fraction

from vestige.construct.exact.rounding import above, below, root_above
from vestige.construct.robust.layers import Layout, Plan
from vestige.construct.robust.thresholds import PROMISE, Centers, lowest_shift, sides
from vestige.core.claims import Claim

MOST_BITS = 400


def ball_claims(plan: Plan, centers: Centers, layout: Layout, width: int, hidden: int) -> Iterator[Claim]:
    """Sizes, and the inequalities from which the labels on the balls follow; floats are rounded to the safe side."""
    m, n, numbers = len(plan.rows), len(plan.centers), plan.numbers
    hinges = 2 * m * numbers.knots
    if layout is Layout.NARROW:
        yield Claim("width", m + 3, width, PROMISE)
        yield Claim("hidden layers", 1 + n * (hinges + 3), hidden, PROMISE)
    else:
        rounds = _rounds(n) + (_rounds(hinges) if plan.norm == math.inf else 0)
        yield Claim("width", n * hinges, width, PROMISE)
        yield Claim("hidden layers", 4 + rounds, hidden, PROMISE)
    own, other = sides(numbers.inside, numbers.outside, numbers.tau, m, plan.norm)
    yield Claim("largest test on the own ball", below(numbers.limit), above(own), PROMISE)
    yield Claim("limit + 1 / slope", below(other), above(numbers.limit + 1 / numbers.slope), PROMISE)
    if plan.norm == 2:
        yield Claim("reach of the knots", below(numbers.knots * numbers.tau), above(numbers.outside), PROMISE)
    yield Claim("shift of the first layer", below(numbers.shift), above(lowest_shift(centers, numbers.inside)), PROMISE)


def _rounds(n: int) -> int:
    """Halvings until one is left."""
    return (n - 1).bit_length()


def mantissa_bits(plan: Plan, largest: float, eps: float) -> int:
    """The fewest bits of mantissa with which rounding leaves every test on its side, on all balls.

    A rounding of h or of a bias moves the image by at most eta; all further sums are of terms that are not negative, so
    that their error is relative. Then labels come out right up to the rounding of the maximum. MOST_BITS + 1 for never.
    `largest` is the largest magnitude of a coordinate of the points.
    """
    numbers, m = plan.numbers, len(plan.rows)
    reach = Fraction(largest) + Fraction(eps)
    row = max(sum((abs(Fraction(w)) for w in form.values()), Fraction(0)) for form in plan.rows)
    bias = max(abs(v) for center in plan.centers for v in center) + numbers.shift + numbers.knots * numbers.tau
    size = row * reach + bias
    spread = {2.0: root_above(Fraction(m)), 1.0: Fraction(m)}.get(plan.norm, Fraction(1))
    for bits in range(8, MOST_BITS + 1):
        u = Fraction(1, 1 << bits)
        moved = spread * size * (plan.inputs + 4) * u * 2
        grown = 1 + 2 * (6 * m * numbers.knots + 8) * u
        if grown > 2 or moved >= numbers.outside:
            continue
        own, other = sides(numbers.inside + moved, numbers.outside - moved, numbers.tau, m, plan.norm)
        steep = numbers.slope * (other / grown - numbers.limit * (1 + 2 * u)) * (1 - 8 * u)
        if own * grown <= numbers.limit and steep >= 1:
            return bits
    return MOST_BITS + 1
