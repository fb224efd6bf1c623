"""Samples from their columns: exactly, if all are known; otherwise what is left open is fitted to the gates.

With orthonormal rows N for the columns that are not known, the inputs of  [C; N]^T Y = diag(values) right  are those
of the samples up to the span of the others (`span`), n - k dimensions. There 1[w_j . x~ > 0] must be what the column
says at all h neurons, many of which have the sample on their hyperplane: a convex problem, squared hinges, with a
solution that is as good as unique while n - k is small. Where it is not, the likely one is taken
(`two_layer.posterior_mean`).
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.two_layer.posterior_mean import input_from_gates
from vestige.reconstruct.weights.zeros.layer import FirstLayer
from vestige.reconstruct.weights.zeros.span import others, span_of_others

STEPS = 30  # of Newton's method
MEMORY = 2**27  # bytes for the equations of one batch of samples
FAINT = 1e-3  # of the largest singular value of the activations: nothing is read off smaller ones
RIDGE = 1e-3  # against the curvature of the hinges


def inputs_of(layer: FirstLayer, known: Float[Tensor, "k n"]) -> Float[Tensor, "k n"]:
    """The input y of each column, times the length of the column."""
    both = torch.cat([known, others(known).T])
    inputs = torch.linalg.solve(both.T, torch.diag(layer.values))[: len(known)]
    size = layer.slopes.norm(dim=1)
    side = 1.0 - 2.0 * layer.vanishes(known).to(known)
    agree = (side * (inputs @ layer.slopes.T) / size * layer.weight).sum(1, keepdim=True)
    inputs = torch.where(agree < 0, -inputs, inputs)
    span = span_of_others(layer, known)
    if not span.shape[1] or not len(known):
        return inputs
    return torch.stack([_fitted(layer.slopes / size[:, None], y, t, span) for y, t in zip(inputs, side, strict=True)])


def _fitted(slopes: Tensor, y: Tensor, side: Tensor, span: Tensor) -> Tensor:
    """y moved within the span to where fewest gates are wrong, and these by little."""
    rows, move = slopes @ span, y.new_zeros(span.shape[1])
    for _ in range(STEPS):
        u = side * (slopes @ y + rows @ move)
        wrong = rows[u < 0]
        bend = wrong.T @ wrong
        bend.diagonal().add_(RIDGE * rows.square().sum() / len(move))
        slope = wrong.T @ (side * u)[u < 0]
        move = move - torch.linalg.solve(bend, slope)
    return y + span @ move


def likely_samples(
    chain: Chain,
    layer: FirstLayer,
    known: Float[Tensor, "k n"],
    sample_norm: float,
    metric: Float[Tensor, "r r"] | None,
) -> tuple[Float[Tensor, "k r"], Float[Tensor, " k"]]:
    """The sample to expect from each column, in span coordinates, and how similar the true one should be to it."""
    weight, bias = (chain.weights[0].double(), chain.biases[0].double())
    gates = known.new_zeros(len(known), len(layer.alive))
    gates[:, layer.alive] = 1.0 - 2.0 * layer.vanishes(known).to(known)
    brightness = chain.basis.double().sum(0) / len(chain.basis) ** 0.5
    size = max(1, MEMORY // (8 * layer.right.shape[1] * max(1, len(known))))
    parts = [
        input_from_gates(weight, bias, g, None, metric, brightness, length=sample_norm, equations=e)
        for g, e in zip(gates.split(size), _equations(layer, known, size), strict=True)
    ]
    return torch.cat([z for z, _ in parts]), torch.cat([similar for _, similar in parts])


def _equations(layer: FirstLayer, known: Float[Tensor, "k n"], size: int) -> Iterator[Float[Tensor, "m n r1"]]:
    """Rows a with a . [x_i 1] = 0: but for what the other samples span, inputs are known up to their length."""
    span = span_of_others(layer, known)
    inside = torch.eye(len(layer.values)).to(span) - span @ span.T
    both = torch.cat([known, others(known).T])
    unit = F.normalize(torch.linalg.solve(both.T, torch.diag(layer.values))[: len(known)] @ inside, dim=1)
    for u in unit.split(size):
        rows = inside @ layer.right - u[:, :, None] * (u @ layer.right)[:, None, :]
        yield rows if layer.has_bias else F.pad(rows, (0, 1))


def agreement(layer: FirstLayer, known: Float[Tensor, "k n"], inputs: Float[Tensor, "k n"]) -> Float[Tensor, " k"]:
    """Share of the neurons whose gate is what the column says; on a kink a gate is neither open nor closed."""
    u = inputs @ layer.slopes.T / layer.slopes.norm(dim=1)
    near = u.abs() < 1e-2 * u.abs().mean(1, keepdim=True)
    return (near | ((u < 0) == layer.vanishes(known))).to(u) @ layer.weight


def multipliers_of(chain: Chain, z: Float[Tensor, "k r"]) -> Float[Tensor, "k out"]:
    """Output multipliers l for which the last layer is best explained: it is sum_i l_i a_i^T, a_i its activations.

    Args:
        chain: the network.
        z: all samples, in span coordinates.
    """
    for weight, bias in zip(chain.weights[:-1], chain.biases[:-1], strict=True):
        z = (z @ weight.T + bias).relu()
    return torch.linalg.pinv(z.T, rtol=FAINT) @ chain.target_weights[-1].T
