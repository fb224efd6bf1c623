"""Networks that keep every label in a ball around its point, at width m + 3 (arXiv 2502.11162).

The points are projected to R^m, which keeps differently labelled ones apart; then a narrow network compares the image
with one sample after the other. On every ball the output is the label exactly. The paper's own construction has width
m + 6; this one, with its constants, is derived here and proved for each network in exact arithmetic.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import TypeVar

import torch
from jaxtyping import Shaped
from torch import Tensor

from vestige.construct.exact.layers import layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.exact.rounding import below, unit_of
from vestige.construct.result import Construction
from vestige.construct.robust.balls import Balls
from vestige.construct.robust.claims import ball_claims, mantissa_bits
from vestige.construct.robust.first_layer import FirstLayer, choose_first_layer
from vestige.construct.robust.layers import Layout, Plan, narrow_layers, parallel_layers
from vestige.construct.robust.projection import Projection
from vestige.construct.robust.radius import PAPER, check_points, closest_pair, read_norm, refuse_conflict
from vestige.construct.robust.thresholds import PROMISE, Centres, Thresholds, centres_of, choose_thresholds
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import OnStep, Outcome

NEAR = Fraction(99, 100)  # of the largest radius: the last percent costs as many knots as all before
SMALLEST_WIDTH, BESIDE = 4, 3
PER_LOG = 4  # projected dimensions a unit of log N: then N^(-2/m) is e^(-1/2)
LARGEST_NEURONS = 4_000_000
Choice = TypeVar("Choice", Projection, Layout)


def memorize_robustly(
    x: Shaped[Tensor, " n *feature"],
    y: Shaped[Tensor, " labels"],
    *,
    width: int | None = None,
    norm: float | int | str = 2,
    radius: float | int | str = "max",
    projection: Projection | str = Projection.RANDOM,
    layout: Layout | str = Layout.NARROW,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Construction:
    """A ReLU network that gives y_i at every point of the l_p ball of the radius around x_i, to the last bit.

    Off the balls the output is unspecified, but finite and within the range of the labels or 0. A perturbation in the
    kernel of the first layer changes nothing, however long.

    Args:
        x: points, in the space where the balls are meant.
        y: labels, any finite numbers; equal numbers are one class.
        width: m + 3, from 4 to d + 3 (and to d + 3 where more is given); None takes m = 4 log N and, for a radius that
            needs more, doubles it.
        norm: exponent p of the balls, 1 to inf.
        radius: of the balls; "max" for 0.99 of the largest that this first layer allows.
        projection: of the points to R^m: "random" (the best of 100), "optimized" (several times more radius), or
            "identity" (m = d, which reaches `max_robust_radius` for p in {1, 2, inf}).
        layout: "narrow" has that width; "parallel" is the same function with few wide layers.
        generator: draws projections; None for seed 0.
        on_step: told the steps of the optimisation, samples built, and points verified.

    Returns:
        `numbers` has the radius, `radius_max` for this first layer and the `ceiling` for any function, separations, and
        `mantissa_bits` that a float needs for the same labels in spite of rounding. `certificate` proves the balls.

    Raises:
        ValueError: values that are not finite, labels that do not fit, equal points with different labels, a width
            below 4, a radius that no function or not this first layer has, a network too large to write down.

    Example:
        >>> x, y = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([1, 2, 1])
        >>> made = memorize_robustly(x, y, norm="inf", radius=0.4)
        >>> [int(v) for v in made.network([[-0.4], [1.4], [1.6]])[:, 0]]
        [1, 2, 1]
    """
    rows, p = check_points(x, y), read_norm(norm)
    labels = y.detach().cpu().clone()
    apart, *pair = closest_pair(rows, labels, p)
    refuse_conflict(apart, pair, rows, labels)
    wanted = _wanted_radius(radius, apart, pair)
    kind, arrangement = _choice(Projection, "projection", projection), _choice(Layout, "layout", layout)
    if math.isinf(apart):
        return _constant(rows, labels, wanted, p, on_step)
    kept = _distinct(rows)
    m = _dimension(width, kind, len(kept), rows.shape[1])
    while True:
        chosen = choose_first_layer(rows[kept], labels[kept], m, p, kind, generator, on_step)
        centres = centres_of(*chosen.images(rows[kept]), labels[kept].tolist(), chosen.norm)
        if width is not None or wanted is None or wanted < _largest(chosen, centres) or m == rows.shape[1]:
            break
        m = min(2 * m, rows.shape[1])
    used = _used_radius(wanted, _largest(chosen, centres), apart / 2, [kept[k] for k in centres.pair], m)
    numbers = choose_thresholds(centres, chosen.gain * Fraction(used) + centres.offset, chosen.norm)
    _refuse_size(len(kept), m, numbers.knots, arrangement)
    plan = _plan(chosen, centres, numbers, labels[kept])
    layers = narrow_layers(plan, on_step) if arrangement is Layout.NARROW else parallel_layers(plan)
    network = ExactNetwork(layers)
    balls = Balls(rows.numpy(), labels[:, None].numpy(), used, p, PROMISE)
    claims = (
        *balls.check(network, on_step=on_step),
        *ball_claims(plan, centres, arrangement, network.width, network.depth - 1),
        Claim("radius", below(_largest(chosen, centres)), used, PROMISE),
    )
    certificate = Certificate(claims)
    bits = mantissa_bits(plan, float(rows.abs().max()), used)
    return Construction(
        network,
        balls,
        certificate,
        Outcome.CONVERGED if certificate.holds else Outcome.STAGNATED,
        tuple(_warnings(bits, width, rows.shape[1])),
        (PAPER,),
        _numbers(plan, chosen, centres, used, apart, bits),
    )


def _choice(kind: type[Choice], name: str, given: str) -> Choice:
    try:
        return kind(given)
    except ValueError:
        raise ValueError(f"{name}={given!r} given; allowed are {', '.join(kind)}.") from None


def _largest(chosen: FirstLayer, centres: Centres) -> Fraction:
    """The radius below which the images of the balls are told apart."""
    return (centres.apart / 2 - centres.offset) / chosen.gain


def _distinct(rows: Tensor) -> list[int]:
    """Positions of the points that are not equal to an earlier one."""
    first: dict[bytes, int] = {}
    for index, row in enumerate((rows + 0.0).numpy()):  # -0.0 + 0.0 is 0.0
        first.setdefault(row.tobytes(), index)
    return list(first.values())


def _wanted_radius(radius: float | int | str, apart: float, pair: list[int]) -> float | None:
    if radius == "max":
        return None
    if isinstance(radius, str) or not radius > 0:
        raise ValueError(f"radius={radius!r} given; a positive number or 'max' is allowed.")
    if not radius < apart / 2:
        raise ValueError(
            f"radius={radius} given; below {apart / 2:.9g} is allowed for any function: points {pair[0]} and {pair[1]} "
            f"have different labels and are {apart:.9g} apart, so that their balls would meet."
        )
    return float(radius)


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


def _used_radius(wanted: float | None, largest: Fraction, ceiling: float, pair: list[int], m: int) -> float:
    used = below(NEAR * largest) if wanted is None else wanted
    if not 0 < used < largest:
        raise ValueError(
            f"radius={used:.9g} given; below {float(largest):.9g} is allowed behind this first layer of {m} rows, "
            f"which brings the differently labelled points {pair[0]} and {pair[1]} that close; any function has less "
            f"than {ceiling:.9g}. Give a smaller radius, a larger width, or projection='optimized'."
        )
    return used


def _plan(chosen: FirstLayer, centres: Centres, numbers: Thresholds, labels: Tensor) -> Plan:
    unit = unit_of(centres.exponent)
    exact = [Fraction(label) for label in labels.tolist()]
    base = Fraction(0) if min(exact) > 0 else min(exact) - 1
    places = [[int(v) * unit for v in row] for row in centres.integers]
    levels = [label - base for label in exact]
    return Plan(chosen.rows(), chosen.integers.shape[1], places, levels, base, numbers, chosen.norm)


def _refuse_size(n: int, m: int, knots: int, layout: Layout) -> None:
    """Narrow layers carry m + 3 numbers along for each hinge, parallel ones nothing."""
    hinges = 2 * m * knots * n
    neurons = hinges * (m + BESIDE) if layout is Layout.NARROW else hinges
    if neurons > LARGEST_NEURONS:
        raise ValueError(
            f"{neurons:,} neurons are needed for {n} points, m = {m} and {knots} knots; up to "
            f"{LARGEST_NEURONS:,} are written down. Give a smaller width or radius"
            + (", or layout='parallel'." if layout is Layout.NARROW else ".")
        )


def _constant(rows: Tensor, labels: Tensor, wanted: float | None, p: float, on_step: OnStep | None) -> Construction:
    """One label needs no test at all."""
    network = ExactNetwork((layer(rows.shape[1], [({}, Fraction(labels[0].item()))]),))
    used = math.inf if wanted is None else wanted
    balls = Balls(rows.numpy(), labels[:, None].numpy(), used, p, PROMISE)
    claims = (*balls.check(network, on_step=on_step), Claim("radius", math.inf, used, PROMISE))
    numbers = {"samples": 1, "radius": used, "radius_max": math.inf, "ceiling": math.inf}
    note = "All labels agree: a constant keeps them everywhere."
    return Construction(network, balls, Certificate(claims), Outcome.CONVERGED, (note,), (PAPER,), numbers)


def _numbers(
    plan: Plan, chosen: FirstLayer, centres: Centres, used: float, apart: float, bits: int
) -> dict[str, float | int]:
    return {
        "samples": len(plan.centres),
        "m": len(plan.rows),
        "knots": plan.numbers.knots,
        "radius": used,
        "radius_max": below(_largest(chosen, centres)),
        "ceiling": apart / 2,
        "separation": apart,
        "projected_separation": below(centres.apart),
        "gain": float(chosen.gain),
        "offset": float(centres.offset),
        "tau": float(plan.numbers.tau),
        "limit": float(plan.numbers.limit),
        "slope": float(plan.numbers.slope),
        "shift": float(plan.numbers.shift),
        "mantissa_bits": bits,
    }


def _warnings(bits: int, width: int | None, d: int) -> Iterator[str]:
    if bits > 53:
        yield (
            f"float64 has 53 bits of mantissa; {bits} are needed so that its rounding changes no label on the balls. "
            "The exact network is right; for floats, scale the points or take a smaller radius."
        )
    if width is not None and width > d + BESIDE:
        yield f"A width of {d + BESIDE} carries all {d} coordinates; more is not used."
