"""Message passing networks on batches of graphs (Morris et al.'s GraphConv, as in arXiv 2010.08853)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.choices import ChoiceEnum
from vestige.core.rng import drawing_from, spawn
from vestige.graphs.graph import GraphBatch


class Readout(ChoiceEnum):
    """How nodes become an output: summed or averaged over each graph, or one output for each."""

    SUM = "sum"
    MEAN = "mean"
    NODES = "nodes"


class GraphConv(nn.Module):
    """h_v = W2 h_v + W1 sum_{u in N(v)} h_u + b."""

    def __init__(self, features: int, out: int):
        super().__init__()
        self.own, self.near = nn.Linear(features, out), nn.Linear(features, out, bias=False)

    def forward(self, h: Float[Tensor, "nodes f"], batch: GraphBatch) -> Float[Tensor, "nodes out"]:
        """New states of all nodes."""
        summed = torch.zeros_like(h).index_add(0, batch.edges[1], h[batch.edges[0]])
        return self.own(h) + self.near(summed)


class GraphNetwork(nn.Module):
    """GraphConv layers with ReLU, a readout, and a linear map.

    Without features every node starts with the number 1.

    Args:
        features: of a node; 1 without any.
        widths: of the layers.
        out: outputs.
        readout: "sum", "mean" or "nodes".
        generator: of the start; None for seed 0.

    Raises:
        ValueError: no layer, or a size below 1.

    >>> from vestige.graphs.graph import as_graph, join
    >>> pair = join([as_graph(torch.tensor([[0, 1], [1, 0]]))])
    >>> GraphNetwork(1, [4, 4], 2)(pair).shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        features: int,
        widths: Sequence[int],
        out: int,
        *,
        readout: Readout | str = Readout.SUM,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if not widths or min(features, out, *widths) < 1:
            raise ValueError(f"features={features}, widths={list(widths)}, out={out} given; all must be at least 1.")
        self.readout = Readout(readout)
        with drawing_from(spawn(generator, "graph network")):
            sizes = [features, *widths]
            self.layers = nn.ModuleList(GraphConv(a, b) for a, b in pairwise(sizes))
            self.last = nn.Linear(sizes[-1], out)

    def nodes(self, batch: GraphBatch) -> Float[Tensor, "nodes width"]:
        """States of all nodes after the last layer."""
        kind = self.last.weight
        h = torch.ones(batch.n, 1, dtype=kind.dtype, device=kind.device) if batch.x is None else batch.x.to(kind)
        for layer in self.layers:
            h = torch.relu(layer(h, batch))
        return h

    def forward(self, batch: GraphBatch) -> Float[Tensor, "rows out"]:
        """One row for each graph, or for each node."""
        return self.last(self.read(self.nodes(batch), batch))

    def read(self, h: Float[Tensor, "nodes width"], batch: GraphBatch) -> Float[Tensor, "rows width"]:
        """States of nodes, or their sum or mean over each graph."""
        if self.readout is Readout.NODES:
            return h
        found = torch.zeros(batch.count, h.shape[1], dtype=h.dtype, device=h.device).index_add(0, batch.owner, h)
        if self.readout is Readout.MEAN:
            found = found / torch.bincount(batch.owner, minlength=batch.count)[:, None]
        return found
