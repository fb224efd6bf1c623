"""Labels on balls, proved again from a file: the layers give the numbers, and the points the inequalities between them.

With s = (largest |P x_i - c_i|) + a r and D = (least |c_i - c_j| of different labels) - s, where |P u| <= a |u|_p, the
test of a sample is at most U on its own ball and at least U + 1 / K on balls of other labels. See `thresholds`; nothing
of it is used here.
"""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from vestige.construct.file.ball_blueprint import Blueprint, exact, layers_that_differ, read_blueprint
from vestige.construct.file.check import Derived, Question
from vestige.construct.file.check_points import chosen
from vestige.construct.file.recompute import sizes_of, upwards, values_at
from vestige.construct.file.stored import Stored
from vestige.core.claims import Claim

DIFFER = "layers that are not the construction's"
PROMISE = "2502.11162, constants derived here"
FINE = 80  # bits of a root, relative to it
Vector = list[Fraction]


def derive_balls(stored: Stored, question: Question) -> Derived:
    """Every claim of a file that specifies balls, as far as the network's form lets one derive it."""
    fields = stored.fields
    eps, p = fields["eps"], fields["norm"]
    if not all(isinstance(v, float | int) and not isinstance(v, bool) for v in (eps, p)) or fields["source"] != PROMISE:
        raise ValueError(f"eps {str(eps)[:40]}, norm {str(p)[:40]}, source {str(fields['source'])[:80]!r}")
    n = len({tuple(row) for row in fields["points"].tolist()})
    constant = len(stored.layers) == 1
    found, differ = (None, 0) if constant else _blueprint(stored, n, float(p))
    claims = _claims(stored, question, found, differ)
    reach = {claim.name: claim for claim in claims}.get("radius")
    numbers = {"points": 1 if constant else n, "eps": eps} | ({} if reach is None else {"eps_max": reach.bound})
    bounds = {} if found is None else _promised(found, n)
    return Derived(claims, sizes_of(stored.layers), bounds=bounds, numbers=numbers | _named(found))


def _promised(found: Blueprint, n: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Width and depth of n tests of `hinges` hinges each, one after the other or side by side."""
    hinges = 2 * found.m * found.knots
    if found.narrow:
        return {"width": ((found.m + 3,), PROMISE), "hidden layers": ((1 + n * (hinges + 3),), PROMISE)}
    rounds = (n - 1).bit_length() + ((hinges - 1).bit_length() if found.norm == math.inf else 0)
    return {"width": ((n * hinges,), PROMISE), "hidden layers": ((4 + rounds,), PROMISE)}


def _named(found: Blueprint | None) -> dict[str, float | int]:
    if found is None:
        return {}
    return {
        "m": found.m,
        "knots": found.knots,
        **{name: float(getattr(found, name)) for name in ("tau", "limit", "slope", "shift")},
    }


def _claims(stored: Stored, question: Question, found: Blueprint | None, differ: int) -> tuple[Claim, ...]:
    fields = stored.fields
    x = [[Fraction(v) for v in row] for row in fields["points"].tolist()]
    y = [Fraction(v) for (v,) in fields["targets"].tolist()]
    eps, p, source = fields["eps"], float(fields["norm"]), fields["source"]
    if len(x) != len(y) or not eps > 0 or not p >= 1:
        raise ValueError("as many targets as points, a positive eps and a norm from 1 on are needed")
    claims = list(_measured(stored, x, y, eps, p, question))
    if len(stored.layers) == 1 and not any(exact(row)[0] for row in stored.layers[0].neurons):
        return (*claims, Claim("radius", math.inf if len(set(y)) == 1 else 0.0, eps, source))
    return (*claims, *_proved(stored, x, y, Fraction(eps), p, found, differ))


def _measured(stored: Stored, x: list[Vector], y: Vector, eps: float, p: float, question: Question) -> Iterator[Claim]:
    """Errors at the points, and at the edges of their balls towards the nearest other label and away from it."""
    index = chosen(len(x), question.points).tolist()
    owners = [*index]
    points, floats = [x[i] for i in index], np.array([[float(v) for v in row] for row in x])
    for i in index if math.isfinite(eps) else ():
        edges = _edges(x, floats, y, i, eps, p)
        points.extend(edges)
        owners.extend(i for _ in edges)
    array = np.array([*(v for row in points for v in row), None], dtype=object)[:-1].reshape(len(points), -1)
    values = values_at(stored.layers, array, question.on_step)
    off = [abs(row[0] - y[i]) for row, i in zip(values, owners, strict=True)]
    groups = (("", off[: len(index)], len(x)), (", edges of the balls", off[len(index) :], 2 * len(x)))
    for where, errors, whole in groups:
        if errors:
            source = f"{stored.fields['source']}; {len(errors):,} of {whole:,}"
            yield Claim(f"points off target{where}", 0, sum(v > 0 for v in errors), source)
            yield Claim(f"largest error{where}", 0, upwards(max(errors)), source)


def _edges(x: list[Vector], floats: np.ndarray, y: Vector, i: int, eps: float, p: float) -> list[Vector]:
    others = [j for j in range(len(x)) if y[j] != y[i]]
    if not others:
        return []
    gap = np.abs(floats[others] - floats[i])
    most = np.maximum(gap.max(1), 1e-300)  # the unit in which no p-th power overflows
    apart = most * np.linalg.norm(gap / most[:, None], ord=p, axis=1)
    to = x[others[int(apart.argmin())]]
    share = Fraction(math.floor(eps / float(apart.min()) * (1 - 1e-9) * 2**24), 2**24)
    return [[a + sign * (b - a) for a, b in zip(x[i], to, strict=True)] for sign in (share, -share)]


def _down(value: Fraction) -> float | int:
    return -upwards(-value)


def _proved(
    stored: Stored, x: list[Vector], y: Vector, eps: Fraction, p: float, found: Blueprint | None, differ: int
) -> Iterator[Claim]:
    source = stored.fields["source"]
    different = {tuple(row): target for row, target in zip(reversed(x), reversed(y), strict=True)}
    samples = list(dict.fromkeys(map(tuple, x)))
    yield Claim(DIFFER, 0, differ, "layer by layer")
    if found is None or found.tau <= 0 or found.slope <= 0:
        return
    labels = [different[row] for row in samples]
    off = sum(level + found.base != label for level, label in zip(found.levels, labels, strict=True))
    yield Claim("levels that are not the labels", 0, off + sum(level <= 0 for level in found.levels), source)
    gain = _gain(found.rows, len(samples[0]), p, found.norm)
    images = _images(found.rows, samples)
    away = max(
        _size([a - b for a, b in zip(image, c, strict=True)], found.norm)
        for image, c in zip(images, found.centers, strict=True)
    )
    offset = _root(away, up=True) if found.norm == 2 else away
    apart = _least_apart(found.centers, labels, found.norm)
    inside = gain * eps + offset
    yield from _inequalities(found, inside, apart - inside, source)
    yield Claim("radius", _down((apart / 2 - offset) / gain), upwards(eps), source)


def _images(rows: list[dict[int, Fraction]], samples: list[tuple[Fraction, ...]]) -> list[Vector]:
    """P x of each sample, in integers over a common denominator."""
    below = math.lcm(*(w.denominator for row in rows for w in row.values()))
    under = math.lcm(*(v.denominator for sample in samples for v in sample))
    whole = [{c: int(w * below) for c, w in row.items()} for row in rows]
    images = []
    for sample in samples:
        numbers = [int(v * under) for v in sample]
        images.append([Fraction(sum(w * numbers[c] for c, w in row.items()), below * under) for row in whole])
    return images


def _inequalities(found: Blueprint, inside: Fraction, outside: Fraction, source: str) -> Iterator[Claim]:
    own, other = inside, max(outside, Fraction(0))
    if found.norm == 2:
        own, other = inside**2 + found.m * found.tau**2 / 4, other**2
        yield Claim("reach of the knots", _down(found.knots * found.tau), upwards(outside), source)
    elif found.knots != 1 or found.tau != 1:
        other = Fraction(0)  # more than one knot does not measure a norm, and nothing follows
    yield Claim("largest test on the own ball", _down(found.limit), upwards(own), source)
    yield Claim("limit + 1 / slope", _down(other), upwards(found.limit + 1 / found.slope), source)
    lowest = inside - min(v for center in found.centers for v in center)
    yield Claim("shift of the first layer", _down(found.shift), upwards(lowest), source)


def _blueprint(stored: Stored, n: int, p: float) -> tuple[Blueprint | None, int]:
    """The narrow or the parallel reading, whichever fits better, and how many layers differ from it."""
    rows = [exact(row)[0] for row in stored.layers[0].neurons]
    plain = rows == [{j: Fraction(1)} for j in range(stored.layers[0].inputs)]
    norm = p if plain and p in (1, math.inf) else 2.0
    best, differ = None, len(stored.layers)
    for narrow in (True, False):
        found = read_blueprint(stored.layers, n, narrow, norm)
        off = len(stored.layers) if found is None else layers_that_differ(stored.layers, found)
        if off < differ:
            best, differ = found, off
    return best, differ


def _gain(rows: list[dict[int, Fraction]], d: int, p: float, norm: float) -> Fraction:
    """At least |P u|_norm over |u|_p = 1."""
    columns: dict[int, list[Fraction]] = {}
    for row in rows:
        for c, w in row.items():
            columns.setdefault(c, []).append(w)
    if norm == math.inf:
        return max(sum(map(abs, row.values()), Fraction(0)) for row in rows)
    if p == 1:
        sizes = (_size(column, norm) for column in columns.values())
        return _root(max(sizes), up=True) if norm == 2 else max(sizes)
    products = [[sum((w * b.get(c, 0) for c, w in a.items()), Fraction(0)) for b in rows] for a in rows]
    spectral = _root(max(sum(map(abs, line), Fraction(0)) for line in products), up=True)
    bound = spectral * _stretch(d, p)
    if p == math.inf:
        corner = sum((sum(map(abs, row.values()), Fraction(0)) ** 2 for row in rows), Fraction(0))
        bound = min(bound, _root(corner, up=True))
    return bound


def _stretch(d: int, p: float) -> Fraction:
    """At least d^max(0, 1/2 - 1/p): its 2u-th power is d^(u - 2v) for p at most u / v."""
    if p <= 2:
        return Fraction(1)
    if p > 64:
        return _root(Fraction(d), up=True)
    u, v = math.ceil(16 * p), 16
    low, high = 1 << 48, d << 48  # in units of 2**-48
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if middle ** (2 * u) >= d ** (u - 2 * v) << 96 * u else (middle + 1, high)
    return Fraction(low, 1 << 48)


def _size(vector: Sequence[Fraction], norm: float) -> Fraction:
    """|vector| in the norm, squared for 2."""
    if norm == 2:
        return sum((v * v for v in vector), Fraction(0))
    return max(map(abs, vector)) if norm == math.inf else sum(map(abs, vector), Fraction(0))


def _least_apart(centers: list[list[Fraction]], labels: Vector, norm: float) -> Fraction:
    """At most the least distance between centers of different labels."""
    below = math.lcm(*(v.denominator for center in centers for v in center))
    whole = [[int(v * below) for v in center] for center in centers]
    least = None
    for i, a in enumerate(whole):
        for b, label in zip(whole[:i], labels, strict=False):
            if label == labels[i]:
                continue
            moved = [abs(u - v) for u, v in zip(a, b, strict=True)]
            size = sum(v * v for v in moved) if norm == 2 else max(moved) if norm == math.inf else sum(moved)
            least = size if least is None or size < least else least
    if least is None:
        raise ValueError("labels that differ are needed, or a constant network")
    return _root(Fraction(least, below * below), up=False) if norm == 2 else Fraction(least, below)


def _root(value: Fraction, *, up: bool) -> Fraction:
    """The square root, rounded in its last of FINE bits if need be."""
    scale = 1 << max(FINE, FINE + value.denominator.bit_length() - value.numerator.bit_length())
    whole = math.isqrt(value.numerator * scale * scale // value.denominator)
    exactly = Fraction(whole, scale) ** 2 == value
    return Fraction(whole + (up and not exactly), scale)
