"""Samples that know nothing of the weights, in the place of reconstructions: what a score must be compared with.

The noise has the mean and the spread of real samples, so that what it reaches is more than noise around zero would;
around a single sample, which would be its own mean, it is noise around zero of the sample's size.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vestige.core.metrics import best_match, false_positive_rate, threshold
from vestige.core.rng import child
from vestige.reconstruct.scoring.similarity import Comparison

GOOD_SSIM = 0.4  # the papers' threshold (2307.01827)
GRID = 8  # pixels between the nodes of low-frequency noise
POOL = 4_000  # samples of one kind of noise that set a threshold, at most
DRAWS = 20  # of null samples over which the null rate of SSIM is averaged
CURVE = 100  # points of a curve, about


def built_in_nulls(
    truth: Float[Tensor, "n ..."], size: int, *, like: Float[Tensor, "h ..."] | None = None
) -> dict[str, Float[Tensor, "k ..."]]:
    """White noise, low-frequency noise (images only), the truth with its pixels permuted, and the truth's mean.

    Args:
        truth: true samples, model space.
        size: how many samples of each kind; the mean, which knows the truth, is one.
        like: samples whose mean and spread the noise has; None takes the truth, which few samples make an oracle of.

    Returns:
        Samples by the name of their kind; the same ones in every call.
    """
    like = truth if like is None else like
    mean, spread = like.mean(0, keepdim=True), like.std(0, correction=0, keepdim=True)
    if len(like) == 1:  # a single sample is its own mean: noise of its size instead
        mean, spread = torch.zeros_like(mean), like.square().mean().sqrt()
    kinds = {"white noise": mean + spread * _draw("white", size, truth)}
    if truth.ndim >= 3:
        kinds["low-frequency noise"] = mean + spread * _smooth(size, truth)
    kinds["permuted truth"] = _permuted(size, truth)
    mean = truth.mean(0, keepdim=True)
    # The mean of centered data is rounding noise: it has no direction to be compared. That of one sample is no null.
    centered = len(truth) == 1 or bool(mean.norm() < 1e-6 * truth.flatten(1).norm(dim=1).mean())
    kinds["mean of the truth"] = torch.zeros_like(mean) if centered else mean
    return kinds


def _draw(name: str, size: int, truth: Tensor) -> Tensor:
    shape = (size, *truth.shape[1:])
    return torch.randn(shape, generator=child(0, "null", name), dtype=torch.float64).to(truth)


def _smooth(size: int, truth: Tensor) -> Tensor:
    height, width = truth.shape[-2:]
    grid = [max(2, side // GRID) for side in (height, width)]
    nodes = torch.randn(
        (size, truth[0].numel() // (height * width), *grid), generator=child(0, "null", "smooth"), dtype=torch.float64
    )
    field = F.interpolate(nodes, size=(height, width), mode="bicubic", align_corners=True)
    return field.reshape(size, *truth.shape[1:]).to(truth)


def _permuted(size: int, truth: Tensor) -> Tensor:
    flat = truth.flatten(1)[torch.arange(size, device=truth.device) % len(truth)]
    order = torch.rand(flat.shape, generator=child(0, "null", "permuted"), dtype=torch.float64).argsort(1)
    return flat.gather(1, order.to(flat.device)).reshape(size, *truth.shape[1:])


@dataclass(frozen=True)
class NullScore:
    """What samples that are not reconstructions reach.

    Attributes:
        name: of the kind.
        count: how many were offered.
        n_recovered: true samples that would have counted as recovered.
        ssim_count: true samples above the papers' threshold, None where samples are not images.
        median: over the true samples, of the similarity to the nearest null sample.
        max: the largest of them.
    """

    name: str
    count: int
    n_recovered: int
    ssim_count: int | None
    median: float
    max: float


@dataclass(frozen=True, eq=False)
class Chance:
    """What the best of `size` unrelated samples reaches.

    Attributes:
        samples: the unrelated samples.
        similarity: of the true samples to them.
        size: how many of them stand against one set of reconstructions.
        threshold: similarity that the best of `size` reaches with probability `rate` at most.
        warnings: why that may be wrong.
    """

    samples: Float[Tensor, "h ..."]
    similarity: Float[Tensor, "n h"]
    size: int
    threshold: float
    warnings: tuple[str, ...]

    def curves(self, similarity: Float[Tensor, " n"]) -> tuple[Float[Tensor, " t"], Float[Tensor, " t"]]:
        """True and false positive rate over thresholds, from the strictest to one that everything passes."""
        levels = similarity.unique()
        if len(levels) > CURVE:
            levels = levels[torch.linspace(0, len(levels) - 1, CURVE).round().long()]
        levels = torch.cat([levels, levels.new_tensor([self.threshold])]).unique().flip(0)
        true = (similarity >= levels[:, None]).double().mean(1)
        false = torch.tensor([false_positive_rate(self.similarity, self.size, float(t)) for t in levels]).to(true)
        ends = true.new_zeros(1), true.new_ones(1)
        return torch.cat([ends[0], true, ends[1]]), torch.cat([ends[0], false, ends[1]])

    def ssim_rate(self, comparison: Comparison) -> float:
        """Share of true samples whose nearest of `size` unrelated ones passes SSIM > 0.4, over disjoint draws."""
        order = torch.randperm(self.similarity.shape[1], generator=child(0, "null", "draws"))
        draws = [part for part in order.split(self.size) if len(part) == self.size][:DRAWS]
        nearest = [draw[self.similarity[:, draw].argmax(1)] for draw in draws]
        return float(
            torch.stack([comparison.ssim(self.samples, match) > GOOD_SSIM for match in nearest]).double().mean()
        )


def chance_from(comparison: Comparison, held_out: Float[Tensor, "h ..."], size: int, rate: float) -> Chance:
    """Chance measured on held-out samples; training samples among them are dropped.

    Raises:
        ValueError: nothing is left.
    """
    table, notes = comparison.similarity(held_out), []
    rows, columns = (table >= 1 - 1e-9).nonzero(as_tuple=True)
    gap = (comparison.truth[rows] - held_out[columns]).flatten(1).abs().amax(1)
    twins = columns[gap <= 1e-6 * comparison.truth[rows].flatten(1).abs().amax(1)].unique()
    if len(twins) == len(held_out):
        raise ValueError("every held-out sample is a training sample; give samples that the model never saw.")
    if len(twins):
        keep = torch.ones(len(held_out), dtype=torch.bool)
        keep[twins] = False
        held_out, table = held_out[keep], table[:, keep]
        notes.append(f"{len(twins)} held-out samples are training samples; they were left out of the null.")
    if len(held_out) < size:
        notes.append(
            f"{size} reconstructions are compared with only {len(held_out)} held-out samples: the threshold is what "
            f"the best of {len(held_out)} reaches, a little too low."
        )
    size = min(size, len(held_out))
    if rate * table.numel() < size:
        notes.append(
            f"{len(held_out)} held-out samples cannot resolve a false positive rate of {rate:g} "
            f"(about {size / table.numel():.2g} at best): the threshold is the largest similarity that chance reached."
        )
    return Chance(held_out, table, size, threshold(table, size, rate), tuple(notes))


def chance_from_noise(comparison: Comparison, size: int, rate: float) -> Chance:
    """Chance measured on the kind of noise that comes nearest; real unrelated samples come nearer still."""
    # n * pool / size independent draws resolve a rate of size / (n * pool).
    pool = max(size, min(POOL, math.ceil(size / (rate * len(comparison.truth)))))
    kinds = built_in_nulls(comparison.truth, pool)
    kinds.pop("mean of the truth")
    note = (
        "No held-out samples: the threshold comes from noise and is optimistic, for unrelated samples of the same "
        "kind come nearer than noise does. Give held_out (--held-out)."
    )
    found = []
    for samples in kinds.values():
        table = comparison.similarity(samples)
        found.append(Chance(samples, table, size, threshold(table, size, rate), (note,)))
    return max(found, key=lambda chance: chance.threshold)


def null_score(name: str, comparison: Comparison, samples: Float[Tensor, "k ..."], threshold: float) -> NullScore:
    """Offer samples that are not reconstructions as if they were."""
    pairs, (best, nearest) = comparison.pair(samples, threshold), best_match(comparison.similarity(samples))
    passed = (
        int((comparison.ssim(samples, nearest, rescale=True) > GOOD_SSIM).sum()) if comparison.has_images() else None
    )
    recovered = int((pairs.similarity >= threshold).sum())
    return NullScore(name, len(samples), recovered, passed, float(best.median()), float(best.max()))
