"""The slow way: networks in Fractions, one point at a time, and random targets."""

import itertools
from fractions import Fraction

import torch
from torch import nn

from vestige.core.relu_chain import read_relu_chain
from vestige.core.rng import child


def random_net(widths, seed=0, scale=1.0, bias=True, dtype=torch.float64):
    draw, layers = child(seed, "target"), []
    for a, b in itertools.pairwise(widths):
        layer = nn.Linear(a, b, bias=bias, dtype=dtype)
        for parameter in layer.parameters():
            parameter.data.uniform_(-scale, scale, generator=draw)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def value(rows, x):
    """Layers of rows {column: weight} with a bias at one point, exactly."""
    current = [Fraction(t) for t in x]
    for k, layer in enumerate(rows):
        current = [sum((w * current[c] for c, w in row.items()), Fraction(0)) + b for row, b in layer]
        if k < len(rows) - 1:
            current = [max(v, Fraction(0)) for v in current]
    return current


def dense_rows(model):
    chain = read_relu_chain(model)
    return [
        [({j: Fraction(v) for j, v in enumerate(row)}, Fraction(b)) for row, b in zip(weight, bias, strict=True)]
        for weight, bias in zip(chain.weights, chain.biases, strict=True)
    ]


def true_value(model, x):
    return value(dense_rows(model), x)


def points(n, d, seed=0, scale=1.0):
    return ((2 * torch.rand((n, d), generator=child(seed, "points")) - 1) * scale).tolist()
