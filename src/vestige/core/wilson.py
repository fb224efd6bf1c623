"""Confidence intervals of a share."""

import math

from scipy.stats import norm


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a binomial share: the p with |p - k/n| <= z sqrt(p (1 - p) / n).

    Args:
        successes: k, 0 to n.
        n: how many were tried, at least 1.
        confidence: in (0, 1).

    Raises:
        ValueError: counts or a confidence out of range.

    >>> low, high = wilson_interval(0, 100)
    >>> low, round(high, 4)
    (0.0, 0.037)
    """
    if not (0 <= successes <= n and n >= 1 and 0 < confidence < 1):
        raise ValueError(
            f"successes={successes}, n={n}, confidence={confidence} given; needed are 0 <= successes <= n, n >= 1 and "
            "0 < confidence < 1."
        )
    z = float(norm.ppf(0.5 + confidence / 2))
    share = successes / n
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else max(0.0, (centre - half) / scale)
    return low, 1.0 if successes == n else min(1.0, (centre + half) / scale)
