"""A constructed transformer as a `torch.nn.TransformerEncoder`, where its shapes allow it."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from vestige.construct.transformer.blocks import Head, Layer, Mask, constructed_transformer, linear_layers


class EncoderTransformer(nn.Module):
    """The embedding and the readout of a constructed transformer around torch's own encoder.

    Attributes:
        embedding: of the constructed network.
        encoder: `nn.TransformerEncoder` without normalization; the stream is padded with zeros to its width.
        readout: of the constructed network.
        width: of the padded stream.
        read: position of the token that is read; None for each.
        mask: which tokens a token attends to.
    """

    def __init__(self, model: nn.Module, encoder: nn.TransformerEncoder, width: int) -> None:
        super().__init__()
        network = constructed_transformer(model)
        self.embedding, self.encoder, self.readout = network.embedding, encoder, network.readout
        self.width, self.read, self.mask = width, network.read, network.mask
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, out), or (batch, n, out) where each token is read."""
        stream = self.embedding(x)
        first, width = int(self.embedding.sink is not None), stream.shape[2]
        forbidden = None
        if self.mask is not Mask.NONE:
            forbidden = torch.ones(stream.shape[1], stream.shape[1], dtype=torch.bool, device=stream.device)
            forbidden = forbidden.triu(1) if self.mask is Mask.CAUSAL else torch.eye(len(forbidden)).bool()
        padded = functional.pad(stream, (0, self.width - width))
        after = self.encoder(padded, mask=forbidden)[..., :width]
        if self.read is None:
            return self.readout(after[:, first:])
        return self.readout(after[:, self.read if self.read < 0 else first + self.read])


class _NoNorm(nn.Identity):
    eps = 0.0  # the encoder asks both for it


def to_torch_encoder(model: nn.Module) -> EncoderTransformer:
    """The same function with its layers as one `nn.TransformerEncoder`, whose LayerNorms are replaced by identities.

    torch's heads are width / heads wide and divide logits by the root of that: the stream is padded until the widest
    query, key or value fits, and queries are multiplied by the root. MLPs are padded to one width.

    Args:
        model: a constructed transformer whose MLPs have one hidden layer, or are absent.

    Raises:
        ValueError: another module, an MLP of another depth, or a layer without heads.

    >>> from vestige.construct.transformer.counting.counter import build_counter
    >>> network, x = build_counter(5, 8).network, torch.tensor([[4, 0, 4, 4]])
    >>> bool((to_torch_encoder(network)(x) - network(x)).abs() < 1e-9)
    True
    """
    network = constructed_transformer(model)
    layers: list[Layer] = list(network.layers)
    depths = [len(linear_layers(layer)) for layer in layers]
    if not set(depths) <= {0, 2} or not all(len(layer.heads) for layer in layers):
        raise ValueError(
            f"MLPs of {depths} linear layers given; nn.TransformerEncoder has two in each layer, and at least one head."
        )
    heads = max(len(layer.heads) for layer in layers)
    every = [head for layer in layers for head in layer.heads]
    size = max(max(h.query.out_features, h.value.out_features) for h in every)
    size = max(size, math.ceil(network.stream.width / heads))
    hidden = max([linear_layers(layer)[0].out_features for layer in layers if layer.mlp is not None], default=1)
    made = [_layer(layer, heads, size, hidden) for layer in layers]
    encoder = nn.TransformerEncoder(made[0], len(made), enable_nested_tensor=False)
    encoder.layers = nn.ModuleList(made)
    return EncoderTransformer(network, encoder, heads * size)


def _layer(layer: Layer, heads: int, size: int, hidden: int) -> nn.TransformerEncoderLayer:
    width = heads * size
    made = nn.TransformerEncoderLayer(
        width, heads, hidden, dropout=0.0, batch_first=True, device="meta", dtype=torch.float64
    ).to_empty(device="cpu")
    made.add_module("norm1", _NoNorm())
    made.add_module("norm2", _NoNorm())
    made.activation_relu_or_gelu = 0  # torch's fused kernel would ask the norms for weights
    made.requires_grad_(False)
    for p in made.parameters():
        p.zero_()
    attention = made.self_attn
    for number, head in enumerate(layer.heads):
        _place(head, attention, number * size, size)
    if layer.mlp is not None:
        first, second = linear_layers(layer)
        made.linear1.weight[: len(first.weight), : first.in_features] = first.weight
        made.linear1.bias[: len(first.weight)] = first.bias
        made.linear2.weight[: len(second.weight), : second.in_features] = second.weight
        made.linear2.bias[: len(second.weight)] = second.bias
    return made.to(layer.heads[0].query.weight.dtype)


def _place(head: Head, attention: nn.MultiheadAttention, start: int, size: int) -> None:
    """One head's weights into torch's stacked ones."""
    width = attention.embed_dim
    for part, (linear, factor) in enumerate(((head.query, math.sqrt(size)), (head.key, 1.0), (head.value, 1.0))):
        rows = slice(part * width + start, part * width + start + linear.out_features)
        attention.in_proj_weight[rows, : linear.in_features] = factor * linear.weight
        attention.in_proj_bias[rows] = factor * linear.bias
    attention.out_proj.weight[: head.out.out_features, start : start + head.out.in_features] = head.out.weight
