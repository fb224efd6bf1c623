"""The narrow network that is near its target except on few inputs (arXiv 2202.03841, theorems 2 and 5, corollary 3)."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from vestige.construct.agreement import Agreement, SafeRegion, exact_chain, upwards
from vestige.construct.bit_narrow import NarrowWidth, bit_depth, bit_rows, bit_width
from vestige.construct.bounded import bounded_depth, bounded_rows, largest_weight
from vestige.construct.fixed_point import fewest_bits, fixed_point, integer_outputs, paper_bits
from vestige.construct.narrow_result import narrowed, refuse_depth
from vestige.construct.registers import to_network
from vestige.construct.relu_chain import ReluChain
from vestige.construct.result import Construction, OnStep
from vestige.core.claims import Claim
from vestige.core.rng import spawn

SAMPLES, DRAWS = 64, 10_000
THEOREM = {NarrowWidth.SIDE_BY_SIDE: "Theorem 2", NarrowWidth.ONE_BY_ONE: "Theorem 5"}


@dataclass(frozen=True)
class Promise:
    """What is asked for, each in range.

    Args:
        epsilon: largest error on safe inputs.
        delta: largest probability of the others.
        box: largest coordinate.
        density: largest density of the inputs on the box.
        weight_bound: no weight exceeds it; None for any size.
    """

    epsilon: float
    delta: float
    box: float
    density: float
    weight_bound: int | None


def promise(
    inputs: int,
    points: NDArray[np.float64] | None,
    epsilon: float | int | None,
    delta: float | int | None,
    box: float | int | None,
    density: float | int | None,
    weight_bound: int | None,
) -> Promise:
    """The options with their defaults; see `narrow`.

    Raises:
        ValueError: one is out of its range.
    """
    error, share = float(0.01 if epsilon is None else epsilon), float(0.01 if delta is None else delta)
    if not 0 < error < math.inf:
        raise ValueError(f"epsilon={epsilon} given; the largest error allowed is a positive number, such as 0.01.")
    if not 0 < share < 1:
        raise ValueError(f"delta={delta} given; a probability strictly between 0 and 1 is needed, such as 0.01.")
    reach = 0.0 if points is None else float(abs(points).max())
    if box is None and not reach:
        raise ValueError("no box given, and no inputs to read it off; give box=A for inputs in [-A, A], or x.")
    side = reach if box is None else float(box)
    if not 2.0**-100 < side < 2.0**100:
        raise ValueError(f"box={box} given; inputs have coordinates in [-box, box], a positive number such as 1.0.")
    if not reach <= side:
        raise ValueError(f"x reaches {reach:g}, box={side:g} was given; box={reach!r} would work.")
    uniform = (2 * side) ** -inputs
    largest = uniform if density is None else float(density)
    if not uniform <= largest < math.inf:
        raise ValueError(
            f"density={density} given; on a box of volume {1 / uniform:g} the largest density is {uniform:g} or more."
        )
    if weight_bound is not None and (weight_bound < 2 or weight_bound & (weight_bound - 1)):
        raise ValueError(f"weight_bound={weight_bound} given; a power of two from 2 on is needed: 2 would work.")
    return Promise(error, share, side, largest, weight_bound)


def narrow_near(
    chain: ReluChain,
    points: NDArray[np.float64] | None,
    wanted: Promise,
    width: NarrowWidth,
    max_depth: int,
    generator: torch.Generator | None,
    on_step: OnStep | None,
) -> Construction:
    """See `narrow`: fewest bits for epsilon, the widest ramp for delta, the network, and its error exactly."""
    bits = fewest_bits(chain, wanted.box, wanted.epsilon)
    fixed, region = fixed_point(chain, wanted.box, bits), _region(chain.inputs, bits, wanted)
    refuse_depth(bit_depth(fixed, width), max_depth, "A larger epsilon")
    rows = bit_rows(fixed, width, region.ramp)
    unsafe = region.unsafe_probability(chain.inputs, wanted.density)
    c0, c = paper_bits(chain, wanted.box, wanted.epsilon)
    claims = [
        Claim("width", bit_width(chain.inputs, chain.outputs, width), max(map(len, rows[:-1])), THEOREM[width]),
        Claim("bits behind the point, c0", c0, bits, "Theorem 13"),
        Claim("bits a field, c", c, fixed.field, "Theorem 13"),
        Claim("error on safe inputs, proved", wanted.epsilon, upwards(fixed.error), THEOREM[width]),
        Claim("probability of unsafe inputs, proved", wanted.delta, upwards(unsafe), THEOREM[width]),
    ]
    if wanted.weight_bound is not None:
        refuse_depth(bounded_depth(rows, wanted.weight_bound), max_depth, "A larger weight_bound or epsilon")
        rows = bounded_rows(rows, wanted.weight_bound)
        claims.append(
            Claim("largest weight", wanted.weight_bound, upwards(Fraction(largest_weight(rows))), "Corollary 3")
        )
    network = to_network(rows, chain.inputs)
    kept, share = _safe_points(chain.inputs, points, region, generator)
    specification = Agreement(
        exact_chain(chain),
        kept,
        np.ones(len(kept)),
        Fraction(wanted.epsilon),
        integer_outputs(fixed, kept),
        THEOREM[width],
        region.box,
        region.bits,
        region.ramp,
        wanted.density,
        wanted.delta,
    )
    checked = specification.check(network, on_step=on_step)
    claims.extend(checked)
    numbers = {
        "c0": bits,
        "c": fixed.field,
        "epsilon": wanted.epsilon,
        "delta": wanted.delta,
        "box": wanted.box,
        "predicted error": upwards(fixed.error),
        "measured error": checked[1].measured,
        "share of unsafe inputs": share,
        "paper c0": c0,
        "paper c": c,
    }
    notes = []
    if points is not None and share:
        notes.append(f"{share:.2%} of the given inputs are not safe and were not checked; a smaller delta spares more.")
    return narrowed(chain, network, specification, claims, notes, numbers)


def _region(inputs: int, bits: int, wanted: Promise) -> SafeRegion:
    """The widest ramp, a power of two, whose unsafe inputs have a probability of at most delta."""
    delta, halvings = Fraction(wanted.delta), 1
    whole = SafeRegion(wanted.box, bits, Fraction(1)).unsafe_probability(inputs, wanted.density)
    while whole > delta * (1 << halvings):
        halvings += 1
    return SafeRegion(wanted.box, bits, Fraction(1, 1 << halvings))


def _safe_points(
    inputs: int, points: NDArray[np.float64] | None, region: SafeRegion, generator: torch.Generator | None
) -> tuple[NDArray[np.float64], float]:
    """Inputs to check at, and the share of the given or drawn ones that are not safe."""
    drawn = points
    if drawn is None:
        draw = spawn(generator, "narrow", "inputs")
        drawn = region.box * (2 * torch.rand((DRAWS, inputs), generator=draw, dtype=torch.float64).numpy() - 1)
    safe = region.holds(drawn)
    if not safe.any():
        raise ValueError(f"none of the {len(drawn)} inputs is safe at this delta; a smaller delta spares more.")
    kept = drawn[safe]
    return (kept[:SAMPLES] if points is None else kept), 1 - float(safe.mean())
