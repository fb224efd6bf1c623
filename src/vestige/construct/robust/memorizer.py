"""Networks that keep every label in a ball around its point, at width m + 3 (arXiv 2502.11162).

The points are projected to R^m, which keeps differently labeled ones apart; then a narrow network compares the image
with one sample after the other. On every ball the output is the label exactly. The paper's own construction has width
m + 6; this one, with its constants, is derived here and proved for each network in exact arithmetic.
"""

import math
from collections.abc import Iterator
from fractions import Fraction

import torch
from jaxtyping import Shaped
from torch import Tensor

from vestige.construct.exact.exact_construction import ExactConstruction
from vestige.construct.exact.layers import layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.exact.rounding import below, unit_of
from vestige.construct.robust.balls import Balls
from vestige.construct.robust.claims import ball_claims, mantissa_bits
from vestige.construct.robust.first_layer import FirstLayer, choose_first_layer
from vestige.construct.robust.layers import Layout, Plan, narrow_layers, parallel_layers
from vestige.construct.robust.projection import Projection
from vestige.construct.robust.radius import PAPER, check_points, closest_pair, refuse_conflict
from vestige.construct.robust.thresholds import PROMISE, Centers, Thresholds, centers_of, choose_thresholds
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import OnStep, Outcome
from vestige.core.threat import read_norm

NEAR = Fraction(99, 100)  # of the largest radius: the last percent costs as many knots as all before
SMALLEST_WIDTH, BESIDE = 4, 3
PER_LOG = 4  # projected dimensions a unit of log N: then N^(-2/m) is e^(-1/2)
LARGEST_NEURONS = 4_000_000


def memorize_robustly(
    x: Shaped[Tensor, " n *feature"],
    y: Shaped[Tensor, " labels"],
    *,
    width: int | None = None,
    norm: float | int | str = 2,
    eps: float | int | None = None,
    projection: Projection | str = Projection.RANDOM,
    layout: Layout | str = Layout.NARROW,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> ExactConstruction:
    """A ReLU network that gives y_i at every point of the l_p ball of radius eps around x_i, to the last bit.

    Off the balls the output is unspecified, but finite and within the range of the labels or 0. A perturbation in the
    kernel of the first layer changes nothing, however long.

    Args:
        x: points, in the space where the balls are meant.
        y: labels, any finite numbers; equal numbers are one class.
        width: m + 3, from 4 to d + 3 (and to d + 3 where more is given); None takes m = 4 log N and, for an eps that
            needs more, doubles it.
        norm: exponent p of the balls, 1 to inf.
        eps: radius of the balls; None for 0.99 of the largest that this first layer allows.
        projection: of the points to R^m: "random" (the best of 100), "optimized" (several times more radius), or
            "identity" (m = d, which reaches `max_robust_radius` for p in {1, 2, inf}).
        layout: "narrow" has that width; "parallel" is the same function with few wide layers.
        generator: draws projections; None for seed 0.
        on_step: called with the steps of the optimization, samples built, and points verified.

    Returns:
        `numbers` has `eps`, `eps_max` for this first layer and the `ceiling` for any function, separations, and
        `mantissa_bits` that a float needs for the same labels in spite of rounding. `certificate` proves the balls.

    Raises:
        ValueError: values that are not finite, labels that do not fit, equal points with different labels, a width
            below 4, an eps that no function reaches or not this first layer, a network too large to write down.

    Example:
        >>> x, y = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([1, 2, 1])
        >>> made = memorize_robustly(x, y, norm="inf", eps=0.4)
        >>> [int(v) for v in made.network([[-0.4], [1.4], [1.6]])[:, 0]]
        [1, 2, 1]
    """
    rows, p = check_points(x, y), read_norm(norm)
    labels, kind, arrangement = y.detach().cpu().clone(), Projection(projection), Layout(layout)
    apart, *pair = closest_pair(rows, labels, p)
    refuse_conflict(apart, pair, rows, labels)
    wanted = _wanted_eps(eps, apart, pair)
    if math.isinf(apart):
        return _constant(rows, labels, wanted, p, on_step)
    kept = _distinct(rows)
    chosen, centers = _separate(rows[kept], labels[kept], width, p, kind, wanted, generator, on_step)
    used = _used_eps(wanted, chosen, centers, apart / 2, [kept[k] for k in centers.pair])
    numbers = choose_thresholds(centers, chosen.gain * Fraction(used) + centers.offset, chosen.norm)
    plan = _plan(chosen, centers, numbers, labels[kept])
    _refuse_size(plan, arrangement)
    network = ExactNetwork(narrow_layers(plan, on_step) if arrangement is Layout.NARROW else parallel_layers(plan))
    balls = Balls(rows.numpy(), labels[:, None].numpy(), used, p, PROMISE)
    reach = Claim("radius", below(_largest(chosen, centers)), used, PROMISE)
    claims = (*ball_claims(plan, centers, arrangement, network.width, network.depth - 1), reach)
    bits = mantissa_bits(plan, float(rows.abs().max()), used)
    sizes, notes = _numbers(plan, chosen, centers, used, apart, bits), _warnings(bits, width, rows.shape[1])
    return _construction(network, balls, claims, sizes, tuple(notes), on_step)


def _construction(
    network: ExactNetwork,
    balls: Balls,
    claims: tuple[Claim, ...],
    numbers: dict[str, float | int],
    warnings: tuple[str, ...],
    on_step: OnStep | None,
) -> ExactConstruction:
    certificate = Certificate((*balls.check(network, on_step=on_step), *claims))
    return ExactConstruction(
        network=network,
        specification=balls,
        certificate=certificate,
        outcome=Outcome.CONVERGED if certificate.holds else Outcome.STAGNATED,
        warnings=warnings,
        source=(PAPER,),
        numbers=numbers,
    )


def _separate(
    rows: Tensor,
    labels: Tensor,
    width: int | None,
    p: float,
    kind: Projection,
    wanted: float | None,
    generator: torch.Generator | None,
    on_step: OnStep | None,
) -> tuple[FirstLayer, Centers]:
    """A first layer of m rows; where the width is free, of as many as the wanted radius needs."""
    m = _dimension(width, kind, len(rows), rows.shape[1])
    while True:
        chosen = choose_first_layer(rows, labels, m, p, kind, generator, on_step)
        centers = centers_of(*chosen.images(rows), labels.tolist(), chosen.norm)
        if width is not None or wanted is None or wanted < _largest(chosen, centers) or m == rows.shape[1]:
            return chosen, centers
        m = min(2 * m, rows.shape[1])


def _largest(chosen: FirstLayer, centers: Centers) -> Fraction:
    """The radius below which the images of the balls are separated."""
    return (centers.apart / 2 - centers.offset) / chosen.gain


def _distinct(rows: Tensor) -> list[int]:
    """Positions of the points that are not equal to an earlier one."""
    first: dict[bytes, int] = {}
    for index, row in enumerate((rows + 0.0).numpy()):  # -0.0 + 0.0 is 0.0
        first.setdefault(row.tobytes(), index)
    return list(first.values())


def _wanted_eps(eps: float | int | None, apart: float, pair: list[int]) -> float | None:
    if eps is None:
        return None
    if not eps > 0:
        raise ValueError(f"eps={eps!r} given; eps must be positive; None takes what the first layer allows.")
    if not eps < apart / 2:
        raise ValueError(
            f"eps={eps} given; below {apart / 2:.9g} is allowed for any function: points {pair[0]} and {pair[1]} "
            f"have different labels and are {apart:.9g} apart, so that their balls would meet."
        )
    return float(eps)


def _dimension(width: int | None, kind: Projection, n: int, d: int) -> int:
    """m, the first to be tried."""
    if width is not None and width < SMALLEST_WIDTH:
        raise ValueError(f"width={width} given; {SMALLEST_WIDTH} to {d + BESIDE} are allowed in dimension {d}.")
    if kind is Projection.IDENTITY and width is not None and width < d + BESIDE:
        raise ValueError(
            f"width={width} given with the identity, which carries all {d} coordinates; {d + BESIDE} is needed, or "
            "projection='optimized'."
        )
    if kind is Projection.IDENTITY:
        return d
    return min(d, math.ceil(PER_LOG * math.log(n)) if width is None else width - BESIDE)


def _used_eps(wanted: float | None, chosen: FirstLayer, centers: Centers, ceiling: float, pair: list[int]) -> float:
    largest, m = _largest(chosen, centers), len(chosen.integers)
    used = below(NEAR * largest) if wanted is None else wanted
    if not 0 < used < largest:
        raise ValueError(
            f"eps={used:.9g} given; below {float(largest):.9g} is allowed after this first layer of {m} rows, "
            f"which brings the differently labeled points {pair[0]} and {pair[1]} that close; any function has less "
            f"than {ceiling:.9g}. Give a smaller eps, a larger width, or projection='optimized'."
        )
    return used


def _plan(chosen: FirstLayer, centers: Centers, numbers: Thresholds, labels: Tensor) -> Plan:
    unit, exact = unit_of(centers.exponent), [Fraction(label) for label in labels.tolist()]
    base = Fraction(0) if min(exact) > 0 else min(exact) - 1
    return Plan(
        rows=chosen.rows(),
        inputs=chosen.integers.shape[1],
        centers=[[int(v) * unit for v in row] for row in centers.integers],
        levels=[label - base for label in exact],
        base=base,
        numbers=numbers,
        norm=chosen.norm,
    )


def _refuse_size(plan: Plan, layout: Layout) -> None:
    """Narrow layers carry m + 3 numbers along for each hinge, parallel ones nothing."""
    n, m, knots = len(plan.centers), len(plan.rows), plan.numbers.knots
    hinges = 2 * m * knots * n
    neurons = hinges * (m + BESIDE) if layout is Layout.NARROW else hinges
    if neurons > LARGEST_NEURONS:
        raise ValueError(
            f"{neurons:,} neurons are needed for {n} points, m = {m} and {knots} knots; up to "
            f"{LARGEST_NEURONS:,} are written down. Give a smaller width or eps"
            + (", or layout='parallel'." if layout is Layout.NARROW else ".")
        )


def _constant(
    rows: Tensor, labels: Tensor, wanted: float | None, p: float, on_step: OnStep | None
) -> ExactConstruction:
    """One label needs no test at all."""
    network = ExactNetwork((layer(rows.shape[1], [({}, Fraction(labels[0].item()))]),))
    used = math.inf if wanted is None else wanted
    balls = Balls(rows.numpy(), labels[:, None].numpy(), used, p, PROMISE)
    reach = Claim("radius", math.inf, used, PROMISE)
    numbers = {"points": 1, "eps": used, "eps_max": math.inf, "ceiling": math.inf}
    note = "All labels agree: a constant keeps them everywhere."
    return _construction(network, balls, (reach,), numbers, (note,), on_step)


def _numbers(
    plan: Plan, chosen: FirstLayer, centers: Centers, used: float, apart: float, bits: int
) -> dict[str, float | int]:
    return {
        "points": len(plan.centers),
        "m": len(plan.rows),
        "knots": plan.numbers.knots,
        "eps": used,
        "eps_max": below(_largest(chosen, centers)),
        "ceiling": apart / 2,
        "separation": apart,
        "projected_separation": below(centers.apart),
        "gain": float(chosen.gain),
        "offset": float(centers.offset),
        **{name: float(getattr(plan.numbers, name)) for name in ("tau", "limit", "slope", "shift")},
        "mantissa_bits": bits,
    }


def _warnings(bits: int, width: int | None, d: int) -> Iterator[str]:
    if bits > 53:
        yield (
            f"float64 has 53 bits of mantissa; {bits} are needed so that its rounding changes no label on the balls. "
            "The exact network is right; for floats, scale the points or take a smaller eps."
        )
    if width is not None and width > d + BESIDE:
        yield f"A width of {d + BESIDE} carries all {d} coordinates; more is not used."
