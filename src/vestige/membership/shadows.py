"""Peers that train networks of their own to see what a sample does to its confidence: LiRA and RMIA.

LiRA (arXiv 2112.03570) compares the confidence with Gaussians of networks trained with and without the sample; RMIA
(arXiv 2312.03262) compares a ratio of probabilities with that of other samples. LiRA's variances are shared by all
samples, which few networks need.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from vestige.core.outcome import OnStep, Step
from vestige.core.rng import spawn
from vestige.membership.thresholds import confidences, outputs_of

Train = Callable[[Tensor, Tensor, torch.Generator], nn.Module]  # the target's recipe, on other samples
Inside = Bool[Tensor, "k n"]


def shadow_models(
    train: Train,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, "n ..."],
    *,
    count: int,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> tuple[list[nn.Module], Inside]:
    """Networks trained on random halves, in which each sample is in half of them.

    Args:
        train: makes a network from samples, labels and a generator.
        x: samples to draw from: the candidates for an online attack, others for an offline one.
        y: their labels.
        count: networks, an even number from 2 on.
        generator: draws the halves, and seeds each training.
        on_step: called after each network.

    Returns:
        The networks, and which sample each was trained on.

    Raises:
        ValueError: a count that is odd or below 2.

    >>> models, inside = shadow_models(lambda x, y, g: nn.Identity(), torch.zeros(6, 1), torch.zeros(6), count=4)
    >>> len(models), inside.sum(0).tolist()
    (4, [2, 2, 2, 2, 2, 2])
    """
    if count < 2 or count % 2:
        raise ValueError(f"count={count} given; an even number from 2 on puts each sample into half of the networks.")
    draw = torch.rand(count, len(x), generator=spawn(generator, "halves"))
    inside = draw.argsort(0).argsort(0) < count // 2
    models = []
    for k, chosen in enumerate(inside):
        where = chosen.nonzero().flatten().to(x.device)
        models.append(train(x[where], y[where], spawn(generator, "shadow", str(k))))
        if on_step is not None:
            on_step(Step(k + 1, count, math.nan, "training shadow networks"))
    return models, inside


def lira_scores(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, "n ..."],
    *,
    shadows: Sequence[nn.Module],
    inside: Inside | None = None,
    offline: bool = False,
    batch_size: int = 256,
) -> Float[Tensor, " n"]:
    """Likelihood ratio of a sample's confidence between networks that were trained on it and those that were not.

    Args:
        model: the trained network.
        x: candidates, model space.
        y: their labels.
        shadows: networks trained by the same recipe, at least two.
        inside: which candidates each of them was trained on; None: none.
        offline: look only at the networks without the sample; the score is the number of standard deviations above
            them. So it is where `inside` is None.
        batch_size: samples that are run together; memory only.

    Raises:
        ValueError: fewer than two networks, or a sample that is in all or in none of them.

    >>> logit = lambda a: nn.Linear(1, 1).requires_grad_(False).apply(lambda m: (m.weight.fill_(a), m.bias.zero_()))
    >>> one, y = torch.ones(1, 1), torch.tensor([1])
    >>> lira_scores(logit(5.0), one, y, shadows=[logit(1.0), logit(3.0)]).tolist()  # (5 - 2) / 1
    [3.0]
    """
    target, seen = _confidences(model, x, y, batch_size), _of_shadows(shadows, x, y, batch_size)
    inside = torch.zeros(seen.shape, dtype=torch.bool) if inside is None else inside
    within, online = _checked(inside, seen), bool(inside.any()) and not offline
    mean_out, variance_out = _gaussian(seen, ~within)
    below = (target - mean_out) / variance_out.sqrt()
    if not online:
        return below
    mean_in, variance_in = _gaussian(seen, within)
    above = (target - mean_in) / variance_in.sqrt()
    return (below.square() - above.square() + variance_out.log() - variance_in.log()) / 2


def rmia_scores(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, "n ..."],
    *,
    shadows: Sequence[nn.Module],
    reference: tuple[Float[Tensor, "m ..."], Shaped[Tensor, "m ..."]],
    inside: Inside | None = None,
    offline: bool = False,
    slope: float = 0.3,
    factor: float = 2.0,
    batch_size: int = 256,
) -> Float[Tensor, " n"]:
    """Share of the population z with p(x | model) / p(x) >= factor * p(z | model) / p(z).

    Args:
        model: the trained network.
        x: candidates, model space.
        y: their labels.
        shadows: networks trained by the same recipe, at least two.
        reference: the population z.
        inside: which candidates each shadow was trained on; None: none.
        offline: look only at the networks without the sample, p(x) = ((1 + a) p_out + 1 - a) / 2. So it is where
            `inside` is None.
        slope: a, between 0 and 1; the authors take 0.3 for CIFAR-10.
        factor: gamma, at least 1.
        batch_size: samples that are run together; memory only.

    Raises:
        ValueError: fewer than two networks, a sample that is in all or in none of them, options out of range.
    """
    if not (0 <= slope <= 1 and factor >= 1):
        raise ValueError(f"slope={slope} and factor={factor} given; slope must be in [0, 1] and factor at least 1.")

    def ratios(samples: Tensor, labels: Tensor, within: Tensor | None) -> Tensor:
        p = _of_shadows(shadows, samples, labels, batch_size).sigmoid()
        held = torch.zeros(p.shape, dtype=torch.bool, device=p.device) if within is None else _checked(within, p)
        without = _mean(p, ~held)
        if within is None or offline:
            mean = ((1 + slope) * without + 1 - slope) / 2
        else:
            mean = (_mean(p, held) + without) / 2
        return _confidences(model, samples, labels, batch_size).sigmoid() / mean.clamp(min=1e-300)

    others = ratios(*reference, None).sort().values
    return torch.searchsorted(others, ratios(x, y, inside) / factor, right=True).double() / len(others)


def _confidences(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Tensor:
    rows = outputs_of(model, x, batch_size)
    return confidences(rows, y.to(rows.device))


def _of_shadows(shadows: Sequence[nn.Module], x: Tensor, y: Tensor, batch_size: int) -> Tensor:
    if len(shadows) < 2:
        raise ValueError(f"{len(shadows)} shadow networks given; at least two are needed for a variance.")
    return torch.stack([_confidences(shadow, x, y, batch_size) for shadow in shadows])


def _checked(inside: Tensor, seen: Tensor) -> Tensor:
    if inside.shape != seen.shape:
        raise ValueError(f"inside has shape {tuple(inside.shape)}; {tuple(seen.shape)} is needed, a row a network.")
    bad = int((inside.all(0) | (~inside.any(0) & inside.any())).sum())
    if bad:
        raise ValueError(
            f"{bad} samples are in all or in none of the shadow networks, so that one side has no confidence. Train "
            "more, or draw them by shadow_models."
        )
    return inside.to(seen.device)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum(0) / where.sum(0)


def _gaussian(values: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of each sample, and the variance about it that all share."""
    mean = _mean(values, where)
    return mean, ((values - mean).square() * where).sum() / where.sum().clamp(min=1) + 1e-300
