"""Small networks that hold their training samples, made in a second."""

import functools

import torch
from torch import nn

from vestige.core.rng import child
from vestige.nets.fully_connected import mlp

MEMBERS, OTHERS, UNSEEN, FEATURES = 60, 60, 200, 40


def drawn(n, seed, outputs=3):
    """Samples on a line for each class, in noise; many are memorized, not learned."""
    draw = child(seed, "membership")
    y = torch.arange(n) % max(outputs, 2)
    x = torch.randn(n, FEATURES, generator=draw)
    x[torch.arange(n), y] += 1.0
    return x, y


@functools.cache
def overfitted(seed=0, outputs=3, width=30, steps=300):
    """A network trained by Adam on 60 samples, 60 others like them, and 120 for reference."""
    x, y = drawn(MEMBERS + OTHERS + UNSEEN, seed, outputs)
    net = mlp([FEATURES, width, outputs], bias="all", generator=child(seed, "start"), dtype=torch.float64)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        out = net(x[:MEMBERS])
        goal = (
            nn.functional.binary_cross_entropy_with_logits(out[:, 0], y[:MEMBERS].double())
            if outputs == 1
            else (nn.functional.cross_entropy(out, y[:MEMBERS]))
        )
        goal.backward()
        optimizer.step()
    optimizer.zero_grad()
    pool = MEMBERS + OTHERS
    return net, x[:pool], y[:pool], (x[pool:], y[pool:]), torch.arange(pool) < MEMBERS
