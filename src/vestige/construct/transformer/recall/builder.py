"""Transformers whose embeddings hold the facts and whose MLP selects by relation (arXiv 2605.12426).

A subject's embedding is a superposition of the vectors of its attributes, and the MLP, which knows no fact, opens one
relation's gate:

    e_s  =  sum_r  A_r u_{g_r(s)}                                                                    (1)
    z    =  sum_r relu(A_r^T e_s + 2 B [r is asked] - B) - B  =  A_r^T e_s,    B >= |A_r^T e_s|      (2)
    logit of a  =  <u_a, z>

With u_a the binary digits of a as signs and A_r the r-th slice of the stream, all of it is exact in small integers.
"""

import itertools
import math
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from vestige.construct.construction import Construction
from vestige.construct.transformer.blocks import Embedding, Layer, Transformer, attention_head, mlp
from vestige.construct.transformer.computes import constructed
from vestige.construct.transformer.gadgets import lookup_temperature
from vestige.construct.transformer.recall.facts import (
    chain_questions,
    check_facts,
    compose_facts,
    questions,
    recall_lower_bound,
    repeated,
)
from vestige.construct.transformer.recall.recalls import WRONG, Recalls
from vestige.construct.transformer.recall.vectors import Vectors, binary_vectors, random_vectors
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.tasks import Task
from vestige.construct.transformer.wires import Wire, relu, total
from vestige.core.choices import ChoiceEnum
from vestige.core.cite import paper

PAPER, LEFT = "2605.12426", 1e-18  # probability that a look-up by position leaves to other tokens: none in float64
APART = 2.0  # what the relation adds to the logits of its own set of attributes


class HopMethod(ChoiceEnum):
    """How a question of several hops is answered.

    Attributes:
        COMPOSED: in one layer, with a part of the embedding for every path: R^k of them.
        DEEP: a layer for each hop, which looks the entity up that the layer before found: all facts once more in each.
        CHAIN: one layer that writes the entities on the way down, one forward pass for each.
    """

    COMPOSED = "composed"
    DEEP = "deep"
    CHAIN = "chain"


def build_factual_recall(
    facts: Int[Tensor, "n relations"],
    *,
    hops: int = 1,
    method: HopMethod | str = HopMethod.COMPOSED,
    dim: int | None = None,
    disjoint: bool = False,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> Construction:
    """A transformer that answers every question about a table of facts, checked on all of them.

    Args:
        facts: facts[s, r] in 0..n - 1; a relation need not be a bijection.
        hops: relations of a question, at least 1.
        method: how several hops are made; one hop is the same in all three.
        dim: of random unit vectors u_a with random rotations A_r, about 4.6 R ln n; None for binary digits, exact in
            R ceil(log2 n) dimensions.
        disjoint: whether each relation has attributes of its own, n r + g_r(s): then no MLP is needed.
        dtype: in which every answer must come out right.
        generator: of the random vectors; None for seed 0.

    Returns:
        A `Construction`: `network(x)` for ids (batch, k + 1), see `questions`, is (batch, n) logits, n R if disjoint.
        With the method CHAIN it is the next entity's, and ids may be up to 2 k long, see `recall_by_chain`.

    Raises:
        ValueError: no table of facts, too many questions, random vectors with DEEP, or disjoint sets with hops.

    Source: arXiv 2605.12426, Theorems 4.1, 4.3 and 4.4; the weights are ours.

    >>> built = build_factual_recall(torch.tensor([[1, 0], [0, 1]]))
    >>> built.network(torch.tensor([[2, 0], [3, 0]])).argmax(1).tolist(), built.certificate.holds
    ([1, 0], True)
    """
    method = HopMethod(method)
    check_facts(facts, hops)
    if (dim is not None and method is HopMethod.DEEP and hops > 1) or (disjoint and hops > 1):
        raise ValueError(f"hops={hops}, dim={dim}, disjoint={disjoint} given; this takes binary digits, one set.")
    composed = compose_facts(facts, hops) if method is HopMethod.COMPOSED else facts
    n, paths = composed.shape
    made = binary_vectors(n, paths) if dim is None else random_vectors(n, paths, dim, generator)
    network = _disjoint(composed, made) if disjoint else _network(composed, made, (facts.shape[1], hops, method))
    chained = method is HopMethod.CHAIN
    asked = chain_questions(facts, hops) if chained else [questions(facts, hops)]
    specification = Recalls(
        task=Task.DISJOINT_RECALL if disjoint else Task.NEXT_RECALL if chained else Task.RECALL,
        points=tuple(group.to(torch.int32).numpy() for group in asked),
        given=facts.numpy(),
        tolerance=-2.0 if dim is None else 0.0,
        dtype=str(dtype).removeprefix("torch."),
        source=f"arXiv {PAPER}",
    )
    return _certified(network, specification, _bounds(composed, made, hops, method, disjoint), hops)


def _certified(network: Transformer, specification: Recalls, bounds: dict[str, float | int], hops: int) -> Construction:
    n, relations = np.asarray(specification.given).shape
    least = recall_lower_bound(n, relations, 1 if specification.task == Task.NEXT_RECALL else hops)
    numbers = {"entities": n, "relations": relations, "hops": hops, "bits that a subject needs": least}
    built = constructed(network, specification, bounds=bounds, numbers=numbers, source=(paper(PAPER),))
    many = ", ".join(map(str, repeated(torch.as_tensor(specification.given))))
    warnings = (
        [f"several entities have the same attribute under relation {many}: the lower bound is for bijections."]
        if many
        else []
    )
    (wrong,) = (claim.measured for claim in built.certificate.claims if claim.name == WRONG)
    if wrong:
        enough = round(4.6 * relations * math.log(n))
        warnings.append(f"{wrong:,} facts are lost in the superposition; about dim={enough} is enough for one hop.")
    return replace(built, warnings=tuple(warnings))


def _bounds(facts: Tensor, made: Vectors, hops: int, method: HopMethod, disjoint: bool) -> dict[str, float | int]:
    """Layers, and neurons: one for each coordinate of each path; deep ones carry the embedding and look n up."""
    neurons = made.maps.shape[0] * made.maps.shape[2]
    if disjoint:
        return {"layers": 1, "heads in a layer": 1, "neurons of an MLP layer": 0}
    if method is HopMethod.DEEP and hops > 1:
        width = 2 * neurons + max(neurons, len(facts))
        return {"layers": hops, "heads in a layer": hops, "neurons of an MLP layer": width}
    heads = 1 if method is HopMethod.CHAIN else hops
    return {"layers": 1, "heads in a layer": heads, "neurons of an MLP layer": neurons}


def _network(facts: Tensor, made: Vectors, sizes: tuple[int, int, HopMethod]) -> Transformer:
    relations, hops, method = sizes
    chained = method is HopMethod.CHAIN
    _, width, size = made.maps.shape
    slots = 1 if chained else hops
    stream = Stream(
        {"facts": width, "relation": relations, "place": hops + 1}
        | ({"asks": hops} if chained else {})
        | {f"hop {k}": relations for k in range(slots)}
        | {"answer": size}
    )
    sharp = lookup_temperature(1.0, 2 * hops, LEFT)
    place, answer = stream.wires("place"), stream.wires("answer")
    heads = [
        attention_head(
            stream,
            query=[sharp * w for w in stream.wires("asks")] if chained else [Wire({}, sharp)],
            key=place[:hops] if chained else [place[k]],
            value=stream.wires("relation"),
            to=list(stream.places(f"hop {k}")),
        )
        for k in range(slots)
    ]
    asked = [stream.wires(f"hop {k}") for k in range(slots)]
    layers: list[Layer] = []
    if method is HopMethod.DEEP:
        for k in range(hops - 1):
            layers.append(Layer(heads if k == 0 else [], _lookup(stream, facts, made, asked[k])))
        asked = asked[-1:]
    gates = [total(bits) - (len(asked) - 1) for bits in itertools.product(*asked)]
    last = mlp(stream, {"answer": _selected(stream.wires("facts"), gates, made)})
    layers.append(Layer([] if layers else heads, last))
    readout = [total(float(f) * w for f, w in zip(row, answer, strict=True) if f) for row in made.attributes]
    return Transformer(stream, _embedding(stream, facts, made, (relations, hops, chained)), layers, readout)


def _selected(facts: list[Wire], gates: list[Wire], made: Vectors) -> list[Wire]:
    """Equation (2): A_j^T e where the j-th gate is 1 and the others at most 0."""
    reach = made.reach
    parts = [
        [total(float(f) * w for f, w in zip(column, facts, strict=True) if f) for column in one.T] for one in made.maps
    ]
    return [
        total(relu(part[i] + 2 * reach * gate - reach) for part, gate in zip(parts, gates, strict=True)) - reach
        for i in range(made.maps.shape[2])
    ]


def _lookup(stream: Stream, facts: Tensor, made: Vectors, gates: list[Wire]) -> nn.Sequential:
    """The embedding of the entity that one hop leads to, in the place of the one that it started from."""
    digits = _selected(stream.wires("facts"), gates, made)
    size = len(digits)
    found = [
        relu(total(float(f) * w for f, w in zip(row, digits, strict=True)) - (size - 1)) for row in made.attributes
    ]
    embeddings = made.embeddings(facts)
    rows = [total(float(f) * bit for f, bit in zip(column, found, strict=True)) for column in embeddings.T]
    return mlp(stream, {"facts": rows}, clear=["facts"])


def _embedding(stream: Stream, facts: Tensor, made: Vectors, sizes: tuple[int, int, bool]) -> Embedding:
    relations, hops, chained = sizes
    n, width = len(facts), stream.width
    table = torch.zeros(n + relations, width, dtype=torch.float64)
    table[:n, list(stream.places("facts"))] = made.embeddings(facts)
    table[n:, list(stream.places("relation"))] = torch.eye(relations, dtype=torch.float64)
    most = 2 * hops if chained else hops + 1
    position = torch.zeros(most, width, dtype=torch.float64)
    if chained:
        position[:hops, list(stream.places("place"))[:hops]] = torch.eye(hops, dtype=torch.float64)
        position[hops:, list(stream.places("asks"))] = torch.eye(hops, dtype=torch.float64)
    else:
        position[:, list(stream.places("place"))] = torch.eye(hops + 1, dtype=torch.float64)
    return Embedding(table, (hops + 1, most), ids=True, position=position)


def _disjoint(facts: Tensor, made: Vectors) -> Transformer:
    """No MLP: the relation lifts the logits of its own attributes, A_r u_a for a in 0..n - 1, one relation's behind."""
    relations = facts.shape[1]
    stream = Stream({"facts": made.maps.shape[1], "relation": relations, "place": 2, "hop 0": relations})
    head = attention_head(
        stream,
        query=[Wire({}, lookup_temperature(1.0, 2, LEFT))],
        key=stream.wires("place")[:1],
        value=stream.wires("relation"),
        to=list(stream.places("hop 0")),
    )
    seen, lifted = stream.wires("facts"), stream.wires("hop 0")
    rows = torch.einsum("rws,as->raw", made.maps, made.attributes)
    readout = [
        total(float(f) * w for f, w in zip(row, seen, strict=True) if f) + APART * lifted[r]
        for r in range(relations)
        for row in rows[r]
    ]
    return Transformer(stream, _embedding(stream, facts, made, (relations, 1, False)), [Layer([head])], readout)


def recall_by_chain(model: nn.Module, question: Int[Tensor, "batch length"], hops: int) -> Int[Tensor, "batch {hops}"]:
    """Let a network write the entities of its questions down, one forward pass for each hop.

    Args:
        model: `network` of `build_factual_recall(..., method="chain")`, or another from ids to logits.
        question: ids, the relations first and the subject last.
        hops: entities to write.
    """
    written = question
    for _ in range(hops):
        with torch.no_grad():
            written = torch.cat([written, model(written).argmax(1, keepdim=True).to(question)], 1)
    return written[:, question.shape[1] :]
