"""A transformer whose tokens are the nodes of a graph, as in the experiments of arXiv 2605.22471."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vestige.core.rng import drawing_from, spawn


class GraphTokenTransformer(nn.Module):
    """Linear map, encoder blocks, mean over the nodes, linear map. Attention sees all nodes and no edges.

    Z = X + MHA(X), X = Z + MLP(Z), each sum normalized, as torch's encoder layers do it.

    Args:
        width: of the tokens, features of the nodes included.
        out: outputs.
        hidden: width m of the blocks.
        depth: blocks L.
        heads: H; they divide `hidden`.
        dropout: in training mode.
        node_level: outputs for each node, not for the graph.
        generator: of the start; None for seed 0.

    Raises:
        ValueError: a size below 1, or heads that do not divide `hidden`.

    >>> model = GraphTokenTransformer(5, 2, hidden=8, depth=1)
    >>> model(torch.zeros(3, 4, 5), torch.ones(3, 4, dtype=torch.bool)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        width: int,
        out: int,
        *,
        hidden: int = 64,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        node_level: bool = False,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if min(width, out, hidden, depth, heads) < 1 or hidden % heads:
            raise ValueError(
                f"width={width}, out={out}, hidden={hidden}, depth={depth}, heads={heads} given; all must be at least "
                "1, and heads must divide hidden."
            )
        self.node_level = node_level
        with drawing_from(spawn(generator, "transformer")):
            self.first = nn.Linear(width, hidden)
            self.blocks = nn.ModuleList(
                nn.TransformerEncoderLayer(hidden, heads, 4 * hidden, dropout, batch_first=True) for _ in range(depth)
            )
            self.last = nn.Linear(hidden, out)

    def forward(
        self, values: Float[Tensor, "graphs nodes width"], mask: Bool[Tensor, "graphs nodes"]
    ) -> Float[Tensor, "graphs ..."]:
        """Outputs of each graph, or of each node; those of padding mean nothing."""
        state = self.first(values)
        for block in self.blocks:
            state = block(state, src_key_padding_mask=~mask)
        if self.node_level:
            return self.last(state)
        share = mask.to(state)[..., None]
        return self.last((state * share).sum(1) / share.sum(1))
