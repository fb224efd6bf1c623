"""The network as the samples that are not known yet see it.

Columns c and inputs y~ of all samples obey  sum_i c_i y~_i^T = diag(values)  (`zeros.layer`), so that the inputs of the
other samples are orthogonal to diag(1 / values) c of each known column c: k linear equations for [z 1]. They leave
z = start + directions t, and a search for t in place of z is one for samples that are none of the known ones.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.directions import directions_of
from vestige.reconstruct.weights.joint import Joint
from vestige.reconstruct.weights.neurons import at_all
from vestige.reconstruct.weights.search_settings import SearchSettings
from vestige.reconstruct.weights.zeros.layer import FirstLayer, first_layer


@dataclass(frozen=True)
class Remaining:
    """Where the other samples are: z = start + directions t.

    Attributes:
        chain: the network on t. Its target is right only orthogonally to the known columns.
        start: the most plausible z.
        shift: it as an input.
        directions: orthonormal columns.
        metric: rows by which standard normal v become plausible t, times the norm of a sample; None: isotropic.
    """

    chain: Chain
    start: Float[Tensor, " r"]
    shift: Float[Tensor, " d"]
    directions: Float[Tensor, "r rest"]
    metric: Float[Tensor, "rest rest"] | None

    @staticmethod
    def of(
        chain: Chain,
        layer: FirstLayer,
        known: Float[Tensor, "k n"],
        sample_norm: float,
        metric: Float[Tensor, "r r"] | None,
    ) -> "Remaining":
        """What is left beside `known` columns of norm 1."""
        r, like = chain.basis.shape[1], chain.weights[0]
        rows = torch.linalg.qr(((known / layer.values) @ layer.right).T)[0].T
        slopes, offset = rows[:, :r], rows[:, r:].sum(1)
        directions = torch.linalg.svd(slopes, full_matrices=True)[2][len(slopes) :].T
        shape = sample_norm * (torch.eye(r).to(slopes) / r**0.5 if metric is None else metric.double())
        start = (-offset @ torch.linalg.pinv(shape @ slopes.T) @ shape).to(like)
        inner = None if metric is None else (_along(shape, directions) / sample_norm).to(like)
        directions = directions.to(like)
        return Remaining(_seen_from(chain, start, directions), start, chain.basis @ start, directions, inner)

    def search(self, settings: SearchSettings, **options: Any) -> Joint:
        """`settings.search` for t, with its candidates in z."""
        box = None if settings.box is None else (settings.box[0] - self.shift, settings.box[1] - self.shift)
        joint = replace(settings, metric=self.metric, box=box).search(self.chain, **options)
        return replace(joint, z=self.start + joint.z @ self.directions.T)


def search_for_others(
    chain: Chain, settings: SearchSettings, known: Float[Tensor, "k n"], *, generator: torch.Generator, **options: Any
) -> Joint:
    """A joint search for the samples of other columns than those known, in what these leave of the network.

    Args:
        chain: the network.
        settings: of its searches.
        known: columns of norm 1.
        generator: source of the starts.
        options: of `SearchSettings.search`.
    """
    layer = first_layer(chain)
    rest = Remaining.of(chain, layer, known, settings.sample_norm, settings.metric)
    columns = torch.linalg.qr(at_all(known @ layer.columns.T, layer.alive).T)[0].to(chain.weights[0])
    note = f"{len(known)} of {chain.rank} samples known"
    strengthened = directions_of(rest.chain, columns)
    return rest.search(settings, known=columns, directions=strengthened, generator=generator, note=note, **options)


def _along(shape: Float[Tensor, "r r"], directions: Float[Tensor, "r rest"]) -> Float[Tensor, "rest rest"]:
    """Rows by which standard normal numbers become t, if z = v shape for standard normal v and t alone is free."""
    v = torch.linalg.lstsq(shape.T, directions).solution  # of a step along each direction
    return torch.linalg.inv(torch.linalg.cholesky(v.T @ v))


def _seen_from(chain: Chain, start: Float[Tensor, " r"], directions: Float[Tensor, "r rest"]) -> Chain:
    """The chain on t: sum_i s_i t_i^T is sum_i s_i (z_i - start)^T, along the directions."""
    (weight, *later), (bias, *others) = chain.weights, chain.biases
    target = chain.target_weights[0] - chain.target_biases[0][:, None] * start
    return replace(
        chain,
        weights=(weight @ directions, *later),
        biases=(bias + weight @ start, *others),
        target_weights=(target @ directions, *chain.target_weights[1:]),
        basis=chain.basis @ directions,
    )
