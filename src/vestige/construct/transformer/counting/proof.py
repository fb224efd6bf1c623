"""How far a counter that attends to its query is off at any sequence, from its weights alone."""

import math

import torch
from torch import Tensor

from vestige.construct.transformer.blocks import Head, Transformer, linear_layers


def attend_error(network: Transformer, *, offset: int = 0) -> float:
    """The largest error of count + offset over all sequences of all lengths; NaN for a network of another form.

    One head gives the last token the weight a = 1 / (1 + sum_j exp(l_j - l_last)), so that with c equal tokens of at
    most n

        1 / (1 + (c - 1) s + (n - c) w)  <=  a  <=  1 / (1 + (c - 1) s)

    where s is the factor of an equal token and w the largest of another. The MLP is piecewise linear in a: its error is
    largest at an end of the interval or at one of its corners.
    """
    try:
        return _attend_error(network, offset)
    except (ValueError, IndexError):
        return math.nan


def _attend_error(network: Transformer, offset: int) -> float:
    (layer,) = network.layers
    (head,) = layer.heads
    first, second = linear_layers(layer)
    last = network.embedding.last
    tokens = network.embedding.table.double()
    if last is None:
        return math.nan
    read = tokens + last
    if head.value(tokens).abs().max() > 0 or (head.value(read) - 1).abs().max() > 0 or head.value.out_features != 1:
        return math.nan
    low, high = _weights(head, tokens, read, network.embedding.lengths[1])
    direction = head.out.weight[:, 0]
    start = first(read)
    if (start - start[0]).abs().max() > 0 or (network.readout(read) - network.readout(read[:1])).abs().max() > 0:
        return math.nan  # what is read depends on the token itself
    slope = first.weight @ direction
    corners = (-start[0] / slope)[slope != 0]

    def after(stream: Tensor) -> Tensor:
        return stream + second(first(stream).relu())

    def output(a: Tensor) -> Tensor:
        return network.readout(after(read[0] + a[:, None] * direction))[:, 0]

    counts = torch.arange(1, len(low) + 1, dtype=torch.float64)
    wanted = counts + offset
    worst = torch.maximum((output(low) - wanted).abs(), (output(high) - wanted).abs())
    inside = (low[:, None] <= corners) & (corners <= high[:, None])
    off = (output(corners) - wanted[:, None]).abs() * inside
    return float(torch.maximum(worst, off.amax(1)).max())


def _weights(head: Head, tokens: Tensor, read: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Smallest and largest weight of the last token for each count."""
    query = head.query(read)
    logits = query @ head.key(tokens).T - (query * head.key(read)).sum(1, keepdim=True)
    same = logits.diagonal().exp()
    others = logits.clone().fill_diagonal_(-math.inf).exp().max()
    counts = torch.arange(1, most + 1, dtype=torch.float64)
    return 1 / (1 + (counts - 1) * same.max() + (most - counts) * others), 1 / (1 + (counts - 1) * same.min())
