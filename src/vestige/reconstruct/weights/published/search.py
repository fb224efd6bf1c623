"""The published attack, as its authors run it: for comparison, and as the reference that any other must beat.

50,000 steps of gradient descent with momentum on equation (1) of `published.objective`, with two
step sizes, from one random start (arXiv 2206.07758, 2305.03350, 2307.01827, and their public code). Left out is what
looks at the training data: the code's early stop and its choice of the best run.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vestige.core.descent import Checkpoint, Descent, Fitted, fit
from vestige.core.margins import Loss
from vestige.core.outcome import OnStep, Outcome
from vestige.reconstruct.weights.published.objective import Objective, Published, published_objective
from vestige.reconstruct.weights.published.settings import (
    PUBLISHED,
    PublishedSettings,
    published_settings,
    random_settings,
)

__all__ = [
    "PUBLISHED",
    "PublishedRun",
    "PublishedSettings",
    "published_search",
    "published_settings",
    "random_settings",
]

MOMENTUM = 0.9


@dataclass(frozen=True, eq=False)
class PublishedRun:
    """End of one run.

    Attributes:
        candidates: in model space.
        multipliers: lambda; for "general" one an output.
        labels: class that each candidate was given beforehand, -1 for "general".
        cotangents: c of equation (1).
        residual: first sum of equation (1) over |theta|^2.
        residual_per_layer: its terms, each over that parameter's own square, by name.
        steps: weighted gradients taken.
        outcome: BUDGET_SPENT, or NOT_FINITE with the last finite state.
    """

    candidates: Float[Tensor, "m ..."]
    multipliers: Float[Tensor, " m *free"]
    labels: Int[Tensor, " m"]
    cotangents: Float[Tensor, "m out"]
    residual: float
    residual_per_layer: dict[str, float]
    steps: int
    outcome: Outcome


def published_search(
    model: nn.Module,
    input_shape: tuple[int, ...],
    *,
    candidates: int,
    loss: Loss | str,
    steps: int = 50_000,
    lr_x: float | int,
    lr_lambda: float | int,
    init_scale: float | int,
    lambda_min: float | int,
    sharpness: float | int,
    objective: Objective | None = None,
    box: tuple[Tensor | float | int, Tensor | float | int] | None = None,
    span: bool = False,
    generator: torch.Generator,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> PublishedRun:
    """Minimize the objective from one random start, x ~ N(0, init_scale^2) and lambda ~ U[0, 1] (general: N(0, 1)).

    Args:
        model: a network of nn.ReLU modules; read in its own precision (the papers: float64), left as it is. MLP chains
            take a closed form, others automatic differentiation.
        input_shape: of one input.
        candidates: m; the papers take twice the number of samples. The first m/C of them are given class 0, and so on.
        loss: that trained the model.
        steps: of descent.
        lr_x: step size of the candidates; this and the next four: `published_settings`.
        lr_lambda: step size of the multipliers.
        init_scale: standard deviation of the first candidates.
        lambda_min: least multiplier wanted; not used by "general".
        sharpness: alpha of the smoothed derivative.
        objective: None for "general" where a regression loss trained the model, otherwise "binary" or "multiclass" by
            its number of outputs, with weight decay or without, as the authors have it.
        box: lowest and highest input in model space; None for the papers' [-1, 1] around the mean image.
        span: search in the row space of an MLP's first layer, in which the first sum has its gradients, rather
            than in input space: less work, and not what the papers do.
        generator: source of the start.
        on_step: progress.
        checkpoint: where the state is saved, and read from if there is one.

    Returns:
        The last finite state.

    Raises:
        ValueError: sizes, step sizes, sharpness or box out of range, fewer candidates than classes, or an objective
            that does not fit the number of outputs.
    """
    positive = {"steps": steps, "lr_x": lr_x, "lr_lambda": lr_lambda, "init_scale": init_scale, "sharpness": sharpness}
    _check_positive({"candidates": candidates, **positive})
    problem = published_objective(
        model,
        input_shape,
        candidates=candidates,
        loss=loss,
        lambda_min=lambda_min,
        sharpness=sharpness,
        objective=objective,
        box=box,
        span=span,
    )
    sgd = torch.optim.SGD(_start(problem, candidates, init_scale, (lr_x, lr_lambda), generator), momentum=MOMENTUM)
    descent = Descent(sgd)
    # Published step sizes diverge on other networks; a copy of each step costs a hidden width less than the step.
    how = {"steps": steps, "keep_every": 1, "checkpoint": checkpoint, "on_step": on_step}
    found = fit(lambda _: problem.value(*descent.variables), descent, **how)
    return _result(problem, [v.detach() for v in descent.variables], found)


def _start(
    problem: Published, candidates: int, init_scale: float, rates: tuple[float, float], generator: torch.Generator
) -> list[dict[str, Any]]:
    """Random candidates and multipliers, as groups of an optimizer."""
    like = next(iter(problem.theta.values()))
    shape = problem.shape if problem.basis is None else problem.basis.shape[1:]
    x = torch.randn(candidates, *shape, generator=generator, dtype=like.dtype) * init_scale
    draw = torch.randn if problem.objective == "general" else torch.rand
    multipliers = draw(candidates, *problem.free, generator=generator, dtype=like.dtype)
    pairs = zip((x, multipliers), rates, strict=True)
    return [{"params": [part.to(like.device).requires_grad_()], "lr": float(rate)} for part, rate in pairs]


def _result(problem: Published, state: list[Tensor], found: Fitted) -> PublishedRun:
    x, multipliers = state
    terms = {name: float(term.detach()) for name, term in problem.residuals(x, multipliers).items()}
    square = {name: max(float(value.square().sum()), 1e-300) for name, value in problem.theta.items()}
    return PublishedRun(
        candidates=problem.inputs(x),
        multipliers=multipliers,
        labels=problem.labels,
        cotangents=problem.cotangents(x, multipliers),
        residual=sum(terms.values()) / sum(square.values()),
        residual_per_layer={name: term / square[name] for name, term in terms.items()},
        steps=len(found.values),
        outcome=found.outcome,
    )


def _check_positive(given: dict[str, float | int]) -> None:
    for name, value in given.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name}={value} given; a positive number is needed. See published_settings.")
