"""Loss, gradient and Hessian of a ReLU student as intervals, at one point or on a whole box around it."""

from dataclasses import dataclass

import numpy as np

from vestige.landscape.teacher_student.interval import TWO_PI, Array, Interval, angle, constant

HALF, ONE, TWO = constant(0.5), constant(1.0), constant(2.0)


@dataclass(frozen=True)
class _Rows:
    """Directions (n, d) and lengths (n,) of weight vectors."""

    unit: Interval
    length: Interval


@dataclass(frozen=True)
class _Pairs:
    """What the closed forms need of each pair of rows: sine, pi - angle and cosine."""

    sine: Interval
    rest: Interval
    cosine: Interval


def _rows(weight: Interval) -> _Rows:
    length = weight.square().sum(-1).sqrt()
    return _Rows(weight.over(length[:, None]).clip(-1.0, 1.0), length)


def _pairs(w: _Rows, v: _Rows) -> _Pairs:
    first, second = w.unit[:, None, :], v.unit[None, :, :]
    apart, together = (
        x.square().sum(-1).sqrt().clip(0.0, np.inf) for x in (second - first, second + first)
    )  # 2 sin and 2 cos of half the angle
    sine = (apart * together * HALF).clip(0.0, 1.0)
    return _Pairs(sine, TWO * angle(together, apart), (first * second).sum(-1).clip(-1.0, 1.0))


def _without_diagonal(x: Interval) -> Interval:
    """Rows of pairs (i, j) without those of a row with itself."""
    n = x.low.shape[0]
    keep = ~np.eye(n, dtype=bool)
    return Interval(*(side[keep].reshape(n, n - 1, *side.shape[2:]) for side in (x.low, x.high)))


class Enclosure:
    """Everything within `radius` of each entry of a student's weights (n, d), imitating a teacher's (k, d)."""

    def __init__(self, student: Array, teacher: Array, radius: float = 0.0):
        self.weight, target = Interval.around(student, radius), Interval.around(teacher)
        self.w, self.v, self.target = _rows(self.weight), _rows(target), target
        self.among, self.towards = _pairs(self.w, self.w), _pairs(self.w, self.v)
        self._teacher = _pairs(self.v, self.v)

    @property
    def differentiable(self) -> bool:
        """No neuron can be 0 in here, where a ReLU has no derivative."""
        return bool((self.w.length.low > 0).all() and (self.v.length.low > 0).all())

    def loss(self) -> Interval:
        """1/2 |student - teacher|^2; a row with itself contributes |w|^2 / 2."""
        total = (self.w.length.square() * HALF).sum(0) + (self.v.length.square() * HALF).sum(0)
        for rows, pairs in ((self.w, self.among), (self.v, self._teacher)):
            if len(rows.length.low) > 1:
                total = total + _without_diagonal(_kernel(rows, rows, pairs)).sum(1).sum(0)
        return HALF * total - _kernel(self.w, self.v, self.towards).sum(1).sum(0)

    def gradient(self) -> Interval:
        """w_i / 2 + sum_{j != i} g(w_i, w_j) - sum_j g(w_i, v_j), with g = (|v| sin w + (pi - angle) v) / 2 pi."""
        total = self.weight * HALF
        for pairs, rows, weight, sign in (
            (self.among, self.w, self.weight, 1),
            (self.towards, self.v, self.target, -1),
        ):
            turned = (rows.length[None, :] * pairs.sine)[..., None] * self.w.unit[:, None, :]
            parts = (turned + pairs.rest[..., None] * weight[None, :, :]).over(TWO_PI)
            if sign > 0:
                total = total + _without_diagonal(parts).sum(1)
            else:
                total = total - parts.sum(1)
        return total

    def hessian(self) -> Interval:
        """All second derivatives, (n d, n d)."""
        n, d = self.weight.low.shape
        own = Interval.around(np.eye(d) / 2)[None] - self._bent(self.towards, self.v).sum(1)
        if n > 1:
            own = own + _without_diagonal(self._bent(self.among, self.w)).sum(1)
        mixed = self._mixed()
        for blocks, square in ((mixed.low, own.low), (mixed.high, own.high)):
            blocks[range(n), range(n)] = square
        return Interval(*(x.transpose(0, 2, 1, 3).reshape(n * d, n * d) for x in (mixed.low, mixed.high)))

    def _bent(self, pairs: _Pairs, rows: _Rows) -> Interval:
        """|v| sin / (2 pi |w|) (I - ww^T + nn^T) of directions; n may be any unit vector where they are parallel."""
        first = self.w.unit[:, None, :]
        across = _normal(first, rows.unit[None, :, :], pairs)
        size = (rows.length[None, :] * pairs.sine).over(TWO_PI * self.w.length[:, None])
        eye = Interval.around(np.eye(first.low.shape[-1]))
        inner = eye - first[..., :, None] * first[..., None, :] + across[..., :, None] * across[..., None, :]
        return size[..., None, None] * inner

    def _mixed(self) -> Interval:
        """((pi - angle) I + sin (cos (ww^T - nn^T) + sin (wn^T + nw^T))) / 2 pi of directions."""
        pairs = self.among
        first = self.w.unit[:, None, :]
        across = _normal(first, self.w.unit[None, :, :], pairs)
        eye = Interval.around(np.eye(first.low.shape[-1]))
        sine, cosine, rest = (part[..., None, None] for part in (pairs.sine, pairs.cosine, pairs.rest))
        turned = first[..., :, None] * across[..., None, :]
        turned = turned + Interval(*(side.swapaxes(-1, -2) for side in (turned.low, turned.high)))
        along = first[..., :, None] * first[..., None, :] - across[..., :, None] * across[..., None, :]
        return (rest * eye + sine * (cosine * along + sine * turned)).over(TWO_PI)


def _kernel(w: _Rows, v: _Rows, pairs: _Pairs) -> Interval:
    return (w.length[:, None] * v.length[None, :] * (pairs.sine + pairs.rest * pairs.cosine)).over(TWO_PI)


def _normal(first: Interval, second: Interval, pairs: _Pairs) -> Interval:
    """The unit vector of `second - cos first`, entries between -1 and 1 whatever is known of it."""
    return (second - pairs.cosine[..., None] * first).over(pairs.sine[..., None]).clip(-1.0, 1.0)
