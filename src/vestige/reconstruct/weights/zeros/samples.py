"""Samples from their columns: exactly, if all are known; otherwise the likely ones.

The inputs Y of all columns C obey  C^T Y = diag(values) right.  Of k known columns least squares gives the inputs up to
the span of the others (`span`), n - k dimensions, and up to their length: k - 1 equations. And 1[w_j . x~ > 0] is what
the column says, at all h neurons. The mean of plausible inputs that obey both is the sample to expect
(`two_layer.posterior_mean`).
"""

from collections.abc import Iterator
from itertools import repeat

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.neurons import at_all
from vestige.reconstruct.weights.two_layer.posterior_mean import CLOSE, LOOSE, input_from_gates
from vestige.reconstruct.weights.zeros.layer import FirstLayer
from vestige.reconstruct.weights.zeros.span import span_of_others

MEMORY = 2**27  # bytes for the equations of one batch of samples
FAINT = 1e-3  # of the largest singular value of the activations: nothing is read off smaller ones


def inputs_of(layer: FirstLayer, known: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """The input y of each of all columns, times the length of the column."""
    inputs = torch.linalg.solve(known.T, torch.diag(layer.values))
    side = 1.0 - 2.0 * layer.vanishes(known).to(known)
    agree = (side * (inputs @ layer.slopes.T) / layer.slopes.norm(dim=1) * layer.weight).sum(1, keepdim=True)
    return torch.where(agree < 0, -inputs, inputs)


def likely_samples(
    chain: Chain,
    layer: FirstLayer,
    known: Float[Tensor, "k n"],
    sample_norm: float,
    metric: Float[Tensor, "r r"] | None,
    *,
    gates: Float[Tensor, "k h"] | None = None,
    kinks: Bool[Tensor, "k h"] | None = None,
    rough: Float[Tensor, "k r"] | None = None,
) -> tuple[Float[Tensor, "k r"], Float[Tensor, " k"]]:
    """The sample to expect from each column, in span coordinates, and how similar the true one should be to it.

    Args:
        chain: the network.
        layer: its first layer.
        known: columns of norm 1.
        sample_norm: rough l_2 norm of a sample.
        metric: rows by which standard normal v become plausible samples of expected norm 1; None: isotropic.
        gates: positive where open, negative where closed, 0 where unknown; None: closed where the column vanishes.
        kinks: neurons on whose hyperplane the sample seems to be.
        rough: an input near each, of that norm; None: any plausible input.
    """
    if not len(known):
        return known.new_zeros(0, chain.basis.shape[1]), known.new_zeros(0)
    weight, bias = chain.weights[0].double(), chain.biases[0].double()
    trust = CLOSE if gates is None else LOOSE
    gates = 1.0 - 2.0 * layer.vanishes(known).to(known) if gates is None else gates
    kinks = torch.zeros_like(gates, dtype=torch.bool) if kinks is None else kinks
    gates, kinks = at_all(gates, layer.alive), at_all(kinks, layer.alive)
    size = max(1, MEMORY // (8 * layer.right.shape[1] * len(known)))
    near = repeat(None) if rough is None else rough.split(size)
    told = {"length": sample_norm, "trust": trust}
    parts = [
        input_from_gates(weight, bias, g, z, metric, chain.brightness, equations=e, kinks=k, **told)
        for g, k, z, e in zip(gates.split(size), kinks.split(size), near, _equations(layer, known, size), strict=False)
    ]
    return torch.cat([z for z, _ in parts]), torch.cat([similar for _, similar in parts])


def _equations(layer: FirstLayer, known: Float[Tensor, "k n"], size: int) -> Iterator[Float[Tensor, "m n r1"]]:
    """Rows a with a . [x_i 1] = 0: but for what the other samples span, inputs are known up to their length."""
    span = span_of_others(layer, known)
    inside = torch.eye(len(layer.values)).to(span) - span @ span.T
    unit = F.normalize(torch.linalg.lstsq(known.T, torch.diag(layer.values)).solution @ inside, dim=1)
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
