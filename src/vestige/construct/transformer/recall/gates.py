"""Which neurons a relation opens, and what moving one embedding changes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vestige.construct.transformer.recall.facts import questions
from vestige.construct.transformer.recall.network import RecallNetwork, recall_network
from vestige.construct.transformer.recall.superposition import Superposition
from vestige.core.rng import spawn


@dataclass(frozen=True, eq=False)
class GateTable:
    """What each hidden neuron does under each relation.

    Attributes:
        fires: share of subjects at which the neuron is on, (relations, hidden).
        owner: the relation under which it is on most often.
        ablated: recall of relation j with the neurons that i owns switched off, (relations, relations).
        recall: of each relation with all neurons.
    """

    fires: Float[Tensor, "relations hidden"]
    owner: Int[Tensor, " hidden"]
    ablated: Float[Tensor, "relations relations"]
    recall: Float[Tensor, " relations"]


def gate_table(model: nn.Module, facts: Int[Tensor, "n relations"]) -> GateTable:
    """Count when neurons are on, and switch each relation's own off.

    Args:
        model: trained on these facts.
        facts: a table.

    Raises:
        ValueError: another module.
    """
    network = recall_network(model)
    n, relations = facts.shape
    asked = questions(facts, 1)
    with torch.no_grad():
        hidden = network.mlp[0](network.stream(asked)).relu().reshape(n, relations, -1)
        fires = (hidden > 0).double().mean(0)
        owner = fires.argmax(0)
        rows = [_recall(network, hidden * (owner != r), facts) for r in range(relations)]
        return GateTable(fires, owner, torch.stack(rows), _recall(network, hidden, facts))


def _recall(model: RecallNetwork, hidden: Tensor, facts: Tensor) -> Tensor:
    found = (model.mlp[2](hidden.to(model.attribute)) @ model.attribute.T).argmax(2)
    return (found == facts).double().mean(0)


@dataclass(frozen=True)
class EditRates:
    """What edits of single facts did.

    Attributes:
        changed: share of edits after which the new attribute is recalled.
        kept: share of the subject's other facts that are recalled as before.
    """

    changed: float
    kept: float


def edit_rates(
    model: nn.Module,
    found: Superposition,
    facts: Int[Tensor, "n relations"],
    *,
    generator: torch.Generator | None = None,
) -> EditRates:
    """Move each subject's embedding by A_r (u_new - u_old), one relation at a time, to a random new attribute.

    Args:
        model: trained on these facts; it stays as it is.
        found: its superposition.
        facts: a table.
        generator: of the new attributes; None for seed 0.

    Raises:
        ValueError: another module.
    """
    network = recall_network(model)
    n, relations = facts.shape
    draw = spawn(generator, "edits")
    changed = kept = 0.0
    for r in range(relations):
        new = (facts[:, r] + torch.randint(1, n, (n,), generator=draw)) % n
        moved = network.subject + (network.attribute[new] - network.attribute[facts[:, r]]) @ found.maps[r].T
        with torch.no_grad():
            before, after = (_answers(network, e) for e in (network.subject, moved))
        changed += float((after[:, r] == new).double().mean()) / relations
        others = [k for k in range(relations) if k != r]
        kept += float((after[:, others] == before[:, others]).double().mean()) / relations if others else 1 / relations
    return EditRates(changed, kept)


def _answers(model: RecallNetwork, embeddings: Tensor) -> Tensor:
    return model.from_stream(embeddings[:, None] + model.relation).argmax(2)
