"""How near samples are to the true ones: normalized correlation pairs them, SSIM compares the pairs as images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vestige.core.metrics import assign, cosine, ncc, ssim, standardized
from vestige.core.space import InputSpace
from vestige.nets.groups import Group


@dataclass(frozen=True, eq=False)
class Pairs:
    """One-to-one pairing of the true samples with offered ones.

    Attributes:
        similarity: of each true sample to its partner, 0 without one.
        match: the partner's index, -1 for none.
        nearest: similarity of each offered sample to its nearest true sample.
    """

    similarity: Float[Tensor, " n"]
    match: Int[Tensor, " n"]
    nearest: Float[Tensor, " k"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The true samples and what others are measured with.

    Attributes:
        truth: model space.
        space: from data to model space; None stands for data in [0, 1].
        group: what samples are compared modulo, by the member of an orbit that comes nearest; None: as they are.
    """

    truth: Float[Tensor, "n ..."]
    space: InputSpace | None
    group: Group | None = None

    @property
    def metric(self) -> str:
        """NCC, every channel centered, for images; cosine for vectors."""
        return ("NCC" if self.truth.ndim >= 3 else "cosine") + ("" if self.group is None else f" modulo {self.group}")

    def similarity(self, samples: Float[Tensor, "k ..."]) -> Float[Tensor, "n k"]:
        """Of every true sample to every given one, in [-1, 1]."""
        if self.group is None:
            return (ncc if self.truth.ndim >= 3 else cosine)(self.truth, samples)
        unit = standardized if self.truth.ndim >= 3 else lambda x: F.normalize(x.flatten(1), dim=1)
        a, b = (unit(x).reshape(x.shape) for x in (self.truth, samples))
        return self.group.products(a, b)

    def pair(self, samples: Float[Tensor, "k ..."], threshold: float) -> Pairs:
        """Partners such that most true samples reach `threshold`, and among those pairings the nearest in total.

        The sum of similarities alone would give up a sample well above it for two that are a little nearer.
        """
        count = len(self.truth)
        similarity, match = self.truth.new_zeros(count), torch.full((count,), -1)
        if not len(samples):
            return Pairs(similarity, match, self.truth.new_zeros(0))
        table = self.similarity(samples)
        match = assign(table + 2 * (count + 1) * (table >= threshold))
        partner = table.gather(1, match.clamp(min=0)[:, None])[:, 0]
        return Pairs(torch.where(match >= 0, partner, 0.0), match, table.max(0).values)

    def has_images(self) -> bool:
        """Whether SSIM is defined: pictures whose range of values is known to hold the true samples."""
        if self.truth.ndim < 3 or min(self.truth.shape[-2:]) < 2:
            return False
        shown = self._unit(self.truth)
        return bool(torch.isfinite(shown).all() and shown.min() >= -1e-3 and shown.max() <= 1 + 1e-3)

    def ssim(
        self, samples: Float[Tensor, "k ..."], match: Int[Tensor, " n"], *, rescale: bool = False
    ) -> Float[Tensor, " n"]:
        """SSIM of each true image with samples[match], which is stretched to [0, 1]; 0 where match is -1.

        Args:
            samples: model space.
            match: index for each true sample.
            rescale: give every sample the true samples' median norm first, for null samples of no scale of their own.
        """
        values, found = self.truth.new_zeros(len(self.truth)), match >= 0
        if not bool(found.any()):
            return values
        chosen = samples[match[found]]
        if rescale:
            norms = chosen.flatten(1).norm(dim=1).clamp(min=1e-30)
            factor = self.truth.flatten(1).norm(dim=1).median() / norms
            chosen = chosen * factor.reshape(-1, *(1,) * (chosen.ndim - 1))
        if self.group is not None:
            chosen = self.group.align(chosen, self.truth[found])
        values[found] = ssim(_stretch(self._unit(chosen)), self._unit(self.truth[found]))
        return values

    def _unit(self, z: Tensor) -> Tensor:
        """Images (n, C, H, W) in [0, 1] where the data's range is the space's."""
        space = self.space or InputSpace()
        return ((space.to_data(z) - space.low) / space.width).reshape(len(z), -1, *z.shape[-2:])


def _stretch(images: Tensor) -> Tensor:
    """Each image from its smallest to its largest value over all channels to [0, 1] (2206.07758's figures)."""
    flat = images.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    return ((flat - low) / (high - low).clamp(min=1e-12)).reshape(images.shape)
