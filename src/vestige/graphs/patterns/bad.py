"""A network that is perfect on the training graphs and wrong on all larger ones (arXiv 2010.08853, theorem 5.1).

A pattern of depth 1 is a degree; one of depth 2 has a number too, a sum over the neighbors of random integers that
stand for degrees. A piecewise linear function with a bend at each number is a sum of ReLUs, so any target on the
patterns that occur can be met, and the rest is free: there it is off by gain x the distance to the nearest number.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.cite import Paper
from vestige.core.rng import spawn
from vestige.graphs.graph import GraphBatch, as_graphs, join
from vestige.graphs.patterns.hashing import SOURCE
from vestige.graphs.patterns.network import GraphConv, GraphNetwork

DEPTHS = (1, 2)
LARGEST = 2**20  # of the integers that stand for degrees: sums over the neighbors stay exact in float64


@dataclass(frozen=True, eq=False, kw_only=True)
class BadMinimum:
    """Two networks that agree on every training graph.

    Attributes:
        bad: the one that is wrong elsewhere.
        good: the one that solves the task everywhere.
        numbers: of the patterns that occur in training: degrees at depth 1.
        table: at depth 2 the integer of each degree, linear beyond; empty at depth 1.
        gain: how fast the bad one goes wrong.
        training_error: largest difference between the two on the training graphs, in float64.
        source: the paper.
    """

    bad: GraphNetwork
    good: GraphNetwork
    numbers: Float[Tensor, " patterns"]
    table: Float[Tensor, " degrees"]
    gain: float
    training_error: float
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)

    def excess(self, graphs: Any) -> Float[Tensor, " graphs"]:
        """What the bad network is wrong by on these graphs.

        gain x the sum over nodes of the distance from their pattern's number to the nearest that occurs in training.
        """
        batch = join(as_graphs(graphs))
        away = (_numbers(batch, self.table)[:, None] - self.numbers).abs().min(1).values
        return self.gain * torch.zeros(batch.count, dtype=torch.float64).index_add(0, batch.owner, away)


def bad_minimum(
    train: Any,
    *,
    depth: int = 1,
    target: Sequence[float | int] | None = None,
    gain: float | int = 1.0,
    generator: torch.Generator | None = None,
) -> BadMinimum:
    """Write down a network that meets a target on all training graphs and misses it wherever a new pattern occurs.

    The target is sum_v target[deg(v)]. The good network has two layers, one that computes degrees and one that bends
    them; the bad one has depth + 2 at depth 2, and two at depth 1.

    Args:
        train: graphs, as `as_graph` takes them; features are not read.
        depth: of the patterns: 1 for degrees, 2 for degrees of the neighbors.
        target: of degrees 0, 1, ... up to the largest that the good network must know, linear beyond; None for half
            the degree: the number of edges.
        gain: above 0.
        generator: of the integers that stand for degrees at depth 2; None for seed 0.

    Raises:
        ValueError: a gain of 0 or below, another depth, a directed graph, or a target of fewer than two numbers or not
            reaching the largest degree of training.

    >>> path = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> found = bad_minimum([path], gain=10.0)
    >>> star = torch.zeros(4, 4)
    >>> star[0, 1:] = star[1:, 0] = 1
    >>> found.good(join(as_graphs(star))).item(), found.bad(join(as_graphs(star))).item()
    (3.0, 13.0)
    """
    graphs = [type(g)(g.n, g.edges) for g in as_graphs(train)]
    if not gain > 0 or depth not in DEPTHS or any(g.directed for g in graphs):
        raise ValueError(
            f"gain={gain}, depth={depth} given; a gain above 0, depth 1 or 2, and undirected graphs needed."
        )
    batch = join(graphs)
    most = int(torch.bincount(batch.edges[0], minlength=1).max())
    good = _target(target, most)
    table = torch.empty(0, dtype=torch.float64)
    if depth == 2:  # for new degrees too, as far as the good network is bent
        drawn = torch.randint(1, LARGEST, (len(good),), generator=spawn(generator, "degrees"))
        table = drawn.double()
    numbers = _numbers(batch, table).unique()
    if depth == 1:
        away = (torch.arange(len(good))[:, None] - numbers).abs().min(1).values
        bad = _of_degrees(good + gain * away)
    else:
        bad = _of_neighbors(good, table, numbers, float(gain))
    networks = (_of_degrees(good), bad)
    with torch.no_grad():
        error = float((networks[0](batch) - networks[1](batch)).abs().max())
    return BadMinimum(bad=bad, good=networks[0], numbers=numbers, table=table, gain=gain, training_error=error)


def _target(target: Sequence[float | int] | None, most: int) -> Float[Tensor, " degrees"]:
    """Of all degrees up to one more than training has."""
    values = [d / 2 for d in range(most + 2)] if target is None else [float(v) for v in target]
    if len(values) < max(2, most + 1):
        raise ValueError(f"a target for {len(values)} degrees given; training has degrees up to {most}.")
    slope = values[-1] - values[-2]
    values += [values[-1] + slope * (k + 1) for k in range(most + 2 - len(values))]
    return torch.tensor(values, dtype=torch.float64)


def _numbers(batch: GraphBatch, table: Float[Tensor, " degrees"]) -> Float[Tensor, " nodes"]:
    """The number of each node's pattern."""
    degree = torch.bincount(batch.edges[0], minlength=batch.n)
    if not len(table):
        return degree.double()
    last = len(table) - 1
    value = table[degree.clamp(max=last)] + (table[-1] - table[-2]) * (degree - last).clamp(min=0)
    return torch.zeros(batch.n, dtype=torch.float64).index_add(0, batch.edges[1], value[batch.edges[0]])


def _bends(values: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Factors of relu(x), relu(x - 1), ..., and the constant, that give a function with these values at 0, 1, ..."""
    slopes = values.diff()
    return torch.cat([slopes[:1], slopes.diff(), values[:1]])


def _with_degrees(widths: Sequence[int]) -> GraphNetwork:
    """Layers of zeros behind one that computes the degree and one that has relu(deg), relu(deg - 1), ..., and 1."""
    network = GraphNetwork(1, widths, 1).double()
    count = widths[1] - 1
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
        first, second = (layer for layer in network.layers[:2] if isinstance(layer, GraphConv))
        first.near.weight.fill_(1)
        second.own.weight[:count] = 1
        second.own.bias.copy_(torch.cat([-torch.arange(count, dtype=torch.float64), torch.ones(1).double()]))
    return network


def _of_degrees(values: Float[Tensor, " k"]) -> GraphNetwork:
    """sum_v f(deg v) with f piecewise linear through the values at 0, 1, ..., and linear beyond."""
    network = _with_degrees([1, len(values)])
    with torch.no_grad():
        network.last.weight.copy_(_bends(values)[None])
    return network


def _of_neighbors(
    values: Float[Tensor, " k"], table: Float[Tensor, " k"], numbers: Float[Tensor, " m"], gain: float
) -> GraphNetwork:
    """sum_v f(deg v) + gain x the distance from v's number to the nearest of these."""
    middles = (numbers[1:] + numbers[:-1]) / 2
    places = torch.cat([torch.zeros(1).double(), numbers, middles])
    factors = torch.cat([-torch.ones(1).double(), torch.full_like(numbers, 2.0), torch.full_like(middles, -2.0)])
    network = _with_degrees([1, len(values), 3, len(places) + 3])
    third, fourth = (layer for layer in network.layers[2:] if isinstance(layer, GraphConv))
    with torch.no_grad():
        third.near.weight[0] = _bends(table)  # the number; then f and -f, of which one is left
        third.own.weight[1], third.own.weight[2] = _bends(values), -_bends(values)
        fourth.own.weight[: len(places), 0] = 1
        fourth.own.weight[len(places), 1] = fourth.own.weight[len(places) + 1, 2] = 1
        fourth.own.bias.copy_(torch.cat([-places, torch.tensor([0.0, 0.0, 1.0]).double()]))
        ends = torch.tensor([1.0, -1.0, gain * float(numbers[0])], dtype=torch.float64)
        network.last.weight.copy_(torch.cat([gain * factors, ends])[None])
    return network
