"""Is this point at a minimum? A proof in interval arithmetic, or the reason why there is none.

Let c bound all eigenvalues of the Hessian from below, on the ball of radius r around W, and g the length of the
gradient at W from above. For |u| = 1

    F(W + r u) - F(W)  >=  -g r + c r^2 / 2  >  0        if r > 2 g / c,

so that F has a minimum inside, exactly one, and at most g / c away; its value is at least F(W) - g^2 / 2c. Where one
direction has negative curvature on the whole ball instead, there is no minimum in it. Arrays of intervals bound every
sum that is rounded; the eigenvalue bound is a Cholesky factorization that succeeds, with Rump's allowance for rounding.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vestige.core.choices import ChoiceEnum
from vestige.core.cite import Paper, paper
from vestige.core.claims import Certificate, Claim
from vestige.landscape.neurons import Neurons
from vestige.landscape.teacher_student.enclosure import Enclosure
from vestige.landscape.teacher_student.interval import EPS, Array, Interval

PAPERS = (paper("2006.01005"), paper("1712.08968"))
SMALLEST = 1e-13  # of a ball, relative to the weights: rounding fills a smaller one


class PointKind(ChoiceEnum):
    """What was proved about a ball around a point."""

    SPURIOUS = "spurious"
    MINIMUM = "minimum"
    NO_MINIMUM = "no_minimum"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class MinimumCertificate:
    """What interval arithmetic proves about the ball of radius `ball` around a student's weights.

    Attributes:
        kind: "spurious": exactly one minimum in it, with a loss above 0, which the teacher has. "minimum": exactly one,
            and its loss may be 0. "no_minimum": none in it. "undecided": nothing was proved.
        ball: radius of the ball, in the l_2 norm of all weights.
        distance: from the given point to the minimum, at most; inf without one.
        curvature: a lower bound on the eigenvalues of the Hessian on the ball; an upper bound on the smallest where the
            kind is "no_minimum".
        gradient: an upper bound on the gradient's length at the point.
        loss: between these two numbers is the loss of the minimum; of the point where there is none.
        reason: what decided, in words.
        certificate: the claims that the kind rests on.
        source: the papers.
    """

    kind: PointKind
    ball: float
    distance: float
    curvature: float
    gradient: float
    loss: tuple[float, float]
    reason: str
    certificate: Certificate
    source: tuple[Paper, ...] = PAPERS

    @property
    def is_minimum(self) -> bool:
        """Whether a minimum was proved."""
        return self.kind in (PointKind.SPURIOUS, PointKind.MINIMUM)


def certify_minimum(student: Neurons, teacher: Neurons) -> MinimumCertificate:
    """Prove that there is a minimum of the population loss next to a point, or that there is none.

    For ReLU neurons without biases and output weights 1, over inputs from N(0, I). Float arithmetic finds nothing here:
    a point counts only if its proof goes through, and a flat point never does.

    Args:
        student: weights (n, d); run `descend` first, since gradients above about 1e-6 rarely pass.
        teacher: weights (k, d), with k <= n.

    Returns:
        The kind, its radius, and bounds.

    Raises:
        ValueError: biases, output weights other than 1, a batch, fewer students than teachers, values that are not
            finite.

    >>> import torch
    >>> V = Neurons(torch.eye(3, dtype=torch.float64))
    >>> certify_minimum(V, V).kind, certify_minimum(Neurons(2 * V.weight), V).kind
    (<PointKind.MINIMUM: 'minimum'>, <PointKind.UNDECIDED: 'undecided'>)
    """
    w, v = _plain(student, "student"), _plain(teacher, "teacher")
    if w.shape[1] != v.shape[1] or len(w) < len(v):
        raise ValueError(
            f"{len(w)} students of {w.shape[1]} inputs and {len(v)} teachers of {v.shape[1]} given; as many inputs, "
            "and at least as many students, are needed: otherwise a loss above 0 says nothing."
        )
    point = Enclosure(w, v)
    if not point.differentiable:
        return _nothing("a neuron has weight 0, where a ReLU has no derivative", (0.0, math.inf), math.inf)
    gradient = _length(point.gradient())
    value = point.loss()
    loss = max(0.0, float(value.low)), float(value.high)
    here, _ = lowest_curvature(point.hessian())
    scale = float(np.linalg.norm(w))
    ball = max(4 * gradient / here if here > 0 else gradient, SMALLEST * scale)
    if not ball < float(np.linalg.norm(w, axis=1).min()) / 2:
        return _nothing(f"the gradient, {gradient:.1e}, is too large for this curvature", loss, gradient, here)
    around = Enclosure(w, v, ball)
    curvature, below = lowest_curvature(around.hessian())
    if here <= 0:
        return _bent_down(below, curvature, ball, gradient, loss)
    return _minimum(curvature, ball, gradient, loss)


def _minimum(curvature: float, ball: float, gradient: float, loss: tuple[float, float]) -> MinimumCertificate:
    if not (curvature > 0 and ball * curvature > 2 * gradient * (1 + 8 * EPS)):
        return _nothing(f"the curvature, {curvature:.1e}, is not above 0 on the whole ball", loss, gradient, curvature)
    low = max(0.0, loss[0] - gradient**2 / (2 * curvature) * (1 + 8 * EPS) - EPS * loss[1])
    source = "Taylor's theorem on the ball; arXiv 1712.08968"
    claims = [
        Claim("minus the smallest curvature on the ball", 0.0, -curvature, source),
        Claim("2 |gradient| / curvature, within the ball", ball, 2 * gradient / curvature, source),
    ]
    kind = PointKind.MINIMUM
    if low > 0:
        kind = PointKind.SPURIOUS
        claims.append(Claim("minus the loss of the minimum", -math.ulp(0.0), -low, source))
    return MinimumCertificate(
        kind=kind,
        ball=ball,
        distance=gradient / curvature * (1 + 8 * EPS),
        curvature=curvature,
        gradient=gradient,
        loss=(low, loss[1]),
        reason="the Hessian is positive definite on the ball, and the gradient small enough to stay in it",
        certificate=Certificate(tuple(claims)),
    )


def _bent_down(
    below: float, curvature: float, ball: float, gradient: float, loss: tuple[float, float]
) -> MinimumCertificate:
    if not below < 0:
        return _nothing("the smallest curvature is 0 up to rounding: a flat point", loss, gradient, curvature)
    claim = Claim("curvature along one direction, on the whole ball", -math.ulp(0.0), below, "second-order condition")
    return MinimumCertificate(
        kind=PointKind.NO_MINIMUM,
        ball=ball,
        distance=math.inf,
        curvature=below,
        gradient=gradient,
        loss=loss,
        reason="one direction has negative curvature on the whole ball",
        certificate=Certificate((claim,)),
    )


def _nothing(
    reason: str, loss: tuple[float, float], gradient: float, curvature: float = -math.inf
) -> MinimumCertificate:
    return MinimumCertificate(
        kind=PointKind.UNDECIDED,
        ball=0.0,
        distance=math.inf,
        curvature=curvature,
        gradient=gradient,
        loss=loss,
        reason=reason,
        certificate=Certificate(()),
    )


def lowest_curvature(hessian: Interval) -> tuple[float, float]:
    """Bounds from below and above on the smallest eigenvalue that any symmetric matrix in the interval can have.

    The upper one is a Rayleigh quotient, and holds for all of them with the same vector.
    """
    if not (np.isfinite(hessian.low).all() and np.isfinite(hessian.high).all()):
        return -math.inf, math.inf
    middle, radius = hessian.middle(), hessian.radius()
    even = (middle + middle.T) / 2
    radius = np.maximum(radius, radius.T) + abs(middle - even) + EPS * abs(even)
    spread = float(radius.sum(1).max()) * (1 + 2 * len(radius) * EPS)
    values, vectors = np.linalg.eigh(even)
    # Rump 2006: a Cholesky factorization that succeeds in float64 is exact for a matrix closer than this
    slack = 4 * (len(even) + 3) * EPS * float(abs(np.diag(even)).sum() + abs(values[0]) * len(even))
    wanted = float(values[0]) - 1e-3 * abs(float(values[0])) - slack
    low = wanted - slack - spread if _factorizes(even - wanted * np.eye(len(even))) else -math.inf
    u = vectors[:, 0]
    quotient = float(u @ even @ u) + 4 * len(u) * EPS * float(abs(u) @ abs(even) @ abs(u))
    return low, quotient / float(u @ u) + 4 * len(u) * EPS * abs(quotient) + spread


def _factorizes(matrix: Array) -> bool:
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def _length(vector: Interval) -> float:
    """An upper bound on the Euclidean norm."""
    big = np.maximum(abs(vector.low), abs(vector.high)).ravel()
    return float(np.sqrt((big * big).sum()) * (1 + 2 * (len(big) + 2) * EPS))


def _plain(neurons: Neurons, name: str) -> Array:
    """(n, d) float64 weights of ReLU neurons without biases, all with output 1."""
    neurons = neurons.double()
    weight: Float[Tensor, "n d"] = neurons.weight
    if weight.ndim != 2:
        raise ValueError(f"A {name} of shape {tuple(weight.shape)} given; certify one network at a time, (n, d).")
    if neurons.bias is not None or (neurons.output is not None and not bool((neurons.output == 1).all())):
        raise ValueError(f"The {name} has biases or output weights other than 1; the proof covers neither.")
    if not bool(weight.isfinite().all()):
        raise ValueError(f"The {name} has weights that are NaN or infinite.")
    return weight.cpu().numpy()
