"""Points of a sum of exponentials from its values: the algebraic attack on kernels of exponential type.

With k(z, x) = a(z) exp(rate z.x) b(x) and the anchors u_a around a center c, the scores at all sums of two anchors are

    G_ab = f(c + u_a + u_b) / a(...)  =  sum_i V_ai b_i V_bi,      V_ai = exp(rate u_a.(x_i - c)),

one matrix for each output, all with the same V (matrix pencil, ESPRIT); where a is constant, x_i stands for x_i - c.
The rank of G is the number of points; V comes from `kernels.simultaneous_diagonalization`. Then
f(c + u_a + v) = sum_i V_ai b_i R_i(v) with R_i(v) = exp(rate v.(x_i - c)) is linear in R, and steps v along the axes
give every coordinate of every point. Each output is an equation of its own there, so that n / C anchors suffice for the
axes. One output is turned into several by shifts s, b_i -> b_i exp(rate s.(x_i - c)).

Queries: m (m + 1) / 2 for each shift and about n d / C, m a little more than n. Own construction; the setting and the
question are those of arXiv 2505.19019.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.kernels.black_box import BlackBox, relative_noise
from vestige.reconstruct.kernels.functions import Exponential, Gaussian
from vestige.reconstruct.kernels.simultaneous_diagonalization import Diagonalized, diagonalize

PILOT = 40  # anchors that try a scale
SCALES = 8  # scales tried, each 1.6 times smaller than the one before
LARGEST_EXPONENT = 300.0  # of exp(-gamma |z|^2) at the largest scale: 700 underflows
ABOVE_NOISE = 10.0  # singular values this many times the noise count as points
ROOM = 1.2  # anchors over points: with fewer V is nearly singular
DIRECTIONS = 8  # held-out steps that check a point
OUTPUTS = 12  # matrices diagonalized together, at most
FURTHEST = 1.25  # times the root mean square distance of what is asked: random queries scatter
EXACT = 1e-4  # error of a point, relative to its distance from the center, below which fewer queries do


@dataclass(frozen=True, eq=False)
class Terms:
    """What one set of anchors gave.

    Attributes:
        points: estimates of x_i; NaN where no real logarithm exists.
        coefficients: a_i.
        error: of each point relative to its distance from the center, from steps that the estimate did not see.
        rank: number of points that the singular values show.
        full: whether they show no end, so that there are more points than anchors or the kernel does not fit.
        singular_values: of the scaled G over its noise, so that 1 is noise.
        scale: standard deviation of an anchor's coordinates.
    """

    points: Float[Tensor, "k d"]
    coefficients: Float[Tensor, "k out"]
    error: Float[Tensor, " k"]
    rank: int
    full: bool
    singular_values: Float[Tensor, " m"]
    scale: float


@dataclass(frozen=True, eq=False)
class Sums:
    """Scores at all sums of two anchors: `values` (q, m, m) for q outputs times shifts, `noise` (m, m) of each."""

    anchors: Float[Tensor, "m d"]
    shifts: Float[Tensor, "s d"]
    values: Float[Tensor, "q m m"]
    noise: Float[Tensor, "m m"]


def no_sums(d: int, shifts: Float[Tensor, "s d"], outputs: int) -> Sums:
    """Before the first anchor."""
    none = torch.empty(0, d, dtype=torch.float64)
    return Sums(none, shifts, none.new_empty(outputs * len(shifts), 0, 0), none.new_empty(0, 0))


def add_anchors(
    box: BlackBox, kernel: Gaussian | Exponential, center: Float[Tensor, " d"], old: Sums, new: Float[Tensor, "k d"]
) -> Sums:
    """Query the sums that the new anchors make; the old ones stay.

    Rows and columns are scaled by the kernel's own factor, exp(-decay |u_a|^2), which keeps numbers of any anchor scale
    in range.
    """
    anchors, m = torch.cat([old.anchors, new]), len(old.anchors) + len(new)
    values = torch.zeros(len(old.values), m, m, dtype=torch.float64)
    noise = torch.zeros(m, m, dtype=torch.float64)
    values[:, : len(old.anchors), : len(old.anchors)] = old.values
    noise[: len(old.anchors), : len(old.anchors)] = old.noise
    b, a = torch.tril_indices(m, m).unbind()
    a, b = a[b >= len(old.anchors)], b[b >= len(old.anchors)]
    outputs = len(values) // len(old.shifts)
    for part in torch.arange(len(a)).split(2_048):
        left, right = anchors[a[part]], anchors[b[part]]
        largest = torch.zeros(len(part), dtype=torch.float64)
        for k, shift in enumerate(old.shifts):
            found, error = box.measure(center + left + right + shift)
            crossed = (left * right).sum(1) + (left + right) @ shift
            factor = (kernel.decay * (2 * crossed + shift.square().sum())).exp()
            block = (found * factor[:, None]).T
            place = slice(k * outputs, (k + 1) * outputs)
            values[place, a[part], b[part]] = values[place, b[part], a[part]] = block
            largest = torch.maximum(largest, error * factor)
        noise[a[part], b[part]] = noise[b[part], a[part]] = largest
    return Sums(anchors, old.shifts, values, noise)


def equalized(sums: Sums) -> tuple[Float[Tensor, "q m m"], Float[Tensor, " m"], float]:
    """G with rows and columns scaled so that its noise is about 1, the scale of each row, the norm of that noise."""
    log = sums.noise.clamp(min=1e-300).log()
    row = (log.mean(1) - log.mean() / 2).exp()
    left = sums.noise / row[:, None] / row
    norm = left.square().sum(1).amax().sqrt() * (1 + len(sums.values) ** 0.5)
    return sums.values / row[:, None] / row, row, float(norm)


def spectrum(sums: Sums) -> tuple[Float[Tensor, "m m"], Float[Tensor, " m"], Tensor]:
    """Left singular vectors of the outputs side by side, singular values over the noise, and the scaled outputs."""
    values, _, noise = equalized(sums)
    few = mixed(values)
    wide = few.permute(1, 0, 2).flatten(1)
    triangle = torch.linalg.qr(wide.T, mode="r").R.T
    left, value, _ = torch.linalg.svd(triangle)
    return left, value / noise, few


def mixed(values: Float[Tensor, "q m m"]) -> Float[Tensor, "p m m"]:
    """At most OUTPUTS random combinations of the outputs, which hold the same points."""
    if len(values) <= OUTPUTS:
        return values
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(len(values), OUTPUTS, generator=generator, dtype=torch.float64)).Q
    return torch.einsum("qp,qab->pab", rotation, values)


def choose_scale(
    box: BlackBox,
    kernel: Gaussian | Exponential,
    center: Float[Tensor, " d"],
    draw: torch.Generator,
    *,
    n: int | None,
    outputs: int,
    pilot: int = PILOT,
) -> float:
    """The anchor scale at which the last point that a few anchors show stands highest above the noise.

    Too small a scale makes all exponentials alike, too large a one sinks the scores into their rounding noise.
    """
    d = len(center)
    unit = torch.randn(pilot, d, generator=draw, dtype=torch.float64)
    largest = min((LARGEST_EXPONENT / (2 * kernel.rate * d)) ** 0.5, _within(box, d, outputs))
    noises = {largest: box.floor}
    best, key = largest, (-1, 0.0)
    for k in range(SCALES):
        scale = largest / 1.6**k
        shifts = shifts_for(outputs, d, scale, draw)
        noises[scale] = box.noise = relative_noise(box, center + scale * (unit[1:] + unit[:-1]))
        sums = add_anchors(box, kernel, center, no_sums(d, shifts, outputs), scale * unit)
        if not bool(torch.isfinite(sums.values).all()) or not bool(sums.noise.any()):
            continue
        value = spectrum(sums)[1]
        rank = min(int((value > ABOVE_NOISE).sum()), n or pilot)
        found = (rank, float(value[rank - 1]) if rank else 0.0)
        if found > key:
            best, key = scale, found
    box.noise = noises[best]
    return best


def _within(box: BlackBox, d: int, outputs: int) -> float:
    """Largest anchor scale at which sums of two anchors, and a shift or a step, stay in the box's reach."""
    squares = 4 if outputs >= 3 else 8  # an anchor twice; a shift has twice the size of an anchor
    return 0.75**0.5 * box.reach / (FURTHEST * (squares * d) ** 0.5)


def shifts_for(outputs: int, d: int, scale: float, draw: torch.Generator) -> Float[Tensor, "s d"]:
    """Zero, and as many random shifts as make three matrices of `outputs` outputs."""
    more = max(0, -(-3 // outputs) - 1)
    return torch.cat(
        [torch.zeros(1, d, dtype=torch.float64), 2 * scale * torch.randn(more, d, generator=draw, dtype=torch.float64)]
    )


def solve(
    box: BlackBox,
    kernel: Gaussian | Exponential,
    center: Float[Tensor, " d"],
    draw: torch.Generator,
    *,
    outputs: int,
    n: int | None = None,
    scale: float | None = None,
    first: int = 32,
    most: int = 1_200,
) -> Terms:
    """All points that one set of random anchors around the center shows.

    Args:
        box: the model.
        kernel: with its rate.
        center: about the middle of the data; the nearer, the more precise.
        draw: random numbers.
        outputs: C.
        n: number of points, None for the rank.
        scale: of the anchors, None to try several.
        first: anchors to begin with where n is not known.
        most: anchors at most.
    """
    d = len(center)
    box.phase = "anchor scale"
    if scale is None:
        scale = choose_scale(box, kernel, center, draw, n=n, outputs=outputs, pilot=min(PILOT, first + 8))
    sums = no_sums(d, shifts_for(outputs, d, scale, draw), outputs)
    size, rank, full = (first, 0, True) if n is None else (int(ROOM * n) + 2, n, False)
    while True:
        box.phase = "sums of anchors"
        new = scale * torch.randn(size - len(sums.anchors), d, generator=draw, dtype=torch.float64)
        sums = add_anchors(box, kernel, center, sums, new)
        left, value, few = spectrum(sums)
        rank = min(int((value > ABOVE_NOISE).sum()), n or size)
        full = n is None and ROOM * rank > size
        if not full or size >= most:
            break
        size = min(most, max(int(1.5 * size), int(ROOM * rank) + 2))
    if rank == 0 or full:
        none = torch.empty(0, d, dtype=torch.float64)
        return Terms(none, none.new_empty(0, outputs), none.new_empty(0), rank, full, value, scale)
    basis = left[:, :rank]
    found = diagonalize(torch.einsum("ai,qab,bj->qij", basis, few, basis), draw)
    return _coordinates(box, kernel, center, draw, sums, basis, found, value, scale)


def _coordinates(
    box: BlackBox,
    kernel: Gaussian | Exponential,
    center: Tensor,
    draw: torch.Generator,
    sums: Sums,
    basis: Tensor,
    found: Diagonalized,
    value: Tensor,
    scale: float,
) -> Terms:
    values, row, _ = equalized(sums)
    rank, d = basis.shape[1], len(center)
    inverse = found.inverse @ basis.T
    weight = torch.stack([((inverse @ part) * inverse).sum(1) for part in values], 1)
    shape = basis @ found.vectors
    outputs = weight.shape[1] // len(sums.shifts)
    # One row for each anchor, shift and output; its noise is 1 after the scaling.
    mixing = shape[:, None, :] * weight.T
    start, noise = _stepped(box, kernel, center, sums, row, torch.zeros(1, d, dtype=torch.float64), len(sums.anchors))
    count, demix = _enough(mixing, start[:, 0], noise[:, 0], kernel, scale, rank)
    still = demix @ start[: count * mixing.shape[1], 0]
    step = min(kernel.rate**-0.5, box.reach / 2)
    box.phase, box.planned = "coordinates", box.used + count * len(sums.shifts) * (d + DIRECTIONS)
    ratio = torch.empty(rank, d, dtype=torch.float64)
    for axes in torch.arange(d).split(max(1, 4_096 // count)):
        steps = step * torch.nn.functional.one_hot(axes, d).double()
        ratio[:, axes] = demix @ _stepped(box, kernel, center, sums, row, steps, count)[0]
    offset = (ratio / still[:, None]).log() / (kernel.rate * step)
    fresh = scale * torch.randn(DIRECTIONS, d, generator=draw, dtype=torch.float64)
    seen = (demix @ _stepped(box, kernel, center, sums, row, fresh, count)[0] / still[:, None]).log()
    missed = (seen - kernel.rate * offset @ fresh.T).square().mean(1).sqrt()
    error = missed / (kernel.rate * scale * offset.norm(dim=1))
    # G fixes V and b up to V_i / t, b_i t^2, and still_i = t then.
    coefficients = weight[:, :outputs] * still[:, None].square()
    origin = center if kernel.decay else torch.zeros_like(center)
    b_over_a = kernel.rate * (center - origin) @ offset.T - kernel.decay * offset.square().sum(1)
    coefficients = coefficients * (-b_over_a).exp()[:, None]
    return Terms(origin + offset, coefficients, error.nan_to_num(torch.inf), rank, False, value, scale)


def _stepped(
    box: BlackBox, kernel: Gaussian | Exponential, center: Tensor, sums: Sums, row: Tensor, steps: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Scaled scores at anchor + shift + step for the first anchors: (count * shifts * outputs, steps), and noise."""
    anchors = sums.anchors[:count]
    base = (anchors[:, None] + sums.shifts).flatten(0, 1)
    z = (base[:, None] + steps).flatten(0, 1)
    found, noise = box.measure(center + z)
    shift = sums.shifts.repeat(count, 1)
    inner = (shift * anchors.repeat_interleave(len(sums.shifts), 0)).sum(1)[:, None] + base @ steps.T
    own = shift.square().sum(1)[:, None] + steps.square().sum(1)
    factor = (kernel.decay * (2 * inner + own)).exp()
    factor = factor / row[:count].repeat_interleave(len(sums.shifts))[:, None]
    found = found.reshape(len(base), len(steps), -1) * factor[..., None]
    return found.permute(0, 2, 1).flatten(0, 1), noise.reshape(len(base), len(steps)) * factor


def _enough(
    mixing: Tensor, start: Tensor, noise: Tensor, kernel: Gaussian | Exponential, scale: float, rank: int
) -> tuple[int, Tensor]:
    """How many anchors the coordinates need, and the matrix that turns their scores into one number a point.

    As few as the points' conditioning and the noise allow; all of them where even those are not enough.
    """
    total, each = mixing.shape[:2]
    # Spread of log V over the anchors is rate * scale * |x - c|.
    spread = mixing[:, 0].abs().clamp(min=1e-300).log().std(0)
    count = min(total, -(-int(1.3 * rank) // each) + 2)
    while True:
        matrix = mixing[:count].flatten(0, 1)
        column = matrix.norm(dim=0)
        demix = torch.linalg.pinv(matrix / column) / column[:, None]
        still = demix @ start[: len(matrix)]
        level = float(noise[: count * (len(noise) // total)].median())
        error = level * demix.norm(dim=1) / still.abs() / spread * (2 * kernel.rate) ** 0.5 * scale
        if count == total or float(error.nan_to_num(torch.inf).quantile(0.9)) <= EXACT:
            return count, demix
        count = min(total, int(1.4 * count) + 1)
