"""Error of interpolating models against the noise in their labels: benign, tempered or catastrophic (arXiv 2305.15141).

Every true label is +1, and each training label is flipped with probability p. A model that fits them all is judged on
new inputs, where an output of at most 0 is an error. With err = a p^b over the levels of noise,

    benign        err is far below p at every level,
    tempered      err falls with p and is far below it at no level, with b between 1/2 and 5, the exponents of the
                  theorems for one dimension,
    catastrophic  it does not: b is below 1/2.

Inputs are uniform in [0, 1] for one dimension, and on the unit sphere for more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import clone
from torch import Tensor

from vestige.core.cite import Paper, paper
from vestige.core.outcome import OnStep, Step
from vestige.core.rng import spawn
from vestige.landscape.overfitting.exponents import Exponent, Overfitting, fitted_exponent, judged

PAPER = paper("2305.15141")
CHUNK = 4_000_000  # numbers of test inputs that are held together

Predictor = Callable[[Tensor], Tensor]


@runtime_checkable
class Estimator(Protocol):
    """What scikit-learn calls a classifier."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> object:
        """Learn from (n, d) inputs and n labels."""


Fit = Estimator | Callable[[Tensor, Tensor], Predictor]


class NotInterpolating(ValueError):
    """A model that does not fit all its labels says nothing about overfitting."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OverfittingProfile:
    """Error on new inputs for every dimension, size and level of noise.

    Attributes:
        dims: d.
        sizes: m, training samples.
        noise_levels: p.
        error: share of new inputs with an output of at most 0.
        flipped: share of training labels that were flipped in fact.
        margin: smallest y N(x) of the training samples.
        exponents: a and b of err = a p^b for each dimension and size, with intervals.
        verdicts: for each dimension at the largest size.
        warnings: what a reader must know.
        source: the paper.
    """

    dims: tuple[int, ...]
    sizes: tuple[int, ...]
    noise_levels: tuple[float, ...]
    error: Float[Tensor, "dims sizes levels repeats"]
    flipped: Float[Tensor, "dims sizes levels repeats"]
    margin: Float[Tensor, "dims sizes levels repeats"]
    exponents: tuple[tuple[Exponent, ...], ...]
    verdicts: tuple[Overfitting, ...]
    warnings: tuple[str, ...]
    source: tuple[Paper, ...] = (PAPER,)


def overfitting_profile(
    fit: Fit,
    *,
    noise_levels: Sequence[float] = (0.1, 0.2, 0.3),
    dims: Sequence[int] = (1,),
    sizes: Sequence[int] = (100,),
    repeats: int = 5,
    test_samples: int = 4000,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> OverfittingProfile:
    """Fit noisy labels and measure what the model makes of new inputs.

    Args:
        fit: a scikit-learn classifier, which is cloned, or a function of inputs (m, d) and labels in {-1, 1} that
            returns a function (such as a module) from inputs to one output each.
        noise_levels: probabilities p of a flip, in (0, 1/2), increasing.
        dims: dimensions of the inputs.
        sizes: numbers of training samples.
        repeats: independent samples of each; an interval needs 2, and is wide then.
        test_samples: new inputs.
        generator: of samples; None for seed 0.
        on_step: called after every fit; its value is the error.

    Returns:
        All errors, exponents with 95 % intervals over the repeats, and a verdict for each dimension.

    Raises:
        NotInterpolating: a model does not fit one of its labels; a ValueError too.
        ValueError: levels outside (0, 1/2), or so small that no label is flipped; sizes, dimensions or repeats below 1.

    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> found = overfitting_profile(KNeighborsClassifier(1))  # repeats every wrong label: err = p
    >>> str(found.verdicts[0]), bool(abs(found.error.mean((0, 1, 3)) - torch.tensor([0.1, 0.2, 0.3])).max() < 0.06)
    ('tempered', True)
    """
    levels, dims, sizes = tuple(noise_levels), tuple(dims), tuple(sizes)
    _check(levels, dims, sizes, repeats, test_samples)
    shape = (len(dims), len(sizes), len(levels), repeats)
    error, flipped, margin = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))
    total = error.numel()
    for count, place in enumerate(np.ndindex(shape), 1):
        d, m, p = dims[place[0]], sizes[place[1]], levels[place[2]]
        draw = spawn(generator, "overfitting", str(d), str(m), str(p), str(place[3]))
        x = _inputs(d, m, draw)
        y = torch.where(torch.rand(m, generator=draw, dtype=torch.float64) < p, -1, 1)
        predict = _fitted(fit, x, y)
        fits = y * predict(x)
        if not bool((fits > 0).all()):
            raise NotInterpolating(
                f"The model fits {float((fits > 0).double().mean()):.1%} of {m} training labels in {d} dimensions with "
                f"noise {p}; all are needed. Train longer, or take more neurons, or no regularization."
            )
        error[place] = _error(predict, d, test_samples, draw)
        flipped[place], margin[place] = (y < 0).double().mean(), fits.min()
        if on_step is not None:
            on_step(Step(count, total, float(error[place]), f"d = {d}, m = {m}, noise {p}"))
    return _judged(levels, dims, sizes, error, flipped, margin, test_samples)


def _judged(
    levels: tuple[float, ...],
    dims: tuple[int, ...],
    sizes: tuple[int, ...],
    error: Tensor,
    flipped: Tensor,
    margin: Tensor,
    test_samples: int,
) -> OverfittingProfile:
    floor = 0.5 / test_samples
    exponents = tuple(
        tuple(fitted_exponent(levels, error[i, j], floor=floor) for j in range(len(sizes))) for i in range(len(dims))
    )
    last = max(range(len(sizes)), key=lambda j: sizes[j])
    verdicts = tuple(judged(levels, error[i, last], exponents[i][last]) for i in range(len(dims)))
    repeats, warnings = error.shape[-1], []
    if repeats < 2:
        warnings.append("One repeat only: there is no interval, and no verdict.")
    elif repeats < 5:
        warnings.append(f"{repeats} repeats: the intervals are wide.")
    unflipped = int((flipped == 0).sum())
    if unflipped:
        warnings.append(f"{unflipped} of {flipped.numel()} samples had no wrong label by chance.")
    return OverfittingProfile(
        dims=dims,
        sizes=sizes,
        noise_levels=levels,
        error=error,
        flipped=flipped,
        margin=margin,
        exponents=exponents,
        verdicts=verdicts,
        warnings=tuple(warnings),
    )


def _check(
    levels: tuple[float, ...], dims: tuple[int, ...], sizes: tuple[int, ...], repeats: int, test_samples: int
) -> None:
    if not (len(levels) >= 1 and all(0 < p < 0.5 for p in levels) and list(levels) == sorted(set(levels))):
        raise ValueError(
            f"noise_levels={list(levels)} given; increasing probabilities in (0, 1/2) are needed. Without noise there "
            "is nothing to overfit."
        )
    if not (dims and sizes and min(dims) >= 1 and min(sizes) >= 1 and repeats >= 1 and test_samples >= 1):
        raise ValueError(
            f"dims={list(dims)}, sizes={list(sizes)}, repeats={repeats}, test_samples={test_samples} given; all must "
            "be at least 1."
        )
    if min(sizes) * levels[0] < 1:
        raise ValueError(
            f"{min(sizes)} samples with noise {levels[0]} given: less than one flipped label is expected. Take more "
            "samples or more noise."
        )


def _inputs(d: int, count: int, draw: torch.Generator) -> Tensor:
    if d == 1:
        return torch.rand(count, 1, generator=draw, dtype=torch.float64)
    x = torch.randn(count, d, generator=draw, dtype=torch.float64)
    return x / x.norm(dim=1, keepdim=True)


def _fitted(fit: Fit, x: Tensor, y: Tensor) -> Predictor:
    """One output for each input, above 0 for the label +1."""
    if not isinstance(fit, Estimator):
        found = fit(x, y)

        def outputs(inputs: Tensor) -> Tensor:
            with torch.no_grad():
                return found(inputs).reshape(len(inputs)).double()

        return outputs
    model = clone(fit).fit(x.numpy(), y.numpy())  # type: ignore[attr-defined]
    if hasattr(model, "decision_function"):
        return lambda inputs: torch.from_numpy(np.asarray(model.decision_function(inputs.numpy()), dtype=np.float64))
    return lambda inputs: torch.from_numpy(np.asarray(model.predict(inputs.numpy()), dtype=np.float64))


def _error(predict: Predictor, d: int, count: int, draw: torch.Generator) -> float:
    """Share of outputs that are not above 0; NaN counts as an error."""
    size, wrong = max(1, CHUNK // d), 0
    for first in range(0, count, size):
        wrong += int((~(predict(_inputs(d, min(size, count - first), draw)) > 0)).sum())
    return wrong / count
