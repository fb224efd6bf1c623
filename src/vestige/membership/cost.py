"""How long a layer's equation will take, told before the work: its parts are timed on a few rows."""

import time
from collections.abc import Callable

import torch

from vestige.membership.coefficients import EXACT, LANDMARKS, PART, inverse_diagonal
from vestige.membership.rows import Rows

FEW, ITERATIONS = 512, 60


def expected_seconds(rows: Rows) -> float:
    """Seconds on this machine; right within a factor of two or three.

    Args:
        rows: of the layer.
    """
    n, parameters = len(rows), len(rows.weights)
    few = rows.take(torch.arange(min(n, FEW), device=rows.weights.device))
    k = len(few)
    of_cube = _clock(lambda: inverse_diagonal(torch.linalg.cholesky(torch.eye(k).to(few.gram())))) / k**3
    if 2 * parameters < n and parameters <= EXACT:
        return 2 * n / k * _clock(few.matrix) + of_cube * (2 * n * parameters**2 + parameters**3)
    of_square = _clock(few.gram) / k**2
    if n <= EXACT:
        return of_square * n**2 + of_cube * n**3
    iterating = ITERATIONS * n / k * _clock(lambda: few.through(torch.ones(k).to(rows.weights)))
    return iterating + of_square * n * (PART + LANDMARKS) + of_cube * (n * PART**2 + 2 * n * LANDMARKS**2)


def _clock(work: Callable[[], object]) -> float:
    """Of the second of two calls; the first may prepare something."""
    work()
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
