"""The network that a certificate compares with: the nearest one with a given activation pattern (arXiv 2510.14844).

A step moves retained samples off the ReLU kinks at which training had left them, so the gradient at the stepped weights
says nothing. The proof compares with a network nearby whose pattern is the old one again. Here it is built neuron by
neuron, as the least change of (w_j, b_j) that brings pre-activations at the kinks back to zero, and those whose sign
has turned as well: at zero the derivative may be anything between 0 and 1.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

ROUNDS = 20  # of adding pairs whose sign is still wrong; three suffice where measured
CHUNK = 2**27  # bytes of the systems that are solved at once


@dataclass(frozen=True, eq=False)
class ReferencePoint:
    """The network, the share of (sample, neuron) pairs set to zero for their sign, and of those still wrong."""

    model: nn.Module
    repaired: float
    wrong: float


@torch.no_grad()
def reference_point(
    model: nn.Module, first: nn.Linear, pattern: nn.Linear, x: Float[Tensor, "n _"], tolerance: float
) -> ReferencePoint:
    """A copy of `model` with the activation pattern of `pattern` at x.

    Args:
        model: a float64 two-layer network.
        first: its first layer.
        pattern: the first layer of the network whose pattern is wanted.
        x: retained inputs, flattened.
        tolerance: a pair is at a kink when |pre-activation| is at most this times the largest.
    """
    wanted = pattern(x)
    kink = wanted.abs() <= tolerance * wanted.abs().max()
    sign = torch.where(kink, 0.0, wanted.sign())
    z, rows = first(x), x if first.bias is None else torch.cat([x, torch.ones_like(x[:, :1])], 1)
    gram, held = rows @ rows.T, kink.clone()
    for _ in range(ROUNDS):
        moved = z - _projected(gram, z, held)
        wrong = (sign * moved < 0) & ~held
        if not bool(wrong.any()):
            break
        held |= wrong
    change = _coefficients(gram, z, held).T @ rows  # (neurons, inputs)
    new = copy.deepcopy(model)
    layer = new.get_submodule(_name(model, first))
    assert isinstance(layer, nn.Linear)
    layer.weight.sub_(change[:, : x.shape[1]])
    if layer.bias is not None:
        layer.bias.sub_(change[:, -1])
    wrong = (sign * layer(x) < -1e-9 * wanted.abs().max()).double().mean()
    return ReferencePoint(new, float((held & ~kink).double().mean()), float(wrong))


def _projected(gram: Tensor, z: Tensor, held: Bool[Tensor, "n m"]) -> Tensor:
    """What the change takes off every pre-activation."""
    return gram @ _coefficients(gram, z, held)


def _coefficients(gram: Tensor, z: Tensor, held: Bool[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """mu with gram mu = z on the held pairs of each neuron and mu = 0 on the others."""
    n, ridge = len(gram), 1e-13 * gram.diagonal().mean()
    size = max(1, CHUNK // (8 * n * n))
    parts = []
    for some, mask in zip(z.T.split(size), held.T.double().split(size), strict=True):
        system = mask[:, :, None] * gram * mask[:, None] + torch.diag_embed(1 - mask + ridge)
        parts.append(torch.linalg.solve(system, mask * some))
    return torch.cat(parts).T


def _name(model: nn.Module, wanted: nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is wanted)
