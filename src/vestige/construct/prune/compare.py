"""A pruned network held against its target: the certificate from its stored weights, and both networks run."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.construct.prune.masked_network import linears
from vestige.construct.prune.sup_error import Ball, LayerError, stand_in, sup_error
from vestige.core.kkt import working_copy
from vestige.core.relu_chain import Affine
from vestige.core.rng import child

MOST_PROBES, PROBE_WORK = 4096, 1e10  # inputs, and multiplications for all of them


def certify(layers: tuple[Affine, ...], module: nn.Sequential, ball: Ball) -> tuple[LayerError, ...]:
    """The error of every layer, read off the masked weights of a module."""
    pairs = linears(module)
    found = tuple(stand_in(first.weight, first.bias, second.weight) for _, first, _, second in pairs)
    return sup_error(layers, found, ball)


def run_both(target: nn.Module, module: nn.Sequential, ball: Ball, x: Float[Tensor, "n features"] | None) -> float:
    """Largest l_2 difference of the outputs in float64, at random points of the sphere and at the given ones."""
    wide, built = (working_copy(net).cpu() for net in (target, module))
    work = sum(p.numel() for p in module.parameters())
    count = max(64, min(MOST_PROBES, math.floor(PROBE_WORK / work)))
    inputs = on_the_sphere(linears(module)[0][1].in_features, ball, count, "probes")
    if x is not None:
        inputs = torch.cat([inputs, x])
    with torch.no_grad():
        return max(float((wide(part) - built(part)).norm(dim=1).max()) for part in inputs.split(256))


def on_the_sphere(features: int, ball: Ball, count: int, name: str) -> Float[Tensor, "n features"]:
    """Random inputs on the surface of the ball, the same at each call with this name."""
    inputs = torch.randn(count, features, generator=child(0, "prune", name), dtype=torch.float64)
    inputs = inputs.abs() if ball.nonnegative else inputs
    return inputs * (ball.radius / inputs.norm(dim=1, keepdim=True))


def checked_inputs(
    layers: tuple[Affine, ...], x: Float[Tensor, " n *feature"] | None
) -> Float[Tensor, "n features"] | None:
    """Inputs as rows in float64."""
    if x is None:
        return None
    rows, features = x.detach().cpu().double().flatten(1), layers[0].weight.shape[1]
    if not len(rows) or rows.shape[1] != features or not bool(torch.isfinite(rows).all()):
        raise ValueError(
            f"x of shape {tuple(x.shape)} given; at least one finite input of {features} numbers is needed."
        )
    return rows
