"""Score a reconstruction against the true samples, and everything against chance.

This is the only place where an attack meets the data. A true sample counts as recovered where its reconstruction is
nearer than the best of as many unrelated images comes except at a stated false positive rate. The papers' criterion,
SSIM > 0.4 after a min-max stretch (arXiv 2206.07758 section 5, 2307.01827), stands beside it with the rate at which
chance passes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vestige.core.cite import Paper, paper
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.nets.groups import Group
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.scoring.nulls import (
    GOOD_SSIM,
    Chance,
    NullScore,
    built_in_nulls,
    chance_from,
    chance_from_noise,
    null_score,
)
from vestige.reconstruct.scoring.similarity import Comparison

SOURCE = (paper("2206.07758"), paper("2307.01827"))


@dataclass(frozen=True, eq=False, kw_only=True)
class ReconstructionScore:
    """What leaked, against the truth and against chance.

    Attributes:
        n_recovered: true samples whose reconstruction reaches the threshold, each with one of its own.
        n_candidates: reconstructions that were offered.
        false_positive_rate: behind the threshold.
        threshold: similarity that the best of `n_candidates` unrelated samples reaches with this probability.
        metric: "NCC" (each channel centered) for images, "cosine" for vectors.
        similarity: of each true sample to its reconstruction; 0 where none was left for it.
        match: index of that reconstruction, -1 for none.
        recovered: which true samples were.
        sample_similarity: of each offered reconstruction, in the order given, to its nearest true sample.
        precision: share of the offered reconstructions that reach the threshold for some true sample.
        ssim: of each true sample and its reconstruction, in data space; None where samples are not images.
        n_ssim: how many are above 0.4.
        ssim_null_rate: share of true samples above 0.4 with unrelated samples instead of reconstructions.
        nulls: the same comparison for samples that are not reconstructions.
        true_rate: share of true samples above each of a falling series of similarities.
        false_rate: chance that the best of `n_candidates` unrelated samples is above it.
        warnings: what the reader should know.
        source: the papers.
    """

    n_recovered: int
    n_candidates: int
    false_positive_rate: float
    threshold: float
    metric: str
    similarity: Float[Tensor, " n"]
    match: Int[Tensor, " n"]
    recovered: Bool[Tensor, " n"]
    sample_similarity: Float[Tensor, " k"]
    precision: float
    ssim: Float[Tensor, " n"] | None
    n_ssim: int | None
    ssim_null_rate: float | None
    nulls: tuple[NullScore, ...]
    true_rate: Float[Tensor, " t"]
    false_rate: Float[Tensor, " t"]
    warnings: tuple[str, ...]
    source: tuple[Paper, ...] = SOURCE


def score_reconstruction(
    reconstruction: Reconstruction,
    x_true: Float[Tensor, "n ..."],
    *,
    null: Mapping[str, Tensor] | None = None,
    held_out: Float[Tensor, "h ..."] | None = None,
    space: InputSpace | None = None,
    false_positive_rate: float = 1e-3,
    group: Group | None = None,
) -> ReconstructionScore:
    """Compare the ranked samples of a reconstruction with the true ones, all in model space.

    True samples and reconstructions are paired one to one, so that most true samples reach the threshold t, where
    P(the best of k unrelated samples reaches t) <= false_positive_rate with k the number of reconstructions, averaged
    over the true samples (`vestige.core.metrics.false_positive_rate`).

    Args:
        reconstruction: from `reconstruct_from_weights`; its `samples` are what is offered.
        x_true: the training samples, model space.
        null: further samples to offer instead, by name, all of them whatever their number: first-layer rows,
            or the samples that the same attack draws from `untrained_like(model)`.
        held_out: samples of the same distribution that the model never saw; they set the threshold. Without them
            noise does, and the threshold is too low.
        space: from data to model space, for SSIM; None stands for data in [0, 1] given as they are.
        false_positive_rate: in (0, 1).
        group: compare modulo it: similarity is the largest over the orbit, for true samples and for every null, so that
            chance is given the same choice; None: as they are.

    Returns:
        The score, on the CPU, in float64.

    Raises:
        ValueError: shapes that differ, no or non-finite true samples, a false positive rate outside (0, 1), or a group
            that does not act on samples of this shape.
    """
    rate = false_positive_rate
    if not 0 < rate < 1:
        raise ValueError(f"false_positive_rate={rate} given; it must lie in (0, 1), such as 1e-3.")
    if group is not None:
        group.check(tuple(x_true.shape[1:]))
    comparison = Comparison(_samples("x_true", x_true), space, group)
    offered = _like(comparison.truth, "the reconstruction's samples", reconstruction.samples)
    finite = torch.isfinite(offered).flatten(1).all(1)
    unseen = None if held_out is None else _like(comparison.truth, "held_out", _samples("held_out", held_out))
    given = {name: _like(comparison.truth, name, _samples(name, part)) for name, part in (null or {}).items()}
    size = max(1, len(offered))
    chance = (
        chance_from_noise(comparison, size, rate) if unseen is None else chance_from(comparison, unseen, size, rate)
    )
    score = _score(comparison, offered, finite, chance, rate)
    return replace(score, nulls=_null_scores(comparison, chance, given, size, unseen is not None))


def _score(comparison: Comparison, offered: Tensor, finite: Tensor, chance: Chance, rate: float) -> ReconstructionScore:
    threshold = chance.threshold
    index = finite.nonzero().flatten()
    pairs = comparison.pair(offered[finite], threshold)
    match = torch.where(pairs.match >= 0, index[pairs.match.clamp(min=0)] if len(index) else -1, -1)
    nearest = pairs.similarity.new_full((len(offered),), -1.0).index_put((index,), pairs.nearest)
    recovered = pairs.similarity >= threshold
    images = comparison.has_images()
    structure = comparison.ssim(offered, match) if images else None
    true_rate, false_rate = chance.curves(pairs.similarity)
    return ReconstructionScore(
        n_recovered=int(recovered.sum()),
        n_candidates=len(offered),
        false_positive_rate=rate,
        threshold=threshold,
        metric=comparison.metric,
        similarity=pairs.similarity,
        match=match,
        recovered=recovered,
        sample_similarity=nearest,
        precision=float((nearest >= threshold).double().mean()) if len(offered) else 0.0,
        ssim=structure,
        n_ssim=None if structure is None else int((structure > GOOD_SSIM).sum()),
        ssim_null_rate=chance.ssim_rate(comparison) if images else None,
        nulls=(),
        true_rate=true_rate,
        false_rate=false_rate,
        warnings=(*chance.warnings, *_notes(comparison, offered, finite)),
    )


def _null_scores(
    comparison: Comparison, chance: Chance, given: Mapping[str, Tensor], size: int, measured: bool
) -> tuple[NullScore, ...]:
    kinds = built_in_nulls(comparison.truth, size, like=chance.samples if measured else None) | dict(given)
    if comparison.group is not None:
        kinds["symmetrized noise"] = comparison.group.project(kinds["white noise"])
    if measured:
        order = torch.randperm(len(chance.samples), generator=child(0, "null", "offered"))
        kinds = {"held-out samples": chance.samples[order[:size]]} | kinds
    return tuple(null_score(name, comparison, part, chance.threshold) for name, part in kinds.items())


def _notes(comparison: Comparison, offered: Tensor, finite: Tensor) -> list[str]:
    notes = []
    if not len(offered):
        notes.append("The reconstruction offers no samples; nothing could be recovered.")
    if not bool(finite.all()):
        notes.append(f"{int((~finite).sum())} of {len(offered)} reconstructions hold NaN and count as failures.")
    if comparison.truth.ndim >= 3 and not comparison.has_images():
        notes.append("SSIM was left out: the true samples are not within the range of the input space; is space right?")
    return notes


def _samples(name: str, x: Tensor) -> Tensor:
    """As float64 on the CPU."""
    if not x.is_floating_point() or x.ndim < 2 or not x.numel() or not bool(torch.isfinite(x).all()):
        raise ValueError(
            f"{name} has shape {tuple(x.shape)} and dtype {x.dtype}; finite floating samples in model space are "
            "needed, batch first. Did you forget space.to_model, or hand over a single sample?"
        )
    return x.detach().double().cpu()


def _like(truth: Tensor, name: str, x: Tensor) -> Tensor:
    if x.shape[1:] != truth.shape[1:]:
        raise ValueError(
            f"{name} have shape {tuple(x.shape[1:])}, the true samples {tuple(truth.shape[1:])}; they must agree. "
            "Reshape both to the model's input shape."
        )
    return x.detach().double().cpu()
