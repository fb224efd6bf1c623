"""Change one fact of a network that recalls: its subject's embedding moves, nothing else does."""

import copy
from dataclasses import replace

import numpy as np
from torch import Tensor

from vestige.construct.construction import Construction
from vestige.construct.transformer.blocks import Transformer, constructed_transformer, linear_layers
from vestige.construct.transformer.recall.recalls import Recalls
from vestige.core.claims import Certificate
from vestige.core.outcome import Outcome


def edit_fact(construction: Construction, subject: int, relation: int, attribute: int) -> Construction:
    """The same network with e_s + A_r (u_new - u_old) for its subject: one fact is another, all others are as before.

    A_r and u are read off the weights: A_r^T is what the MLP computes with relation r's neurons, u the readout.

    Args:
        construction: of `build_factual_recall`, for one hop or by chain of thought.
        subject: whose fact it is.
        relation: which fact.
        attribute: the new one.

    Returns:
        A `Construction` for the table with this fact changed, checked on all questions anew.

    Raises:
        ValueError: another construction, one whose other weights hold facts too, or numbers out of range.

    >>> import torch
    >>> from vestige.construct.transformer.recall.builder import build_factual_recall
    >>> built = build_factual_recall(torch.tensor([[1, 0], [0, 1]]))
    >>> edited = edit_fact(built, 0, 1, 1)
    >>> edited.network(torch.tensor([[2, 0], [3, 0]])).argmax(1).tolist(), edited.certificate.holds
    ([1, 1], True)
    """
    specification = construction.specification
    if not isinstance(specification, Recalls):
        raise ValueError(f"kind {specification.kind!r} given; a network that recalls facts can be edited.")
    facts = np.array(specification.given)
    n, relations = facts.shape
    if specification.points[0].shape[1] > 2 and specification.task != "next recall":
        raise ValueError("a network of several hops given, whose other weights hold this fact too: use method='chain'.")
    if not (0 <= subject < n and 0 <= relation < relations and 0 <= attribute < n):
        raise ValueError(
            f"subject={subject}, relation={relation}, attribute={attribute} given; {n} entities, {relations} relations."
        )
    network = copy.deepcopy(constructed_transformer(construction.network))
    new, old = (_column(network, n, relation, a) for a in (attribute, int(facts[subject, relation])))
    network.embedding.table.data[subject, list(network.stream.places("facts"))] += new - old
    facts[subject, relation] = attribute
    specification = replace(specification, given=facts, points=_asked(specification, facts))
    certificate = _measured(construction, specification, network)
    outcome = Outcome.CONVERGED if certificate.holds else Outcome.STAGNATED
    return replace(construction, network=network, specification=specification, certificate=certificate, outcome=outcome)


def _asked(specification: Recalls, facts: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same questions, with the answers that a chain writes behind."""
    found = [specification.points[0]]
    for step in range(len(specification.points) - 1):
        before = found[-1]
        written = facts[before[:, -1], before[:, step] - len(facts)]
        found.append(np.concatenate([before, written[:, None].astype(before.dtype)], 1))
    return tuple(found)


def _measured(construction: Construction, specification: Recalls, network: Transformer) -> Certificate:
    own = {claim.name: claim for claim in specification.check(network)}
    return Certificate(tuple(own.get(claim.name, claim) for claim in construction.certificate.claims))


def _column(network: Transformer, n: int, relation: int, attribute: int) -> Tensor:
    """A_r u_a in the stream's block of facts."""
    stream, seen = network.stream, list(network.stream.places("facts"))
    gate = stream.places("hop 0")[relation]
    layers = linear_layers(network.layers[0])
    if not layers:  # disjoint sets: the readout has A_r u_a itself
        return network.readout.weight[relation * n + attribute, seen]
    first, second = layers
    rows = first.weight[:, gate] != 0
    answer = list(stream.places("answer"))
    score = network.readout.weight[attribute, answer] @ second.weight[answer][:, rows]
    return score @ first.weight[rows][:, seen]
