"""One layer of RedEx as a convex program, and the lower bound that certifies a solution of it.

    min  (1/m) sum_i |y_i - f(x_i)|^2 + l_1 Tr R + l_2 (|R|^2 + sum |A|^2)     with  -R <= A_oj <= R,  Tr R <= M,

f_o(x) = sum_j x_j^T A_oj x_j over the patches x_j of a sample (one patch where the layer is not convolutional), A and
R symmetric. With multipliers u of the residuals and S+, S- of the two constraints, the value is at least

    sum u y - m/4 |u|^2 - |(sum (S+ + S-) - (l_1 + t) I)_+|^2 / 4 l_2 - sum |G_oj - S+_oj + S-_oj|^2 / 4 l_2 - t M

for every u, S+, S- >= 0 and t >= 0, where G_oj = sum_i u_io x_ij x_ij^T. (Algorithms 2 to 4; the bound is derived.)
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LARGEST = 1e6
BOUND_STEPS, SMALL = 300, 1e-8  # of the search for the bound, and of its growth in ten of them


@dataclass(frozen=True, eq=False)
class Problem:
    """Data and penalties.

    Attributes:
        x: (samples, patches, d).
        y: (samples, outputs).
        trace: l_1.
        ridge: l_2, positive: it makes the solution unique and the bound finite.
        trace_bound: M; None for none.
    """

    x: Array
    y: Array
    trace: float | int
    ridge: float | int
    trace_bound: float | int | None = None

    def __post_init__(self):
        sizes = (self.trace, self.ridge, 1.0 if self.trace_bound is None else self.trace_bound)
        if not (all(map(math.isfinite, sizes)) and self.trace >= 0 and self.ridge > 0 and sizes[2] > 0):
            raise ValueError(
                f"trace_penalty={self.trace}, ridge={self.ridge}, trace_bound={self.trace_bound} given; needed are "
                "trace_penalty >= 0, ridge > 0 and a positive bound or None."
            )
        if len(self.x) < 2:
            raise ValueError(f"{len(self.x)} sample given; RedEx needs at least 2 samples.")
        largest = float(abs(self.x).max(initial=0.0))
        if not largest <= LARGEST:
            raise ValueError(
                f"Inputs up to {largest:.3g} given, whose squares and their squares overflow; scale them first, as "
                "with StandardScaler."
            )

    @property
    def dimension(self) -> int:
        """d."""
        return self.x.shape[2]

    def predict(self, a: Array) -> Array:
        """f of all samples, for matrices (outputs, patches, d, d)."""
        return outputs(self.x, a)

    def objective(self, a: Array, r: Array) -> float:
        """The value at a point, whether or not it meets the constraints."""
        loss = float(((self.y - self.predict(a)) ** 2).sum()) / len(self.x)
        return loss + self.trace * float(np.trace(r)) + self.ridge * float((r**2).sum() + (a**2).sum())


def outputs(x: Array, a: Array) -> Array:
    """sum_j x_j^T A_oj x_j."""
    return np.stack([np.einsum("npd,pde,npe->n", x, each, x, optimize=True) for each in a], 1)


@dataclass(frozen=True, eq=False)
class Solution:
    """A point that meets the constraints, its value, and a bound that no point is below.

    Attributes:
        a: (outputs, patches, d, d).
        r: (d, d).
        objective: at it.
        bound: proved.
        warnings: what the solver said.
    """

    a: Array
    r: Array
    objective: float
    bound: float
    warnings: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """(objective - bound) / objective."""
        return (self.objective - self.bound) / max(self.objective, 1e-300)


def feasible(problem: Problem, a: Array, r: Array) -> tuple[Array, Array]:
    """R raised by what is negative in R + A and R - A, and both made smaller where the trace is then too large."""
    pairs = a.reshape(-1, *r.shape)
    r = r + positive(-np.concatenate([r + pairs, r - pairs])).sum(0)
    lowest = min(float(np.linalg.eigvalsh(r + sign * each)[0]) for each in pairs for sign in (1, -1))
    r = r + max(0.0, -lowest) * np.eye(len(r))  # the last digit that eigenvalues have
    share = 1.0 if problem.trace_bound is None else min(1.0, problem.trace_bound / max(float(np.trace(r)), 1e-300))
    return share * a, share * r


def solution(
    problem: Problem,
    a: Array,
    r: Array,
    *,
    multipliers: Array | None = None,
    enough: float | int = 1e-7,
    warnings: tuple[str, ...] = (),
) -> Solution:
    """A point made feasible, with its value, and a bound to a relative gap of `enough` where that can be had."""
    a, r = feasible(problem, a, (r + r.T) / 2)
    value = problem.objective(a, r)
    bound = lower_bound(problem, a, r, multipliers=multipliers, enough=value * (1 - enough))
    return Solution(a, r, value, bound, warnings)


def lower_bound(
    problem: Problem, a: Array, r: Array, *, multipliers: Array | None = None, enough: float = math.inf
) -> float:
    """The bound above for the residuals at (A, R), with S by accelerated projected gradient.

    Args:
        problem: the program.
        a: a point, near the optimum for a bound that is.
        r: likewise.
        multipliers: (2, pairs, d, d), S+ and S- to begin with; None for those of A.
        enough: end as soon as the bound is this large.
    """
    m, eye = len(problem.x), np.eye(problem.dimension)
    u = 2 * (problem.y - problem.predict(a)) / m
    fixed = float((u * problem.y).sum()) - m / 4 * float((u**2).sum())
    g = np.einsum("no,npd,npe->opde", u, problem.x, problem.x, optimize=True).reshape(-1, *r.shape)
    t = 0.0 if problem.trace_bound is None else _multiplier(problem, a, r, g)
    level = (problem.trace + t) * eye
    free = fixed - (0.0 if problem.trace_bound is None else t * problem.trace_bound)
    if len(g) == 1:  # commuting: one eigenvalue at a time
        over = np.maximum(abs(np.linalg.eigvalsh(g[0])) - problem.trace - t, 0.0)
        return free - float((over**2).sum()) / (8 * problem.ridge)
    wanted = g - 2 * problem.ridge * a.reshape(g.shape)
    s = np.stack([positive(wanted), positive(-wanted)]) if multipliers is None else positive(multipliers)
    best, before, momentum, rate = -math.inf, s, 1.0, 1 / (2 * len(g) + 2)
    point = s
    for k in range(BOUND_STEPS):
        over = positive(point.sum((0, 1)) - level)
        off = point[0] - point[1] - g
        point = positive(point - rate * np.stack([over + off, over - off]))
        if k % 10 == 0 or k == BOUND_STEPS - 1:
            now = free - _cost(point, g, level) / (4 * problem.ridge)
            stuck, best = now - best < SMALL * abs(now), max(best, now)
            if best >= enough or stuck:
                break
        after = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        point, before, momentum = point + (momentum - 1) / after * (point - before), point, after
    return best


def _cost(s: Array, g: Array, level: Array) -> float:
    return float((positive(s.sum((0, 1)) - level) ** 2).sum() + ((g - s[0] + s[1]) ** 2).sum())


def positive(matrices: Array) -> Array:
    """Projection on matrices without negative eigenvalues."""
    values, vectors = np.linalg.eigh((matrices + np.swapaxes(matrices, -1, -2)) / 2)
    return (vectors * np.maximum(values, 0.0)[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def _multiplier(problem: Problem, a: Array, r: Array, g: Array) -> float:
    """t of Tr R <= M, where it binds: from R = (S - (l_1 + t) I) / 2 l_2 and sum <S+ + S-, R> = sum <S+ - S-, A>."""
    if problem.trace_bound is None or np.trace(r) < problem.trace_bound * (1 - 1e-6):
        return 0.0
    pull = float(((g - 2 * problem.ridge * a.reshape(g.shape)) * a.reshape(g.shape)).sum())
    return max(0.0, (pull - 2 * problem.ridge * float((r**2).sum())) / float(np.trace(r)) - problem.trace)
