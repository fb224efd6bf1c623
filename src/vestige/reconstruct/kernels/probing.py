"""What the first answers of a model tell: whether they are scores, how precise they are, and their constant part."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.kernels.black_box import BlackBox, Scores, as_scores
from vestige.reconstruct.kernels.functions import Exponential, Gaussian, Kernel, Laplace
from vestige.reconstruct.kernels.journal import Journal

PROBES = 16
SAME_MODEL = 1e-6  # relative difference up to which two answers to one query are those of one model
SINGLE = 4e-8  # rounding of single precision, root mean square, relative
SMALLEST_SINGLE = 1.4e-45
UNKNOWN_FAR = 1e8  # where every Gaussian is zero, for a bandwidth that is not known


def probe(
    box: BlackBox, kernel: Kernel, center: Float[Tensor, " d"], draw: torch.Generator
) -> tuple[Float[Tensor, " out"], tuple[str, ...]]:
    """Ask about a few inputs near the center, and far away; the box then knows how to read the answers.

    Returns:
        The constant part of the scores, and what the reader must know of their precision.

    Raises:
        ValueError: answers that are classes or probabilities, another kernel, or a model that refuses the queries.
    """
    unit = torch.randn(PROBES, box.n_features, generator=draw, dtype=torch.float64)
    answers = _first_answers(box, center + min(_spread(kernel, center), box.reach / (2 * len(center) ** 0.5)) * unit)
    warning = _read_precision(box, answers)
    if box.scores is Scores.LOG:
        box.log_scale = float(answers.max())
    box.offset = torch.zeros(answers.shape[1], dtype=torch.float64)
    if isinstance(kernel, Gaussian | Laplace) and box.scores is not Scores.LOG and box.reach == torch.inf:
        box.offset = _constant(box, kernel, center, unit[:3])
    return box.offset, () if warning is None else (warning,)


def _spread(kernel: Kernel, center: Tensor) -> float:
    """Of the first queries: as far as the kernel reaches, where that is known."""
    if isinstance(kernel, Gaussian) and kernel.gamma is None:
        return 1e-3 * max(1.0, float(center.norm())) / len(center) ** 0.5
    return (kernel.rate * len(center)) ** -0.5 if isinstance(kernel, Gaussian | Exponential) else 1.0


def _first_answers(box: BlackBox, probes: Tensor) -> Tensor:
    """The first query is asked even where the journal knows its answer: another answer means another model."""
    answer, box.takes_tensors = _trial(box.predict, probes)
    box.used += 1 + box.takes_tensors  # the trial asked too
    if box.journal.checkpoint is not None:
        _recognize(box.journal, probes[:1], as_scores(answer, 1))
    answers = box.answers(probes)
    _refuse_no_scores(answers)
    return answers


def _read_precision(box: BlackBox, answers: Tensor) -> str | None:
    """Set the rounding noise of the box; a warning where answers were cut short."""
    if bool((answers == answers.float().double()).all()):
        box.floor, box.quantum = SINGLE, SMALLEST_SINGLE
        return "The scores are in single precision: their rounding limits how exact the points can be."
    decimals = decimals_of(answers)
    if decimals is None:
        return None
    box.quantum = 0.29 * 10.0**-decimals  # standard deviation of a rounding error, for a step of 10^-decimals
    return f"The scores are rounded to {decimals} decimals, which limits how exact the points can be."


def _constant(box: BlackBox, kernel: Gaussian | Laplace, center: Tensor, directions: Tensor) -> Tensor:
    """The scores where the kernel is zero for every point."""
    distance = UNKNOWN_FAR
    if kernel.gamma is not None:
        extent = 800 / kernel.gamma if isinstance(kernel, Laplace) else (800 / kernel.gamma) ** 0.5
        distance = 3 * extent + 3 * float(center.norm())
    far = center + distance * directions / directions.norm(dim=1, keepdim=True)
    constant = box.read(box.answers(far))
    if not bool((constant - constant[0]).abs().max() <= 1e-9 * constant.abs().max() + box.quantum * 4):
        raise ValueError(
            f"far from every point the scores are not constant; for a {type(kernel).__name__} kernel they must be. Is "
            "it another kernel, or are the scores votes (scores='votes' for SVC with three classes and more)?"
        )
    return constant[0]


def _recognize(journal: Journal, z: Tensor, answer: Tensor) -> None:
    """Whether the model answers as the journal's did; if not, the journal starts anew."""
    before = journal.recall(z)
    if before is not None and before.shape == answer.shape and torch.allclose(before, answer, rtol=SAME_MODEL, atol=0):
        return
    journal.read = 0
    journal.forget()
    journal.add(z, answer)


def _trial(predict: Callable[[Any], Any], probes: Tensor) -> tuple[Any, bool]:
    """The answer to one query, and whether it had to be asked as a tensor: an array did not do."""
    try:
        return predict(probes[:1].numpy()), False
    except Exception as error:
        try:
            return predict(probes[:1]), True
        except Exception as second:
            raise ValueError(
                f"predict does not take rows of {probes.shape[1]} numbers, neither as a numpy array ({error}) nor as a "
                f"tensor ({second}). Is input_shape right?"
            ) from second


def _refuse_no_scores(answers: Tensor) -> None:
    if bool((answers == answers.round()).all()):
        what = "one constant" if bool((answers == answers[0]).all()) else "whole numbers only"
        raise ValueError(
            f"predict returned {what} at {len(answers)} random queries: classes or votes, where real scores are "
            "needed. Hand over decision_function of an SVC, predict of KernelRidge, score_samples of KernelDensity. "
            "Or is every score zero because the data lie far from zero? Then give their center."
        )
    sums = answers.sum(1)
    inside = bool((answers >= 0).all()) and bool((answers <= 1).all())
    if answers.shape[1] > 1 and inside and bool(((sums - 1).abs() <= 1e-6).all()):
        raise ValueError(
            "predict returned probabilities (rows in [0, 1] that sum to 1); they are not a sum of kernels. "
            "Hand over the scores before them, such as decision_function."
        )


def decimals_of(values: Tensor) -> int | None:
    """How many decimals the values were rounded to; None where they were not.

    >>> decimals_of(torch.tensor([0.125, 1.5], dtype=torch.float64)), decimals_of(torch.tensor([1 / 3]).double())
    (3, None)
    """
    for k in range(14):
        scaled = values * 10.0**k
        if bool(((scaled - scaled.round()).abs() <= 1e-15 * scaled.abs() + 1e-300).all()):
            return k
    return None
