"""The narrow network that is near its target except on few inputs (arXiv 2202.03841, theorems 2 and 5, corollary 3)."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from vestige.construct.exact.exact_construction import ExactConstruction
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.exact.rounding import upwards
from vestige.construct.narrowing.agreement import Agreement, SafeRegion, exact_chain
from vestige.construct.narrowing.bounded import bounded_depth, bounded_rows, largest_weight
from vestige.construct.narrowing.fixed_point import FixedPoint, fewest_bits, fixed_point, integer_outputs, paper_bits
from vestige.construct.narrowing.near_layers import NearWidth, bit_depth, bit_rows, bit_width
from vestige.construct.narrowing.promise import Promise
from vestige.construct.narrowing.registers import Row, to_network
from vestige.construct.narrowing.sizes import narrowed, refuse_depth
from vestige.core.claims import Claim
from vestige.core.outcome import OnStep
from vestige.core.relu_chain import ReluChain
from vestige.core.rng import spawn

SAMPLES, DRAWS = 64, 10_000
THEOREM = {
    NearWidth.SIDE_BY_SIDE: "arXiv 2202.03841, Theorem 2",
    NearWidth.ONE_BY_ONE: "arXiv 2202.03841, Theorem 5",
}


def narrow_near(
    chain: ReluChain,
    points: NDArray[np.float64] | None,
    wanted: Promise,
    width: NearWidth,
    max_depth: int,
    generator: torch.Generator | None,
    on_step: OnStep | None,
) -> ExactConstruction:
    """See `narrow`: fewest bits for tolerance, the widest ramp for delta, the network, and its error exactly."""
    bits = fewest_bits(chain, wanted.radius, wanted.tolerance)
    fixed, region = fixed_point(chain, wanted.radius, bits), _region(chain.inputs, bits, wanted)
    network = to_network(_rows(fixed, width, region, wanted, max_depth), chain.inputs)
    kept, share = _safe_points(chain.inputs, points, region, generator)
    specification = Agreement(
        target=exact_chain(chain),
        points=kept,
        sizes=np.ones(len(kept)),
        tolerance=Fraction(wanted.tolerance),
        values=integer_outputs(fixed, kept),
        source=THEOREM[width],
        radius=region.radius,
        bits=region.bits,
        ramp=region.ramp,
        density=wanted.density,
        delta=wanted.delta,
    )
    checked = specification.check(network, on_step=on_step)
    claims = (*_proved(chain, fixed, region, wanted, network, width), *checked)
    numbers = _numbers(chain, fixed, wanted, checked[1].measured, share)
    notes = []
    if points is not None and share:
        notes.append(f"{share:.2%} of the given inputs are not safe and were not checked; a smaller delta spares more.")
    return narrowed(chain, network, specification, claims, notes, numbers)


def _numbers(
    chain: ReluChain, fixed: FixedPoint, wanted: Promise, measured: float | int, share: float
) -> dict[str, float | int]:
    c0, c = paper_bits(chain, wanted.radius, wanted.tolerance)
    return {
        "c0": fixed.bits,
        "c": fixed.field,
        "paper_c0": c0,
        "paper_c": c,
        "tolerance": wanted.tolerance,
        "delta": wanted.delta,
        "radius": wanted.radius,
        "certified_error": upwards(fixed.error),
        "sampled_error": measured,
        "unsafe_share": share,
    }


def _rows(fixed: FixedPoint, width: NearWidth, region: SafeRegion, wanted: Promise, max_depth: int) -> list[list[Row]]:
    """The network's rows, unless they are too many."""
    refuse_depth(bit_depth(fixed, width), max_depth, "A larger tolerance")
    rows = bit_rows(fixed, width, region.ramp)
    if wanted.weight_bound is None:
        return rows
    refuse_depth(bounded_depth(rows, wanted.weight_bound), max_depth, "A larger weight_bound or tolerance")
    return bounded_rows(rows, wanted.weight_bound)


def _proved(
    chain: ReluChain,
    fixed: FixedPoint,
    region: SafeRegion,
    wanted: Promise,
    network: ExactNetwork,
    width: NearWidth,
) -> Iterator[Claim]:
    """Claims that no measurement is needed for."""
    theorem, (c0, c) = THEOREM[width], paper_bits(chain, wanted.radius, wanted.tolerance)
    unsafe = region.unsafe_probability(chain.inputs, wanted.density)
    promised, doubled = bit_width(chain.inputs, chain.outputs, width), 2 * chain.outputs
    yield Claim("width", promised if wanted.weight_bound is None else max(promised, doubled), network.width, theorem)
    yield Claim("bits after the point, c0", c0, fixed.bits, "arXiv 2202.03841, Theorem 13")
    yield Claim("bits a field, c", c, fixed.field, "arXiv 2202.03841, Theorem 13")
    yield Claim("error on safe inputs, proved", wanted.tolerance, upwards(fixed.error), theorem)
    yield Claim("probability of unsafe inputs, proved", wanted.delta, upwards(unsafe), theorem)
    if wanted.weight_bound is not None:
        yield Claim(
            "largest weight", wanted.weight_bound, upwards(largest_weight(network)), "arXiv 2202.03841, Corollary 3"
        )


def _region(inputs: int, bits: int, wanted: Promise) -> SafeRegion:
    """The widest ramp, a power of two, whose unsafe inputs have a probability of at most delta."""
    delta, halvings = Fraction(wanted.delta), 1
    whole = SafeRegion(wanted.radius, bits, Fraction(1)).unsafe_probability(inputs, wanted.density)
    while whole > delta * (1 << halvings):
        halvings += 1
    return SafeRegion(wanted.radius, bits, Fraction(1, 1 << halvings))


def _safe_points(
    inputs: int, points: NDArray[np.float64] | None, region: SafeRegion, generator: torch.Generator | None
) -> tuple[NDArray[np.float64], float]:
    """Inputs to check at, and the share of the given or drawn ones that are not safe."""
    drawn = points
    if drawn is None:
        draw = spawn(generator, "narrow", "inputs")
        drawn = region.radius * (2 * torch.rand((DRAWS, inputs), generator=draw, dtype=torch.float64).numpy() - 1)
    safe = region.holds(drawn)
    if not safe.any():
        raise ValueError(f"none of the {len(drawn)} inputs is safe at this delta; a smaller delta spares more.")
    kept = drawn[safe]
    return (kept[:SAMPLES] if points is None else kept), 1 - float(safe.mean())
