"""Columns and samples in turn, each from the other.

The gates of a column tell its sample, and the sample's gates are nearer to those of its own column than they were. Of
144 columns of 500 CIFAR-10 images 72 have a cosine above .99 to the true one, and 103 after four turns; 27 one above
.999, and 72 after four.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.two_layer.columns import Columns, ColumnSpace, fit_columns, join, on_kinks
from vestige.reconstruct.weights.two_layer.factors import neuron_factors, sharpened, with_factors
from vestige.reconstruct.weights.two_layer.relaxation import opened
from vestige.reconstruct.weights.zeros.layer import FirstLayer
from vestige.reconstruct.weights.zeros.samples import likely_samples

KINK = 0.35  # gates opened less far, or closed less far, are not trusted
ALIKE = 0.9  # cosine from which two columns may be one sample's
WIDTH, LEAST = 0.02, 0.02  # of the weights, for factors and for columns


def clear_gates(columns: Columns) -> Float[Tensor, "m h"]:
    """How far each gate is open, 0 for those on a kink."""
    gates = opened(columns)
    return torch.where(gates.abs() > KINK, gates, 0.0)


def nearest(chain: Chain, gates: Float[Tensor, "k width"], z: Float[Tensor, "m r"]) -> Int[Tensor, " k"]:
    """Which candidates agree best with each row of gates."""
    weight, bias = chain.weights[0], chain.biases[0]
    return (gates.to(weight).sign() @ (z @ weight.T + bias).sign().T).argmax(1)


def samples_of(
    chain: Chain,
    layer: FirstLayer,
    space: ColumnSpace,
    columns: Columns,
    z: Float[Tensor, "m r"],
    sample_norm: float,
    metric: Float[Tensor, "r r"] | None,
) -> tuple[Float[Tensor, "k r"], Float[Tensor, " k"]]:
    """What its gates, the other columns and the nearest candidate say of each sample, and how similar it should be.

    Args:
        chain: of two layers.
        layer: its first one.
        space: its column space.
        columns: known ones.
        z: candidates in span coordinates, of norm `sample_norm`.
        sample_norm: rough l_2 norm of a sample.
        metric: rows by which standard normal v become plausible samples of expected norm 1; None: isotropic.
    """
    gates = clear_gates(columns)
    rough = z[nearest(chain, space.at_all(gates), z)]
    known = layer.coordinates(columns.s)
    return likely_samples(chain, layer, known, sample_norm, metric, gates=gates, kinks=on_kinks(columns), rough=rough)


def columns_again(
    chain: Chain,
    space: ColumnSpace,
    columns: Columns,
    samples: Float[Tensor, "k r"],
    *,
    generator: torch.Generator,
) -> tuple[Columns, ColumnSpace]:
    """Each column as it was, or from the gates of its sample where that one fits more neurons; and the factors again.

    Args:
        chain: of two layers.
        space: its column space, with the factors of its neurons.
        columns: known ones.
        samples: what `samples_of` has for them.
        generator: start of the power iterations.
    """
    weight, bias = chain.weights[0], chain.biases[0]
    told = fit_columns(space, samples.to(weight) @ weight.T + bias, generator=generator)
    columns = better(columns, sharpened(space, told, LEAST))
    return columns, with_factors(space, neuron_factors(space, columns, WIDTH))


def better(first: Columns, second: Columns) -> Columns:
    """Of each pair of columns, if they may be one sample's, the one that fits more neurons."""
    which = torch.arange(len(first), device=first.s.device)
    alike = (first.s * second.s).sum(1).abs() >= ALIKE
    return join([first, second])[which + len(first) * (alike & (second.fits > first.fits))]
