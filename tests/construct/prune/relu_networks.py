"""Small ReLU networks with seeded weights, and the largest difference of two networks at many points."""

import itertools

import torch
from torch import nn

from vestige.core.rng import child


def relu_net(*widths, bias=True, seed=0, dtype=torch.float32):
    """U(+-1/sqrt(fan_in)) weights and biases, from a seed."""
    draw, modules = child(seed, "net"), []
    for features, out in itertools.pairwise(widths):
        layer = nn.Linear(features, out, bias=bias, dtype=dtype)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.uniform_(-(features**-0.5), features**-0.5, generator=draw)
        modules += [*([nn.ReLU()] if modules else []), layer]
    return nn.Sequential(*modules).requires_grad_(False)


def on_the_ball(count, features, *, radius=1.0, nonnegative=False, seed=0):
    """Points of the ball, most of them near its surface."""
    draw = child(seed, "ball")
    x = torch.randn(count, features, generator=draw, dtype=torch.float64)
    x = x.abs() if nonnegative else x
    size = torch.rand(count, 1, generator=draw, dtype=torch.float64) ** (1 / features)
    return x * (radius * size / x.norm(dim=1, keepdim=True))


def largest_difference(a, b, x):
    return float((a.double()(x) - b.double()(x)).norm(dim=1).max())
