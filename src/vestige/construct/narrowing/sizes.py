"""What both kinds of narrow networks report: their sizes beside the target's, and their certificate."""

from collections.abc import Mapping, Sequence

from vestige.construct.exact.exact_construction import ExactConstruction
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.narrowing.agreement import Agreement
from vestige.core.cite import paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import Outcome
from vestige.core.relu_chain import ReluChain


def narrowed(
    chain: ReluChain,
    network: ExactNetwork,
    specification: Agreement,
    claims: Sequence[Claim],
    warnings: Sequence[str],
    numbers: Mapping[str, float | int],
) -> ExactConstruction:
    """The construction, with a warning where the target was as narrow."""
    widest, notes = max(chain.hidden), list(warnings)
    if network.width >= widest:
        notes.append(f"The result is {network.width} wide and the given network {widest}: it was as narrow already.")
    sizes = {
        "depth": network.depth,
        "width": network.width,
        "parameters": network.parameters,
        "nonzeros": network.nonzeros,
        "weight_bits": network.weight_bits,
        "target_depth": chain.depth,
        "target_width": widest,
        "target_parameters": sum(w.size + len(w) for w in chain.weights),
    }
    certificate = Certificate(tuple(claims))
    return ExactConstruction(
        network=network,
        specification=specification,
        certificate=certificate,
        outcome=Outcome.CONVERGED if certificate.holds else Outcome.STAGNATED,
        warnings=tuple(notes),
        source=(paper("2202.03841"),),
        numbers={**sizes, **numbers},
    )


def refuse_depth(depth: int, max_depth: int, repair: str) -> None:
    """Refuse a network that is deeper than allowed, before it is built."""
    if depth > max_depth:
        raise ValueError(
            f"the narrow network would have {depth:,} layers of weights, max_depth={max_depth:,} are allowed. {repair} "
            f"would need less, max_depth={depth:,} would allow it."
        )
