"""The exponent of error against noise, with its interval, and the verdict that they allow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from scipy.stats import t as student_t
from torch import Tensor

from vestige.core.choices import ChoiceEnum

FAR_BELOW = 0.1  # of the noise: an error that is benign
LEAST, MOST = 0.5, 5.0  # exponents of the upper and the lower bound that are proved for one dimension
CONFIDENCE = 0.975


class Overfitting(ChoiceEnum):
    """How a model that fits noisy labels takes to new inputs."""

    BENIGN = "benign"
    TEMPERED = "tempered"
    CATASTROPHIC = "catastrophic"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Exponent:
    """err = factor p^exponent; `interval` holds the exponent with 95 % confidence, over repeats."""

    factor: float
    exponent: float
    interval: tuple[float, float]


def fitted_exponent(levels: Sequence[float], error: Float[Tensor, "levels repeats"], *, floor: float) -> Exponent:
    """Least squares of log err against log p in each repeat; Student's t interval of the slope over the repeats.

    Args:
        levels: p.
        error: of each level and repeat.
        floor: what an error of 0 is taken for: half a wrong answer.

    Returns:
        NaN and an infinite interval for one level, an infinite interval for one repeat.
    """
    if len(levels) < 2:
        return Exponent(math.nan, math.nan, (-math.inf, math.inf))
    x = error.new_tensor([math.log(p) for p in levels])
    y = error.clamp_min(floor).log()
    centered = x - x.mean()
    slopes = (centered[:, None] * y).sum(0) / centered.square().sum()
    slope = float(slopes.mean())
    factor = math.exp(float(y.mean()) - slope * float(x.mean()))
    low, high = interval(slopes)
    return Exponent(factor, slope, (low, high))


def interval(values: Float[Tensor, " repeats"]) -> tuple[float, float]:
    """Where the mean lies with 95 % confidence; everything for a single value.

    >>> interval(Tensor([1.0]))
    (-inf, inf)
    """
    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    half = float(student_t.ppf(CONFIDENCE, n - 1)) * float(values.std()) / math.sqrt(n)
    return float(values.mean()) - half, float(values.mean()) + half


def judged(levels: Sequence[float], error: Float[Tensor, "levels repeats"], found: Exponent) -> Overfitting:
    """The verdict, only where whole intervals are on one side; errors that vanish at some levels are no power law."""
    harmless = [interval(row)[1] < FAR_BELOW * p for p, row in zip(levels, error, strict=True)]
    if all(harmless):
        return Overfitting.BENIGN
    low, high = found.interval
    if high < LEAST and interval(error[0])[0] > levels[0]:
        return Overfitting.CATASTROPHIC
    if low > LEAST and high < MOST and not any(harmless):
        return Overfitting.TEMPERED
    return Overfitting.UNDECIDED
