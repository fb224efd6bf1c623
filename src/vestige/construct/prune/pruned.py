"""What pruning gives: a construction of masks over a random network, and what each layer cost."""

from collections.abc import Mapping
from dataclasses import dataclass

from vestige.construct.construction import Construction
from vestige.construct.prune.approximation import Approximation
from vestige.construct.prune.masked_network import MaskedNetwork
from vestige.construct.prune.width import RequiredWidth
from vestige.core.cite import paper
from vestige.core.claims import Certificate
from vestige.core.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class PrunedLayer:
    """One layer of the target and what stands for it.

    Attributes:
        features: inputs of the target's layer.
        out: its outputs.
        target_weights: numbers that it holds, biases included.
        hidden: neurons of the random layer in between.
        random_weights: numbers drawn for it.
        kept: of them, how many the masks keep.
        scale: of the second random matrix.
        worst_weight: largest error of a weight or bias.
        operator_error: norm of the errors as an operator.
        bound: what the outputs of this layer can be off by, anywhere in the ball.
        retried: searches repeated with new rows, because a weight was out of reach.
    """

    features: int
    out: int
    target_weights: int
    hidden: int
    random_weights: int
    kept: int
    scale: float
    worst_weight: float
    operator_error: float
    bound: float
    retried: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Pruned(Construction):
    """Masks over a random network that make it a given one.

    `numbers` has the sizes (random_weights, kept, target_weights), certified_error, the bound on the error in the ball,
    NaN where nothing is certified, and sampled_error, the largest error found by running both networks.

    Attributes:
        layers: the result layer by layer; not stored.
        required: the random weights that theory asks for by this method; None for neurons. Not stored.
    """

    network: MaskedNetwork
    specification: Approximation
    layers: tuple[PrunedLayer, ...]
    required: RequiredWidth | None


def pruned(
    network: MaskedNetwork,
    wanted: Approximation,
    numbers: Mapping[str, float | int],
    *,
    warnings: tuple[str, ...],
    layers: tuple[PrunedLayer, ...],
    required: RequiredWidth | None,
) -> Pruned:
    """The construction, certified and counted."""
    certificate = Certificate(wanted.check(network))
    return Pruned(
        network=network,
        specification=wanted,
        certificate=certificate,
        outcome=Outcome.CONVERGED if certificate.holds else Outcome.STAGNATED,
        warnings=warnings,
        source=(paper("2002.00585"), paper("2006.07990"), paper("2006.12156")),
        numbers={"random_weights": network.random_weights, "kept": network.kept, **numbers},
        layers=layers,
        required=required,
    )
