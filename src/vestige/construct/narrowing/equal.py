"""The narrow network that is equal everywhere, in floats, and how equal it is then (arXiv 2202.03841, theorem 7)."""

from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from vestige.construct.exact.exact_construction import ExactConstruction
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.narrowing.agreement import Agreement, exact_chain
from vestige.construct.narrowing.equal_layers import ExactWidth, exact_depth, exact_rows, exact_width
from vestige.construct.narrowing.registers import Row, to_network
from vestige.construct.narrowing.sizes import narrowed, refuse_depth
from vestige.core.claims import Claim
from vestige.core.outcome import OnStep
from vestige.core.relu_chain import ReluChain
from vestige.core.rng import spawn

SCALES = (1e-3, 1.0, 1e3, 1e6)
RELATIVE = 1e-12  # of the largest output at inputs of one scale: what rounding may take
IN_FLOATS, EXACTLY = 256, 2  # inputs a scale; exact numbers are long where the network is deep
GIVEN = 64  # of the inputs that are given, checked exactly


def narrow_equal(
    chain: ReluChain,
    points: NDArray[np.float64] | None,
    base: ExactWidth,
    max_depth: int,
    generator: torch.Generator | None,
    on_step: OnStep | None,
) -> ExactConstruction:
    """See `narrow`: the exact representation, its weights rounded to float64, checked exactly and in float64."""
    refuse_depth(exact_depth(chain), max_depth, "exact=False")
    network = to_network(_in_floats(exact_rows(chain, base)), chain.inputs)
    groups = [points] if points is not None else _drawn(chain.inputs, generator)
    exactly = [group[: EXACTLY if points is None else GIVEN] for group in groups]
    pipelined = base is ExactWidth.PIPELINED
    specification = _agreement(chain, exactly, 0.0 if pipelined else RELATIVE)
    rounding = _error_in_floats(chain, network, groups)
    most = (2 * max(chain.hidden)) ** (chain.depth - 1) + 2
    claims = (
        Claim("width", exact_width(chain, base), network.width, "arXiv 2202.03841, Theorem 7"),
        Claim("layers", most, network.depth, "arXiv 2202.03841, Theorem 7"),
        *specification.check(network, on_step=on_step),
    )
    notes = []
    if not (all(claim.holds for claim in claims) and rounding <= RELATIVE):
        notes.append(
            "Rounding shows; the first layer may have neurons whose bias is far larger than their weights. "
            'width="2d+3" divides nowhere and loses least.'
        )
    return narrowed(chain, network, specification, claims, notes, {"float64_error": rounding})


def _drawn(inputs: int, generator: torch.Generator | None) -> list[NDArray[np.float64]]:
    draw = spawn(generator, "narrow", "inputs")
    return [scale * torch.randn((IN_FLOATS, inputs), generator=draw, dtype=torch.float64).numpy() for scale in SCALES]


def _agreement(chain: ReluChain, groups: list[NDArray[np.float64]], tolerance: float) -> Agreement:
    """Agreement at all inputs, with the largest output in a group as the unit of its errors."""
    target = exact_chain(chain)
    largest = [max(float(abs(v)) for v in target(group).ravel()) for group in groups]
    sizes = [np.full(len(group), size or 1.0) for group, size in zip(groups, largest, strict=True)]
    return Agreement(
        target=target,
        points=np.concatenate(groups),
        sizes=np.concatenate(sizes),
        tolerance=Fraction(tolerance),
        values=None,
        source="arXiv 2202.03841, Theorem 7",
    )


def _error_in_floats(chain: ReluChain, network: ExactNetwork, groups: list[NDArray[np.float64]]) -> float:
    """Largest difference between both float64 modules at inputs of one scale, over the largest output there."""
    module, target = network.to_torch(exact=False), chain.module()
    worst = 0.0
    with torch.no_grad():
        for group in map(torch.from_numpy, groups):
            wanted = target(group)
            off = float((module(group) - wanted).abs().max()) / (float(wanted.abs().max()) or 1.0)
            worst = off if not off <= worst else worst
    return worst


def _in_floats(rows: list[list[Row]]) -> list[list[Row]]:
    """Every weight to the nearest float64."""
    try:
        return [
            [({c: Fraction(float(w)) for c, w in row.items()}, Fraction(float(bias))) for row, bias in layer]
            for layer in rows
        ]
    except OverflowError:
        raise ValueError(
            "the ratio of two weights of the first layer exceeds the range of float64; scale the inputs, or take "
            'width="2d+3", which divides nowhere.'
        ) from None
