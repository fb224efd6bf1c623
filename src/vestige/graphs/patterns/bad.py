"""A network that is perfect on the training graphs and wrong on all larger ones (arXiv 2010.08853, theorem 5.1).

Written down for patterns of depth 1, which are degrees. A piecewise linear function of the degree with a bend at each
integer is a sum of ReLUs, so any target on the degrees that occur can be met, and the rest is free: there it is off by
gain x the distance to the nearest degree that occurs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vestige.core.cite import Paper
from vestige.graphs.graph import as_graphs, join
from vestige.graphs.patterns.hashing import SOURCE
from vestige.graphs.patterns.network import GraphConv, GraphNetwork


@dataclass(frozen=True, eq=False)
class BadMinimum:
    """Two networks that agree on every training graph.

    Attributes:
        bad: the one that is wrong elsewhere.
        good: the one that solves the task everywhere.
        degrees: those that occur in training.
        gain: how fast the bad one goes wrong.
        training_error: largest difference between the two on the training graphs, in float64.
        source: the paper.
    """

    bad: GraphNetwork
    good: GraphNetwork
    degrees: Int[Tensor, " k"]
    gain: float
    training_error: float
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)

    def excess(self, graphs: Any) -> Float[Tensor, " graphs"]:
        """What the bad network is wrong by on these graphs: gain x the sum over nodes of the distance from their degree
        to the nearest that occurs in training.
        """
        batch = join(as_graphs(graphs))
        degree = torch.bincount(batch.edges[0], minlength=batch.n)
        away = (degree[:, None] - self.degrees).abs().min(1).values.double()
        return self.gain * torch.zeros(batch.count, dtype=torch.float64).index_add(0, batch.owner, away)


def bad_minimum(train: Any, *, target: Sequence[float | int] | None = None, gain: float | int = 1.0) -> BadMinimum:
    """Write down a network that meets a target on all training graphs and misses it wherever a new degree occurs.

    The target is sum_v target[deg(v)]; both networks have one layer that computes degrees and one that bends them.

    Args:
        train: graphs, as `as_graph` takes them; features are not read.
        target: of degrees 0, 1, ... up to the largest that the good network must know, linear beyond; None for half
            the degree: the number of edges.
        gain: above 0.

    Raises:
        ValueError: a gain of 0 or below, a directed graph, or a target of fewer than two numbers or not reaching the
            largest degree of training.

    >>> path = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> found = bad_minimum([path], gain=10.0)
    >>> star = torch.zeros(4, 4)
    >>> star[0, 1:] = star[1:, 0] = 1
    >>> found.good(join(as_graphs(star))).item(), found.bad(join(as_graphs(star))).item()
    (3.0, 13.0)
    """
    graphs = [type(g)(g.n, g.edges) for g in as_graphs(train)]
    if not gain > 0 or any(g.directed for g in graphs):
        raise ValueError(f"gain={gain} given; it must be above 0, and the graphs undirected.")
    degrees = torch.cat([g.degrees for g in graphs]).unique()
    most = int(degrees[-1])
    values = [d / 2 for d in range(most + 2)] if target is None else [float(v) for v in target]
    if len(values) < max(2, most + 1):
        raise ValueError(f"a target for {len(values)} degrees given; training has degrees up to {most}.")
    size = max(len(values), most + 2)
    slope = values[-1] - values[-2]
    values += [values[-1] + slope * (k + 1) for k in range(size - len(values))]
    good = torch.tensor(values, dtype=torch.float64)
    away = (torch.arange(size)[:, None] - degrees).abs().min(1).values
    networks = [_of_degrees(good), _of_degrees(good + gain * away)]
    batch = join(graphs)
    with torch.no_grad():
        error = float((networks[0](batch) - networks[1](batch)).abs().max())
    return BadMinimum(networks[1], networks[0], degrees, gain, error)


def _of_degrees(values: Float[Tensor, " k"]) -> GraphNetwork:
    """sum_v f(deg v) with f piecewise linear through the values at 0, 1, ..., and linear beyond."""
    slopes = values.diff()
    bends = torch.cat([slopes[:1], slopes.diff()])
    count = len(bends)
    network = GraphNetwork(1, [1, count + 1], 1).double()
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
        first, second = (layer for layer in network.layers if isinstance(layer, GraphConv))
        first.near.weight.fill_(1)  # the degree
        second.own.weight.fill_(1)
        second.own.weight[count] = 0  # the last unit is the constant 1
        second.own.bias.copy_(torch.cat([-torch.arange(count, dtype=torch.float64), torch.ones(1).double()]))
        network.last.weight.copy_(torch.cat([bends, values[:1]])[None])
    return network
