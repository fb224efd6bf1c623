"""Rational numbers made short or made floats, always rounded to a stated side."""

import math
from fractions import Fraction

ROOT_BITS = 40  # relative precision of square roots


def below(value: Fraction) -> float:
    """The largest float that is at most the value.

    >>> below(Fraction(1, 2)), Fraction(below(Fraction(1, 3))) < Fraction(1, 3)
    (0.5, True)
    """
    near = float(value)
    return near if Fraction(near) <= value else math.nextafter(near, -math.inf)


def above(value: Fraction) -> float:
    """The smallest float that is at least the value."""
    return -below(-value)


def upwards(value: Fraction) -> float | int:
    """As a number to report that is not smaller: what is not 0 never rounds to it, and integers stay integers.

    >>> upwards(Fraction(1, 3)) > Fraction(1, 3), upwards(Fraction(2))
    (True, 2)
    """
    return int(value) if value.denominator == 1 else above(value)


def unit_of(exponent: int) -> Fraction:
    """2**-exponent."""
    return Fraction(2) ** -exponent


def short_between(low: Fraction, high: Fraction) -> Fraction:
    """A dyadic rational of few bits in [low, high], low < high.

    >>> short_between(Fraction(1, 3), Fraction(1, 2))
    Fraction(3, 8)
    """
    power = power_below(high - low)
    return Fraction(math.ceil(low / power)) * power


def power_below(value: Fraction) -> Fraction:
    """The largest power of two that is at most `value`, for value > 0.

    >>> power_below(Fraction(5, 8)), power_below(Fraction(4))
    (Fraction(1, 2), Fraction(4, 1))
    """
    guess = value.numerator.bit_length() - value.denominator.bit_length()
    power = Fraction(2) ** guess
    return power if power <= value else power / 2


def root_below(value: Fraction) -> Fraction:
    """A dyadic rational at most the square root, equal to it where that has few bits.

    >>> root_below(Fraction(9, 4)), root_below(Fraction(2)) ** 2 <= 2
    (Fraction(3, 2), True)
    """
    if not value:
        return Fraction(0)
    scale = max(0, ROOT_BITS - (value.numerator.bit_length() - value.denominator.bit_length()) // 2)
    return Fraction(math.isqrt((value.numerator << 2 * scale) // value.denominator), 1 << scale)


def root_above(value: Fraction) -> Fraction:
    """A dyadic rational at least the square root, equal to it where that has few bits."""
    below = root_below(value)
    return below if below * below == value else below + Fraction(2, below.denominator)
