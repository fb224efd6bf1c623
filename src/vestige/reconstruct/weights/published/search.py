"""The published attack, as its authors run it: for comparison, and as the reference that any other must beat.

50,000 steps of gradient descent with momentum on equation (1) of `published.objective`, with two
step sizes, from one random start (arXiv 2206.07758, 2305.03350, 2307.01827, and their public code). Left out is what
looks at the training data: the code's early stop and its choice of the best run.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vestige.core.descent import Checkpoint, Descent
from vestige.core.margins import Loss
from vestige.core.outcome import OnStep, Outcome, Step
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
    weight_decay: float | int | None = None,
    box: tuple[Tensor | float | int, Tensor | float | int] | None = None,
    span: bool = False,
    generator: torch.Generator,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> PublishedRun:
    """Minimise the objective from one random start, x ~ N(0, init_scale^2) and lambda ~ U[0, 1] (general: N(0, 1)).

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
        objective: None for "general" where weight decay or a regression loss trained the model, otherwise "binary" or
            "multiclass" by its number of outputs.
        weight_decay: that trained the model, if any.
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
    like = next(model.parameters())
    problem = published_objective(
        model,
        input_shape,
        candidates=candidates,
        loss=loss,
        lambda_min=lambda_min,
        sharpness=sharpness,
        objective=objective,
        weight_decay=weight_decay,
        box=box,
        span=span,
    )
    shape = input_shape if problem.basis is None else problem.basis.shape[1:]
    x = torch.randn(candidates, *shape, generator=generator, dtype=like.dtype) * init_scale
    draw = torch.randn if problem.objective == "general" else torch.rand
    multipliers = draw(candidates, *problem.free, generator=generator, dtype=like.dtype)
    state = [x.to(like.device), multipliers.to(like.device)]
    (x, multipliers), done, outcome = _descend(
        problem, state, (float(lr_x), float(lr_lambda)), steps, on_step, checkpoint
    )
    terms = {name: float(term.detach()) for name, term in problem.residuals(x, multipliers).items()}
    square = {name: max(float(value.square().sum()), 1e-300) for name, value in problem.theta.items()}
    return PublishedRun(
        candidates=problem.inputs(x),
        multipliers=multipliers,
        labels=problem.labels,
        cotangents=problem.cotangents(x, multipliers),
        residual=sum(terms.values()) / sum(square.values()),
        residual_per_layer={name: term / square[name] for name, term in terms.items()},
        steps=done,
        outcome=outcome,
    )


def _descend(
    problem: Published,
    state: list[Tensor],
    rates: tuple[float, float],
    steps: int,
    on_step: OnStep | None,
    checkpoint: Checkpoint | None,
) -> tuple[list[Tensor], int, Outcome]:
    variables = [part.requires_grad_() for part in state]
    groups = [{"params": [v], "lr": rate} for v, rate in zip(variables, rates, strict=True)]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM)
    descent = Descent(variables, optimizer, checkpoint)
    done = descent.resume()
    good = [v.detach().clone() for v in variables]
    for k in range(done, steps):
        value = problem.value(*variables)
        slopes = torch.autograd.grad(value, variables)
        if not all(bool(torch.isfinite(part).all()) for part in (value, *slopes)):
            return good, k + 1, Outcome.NOT_FINITE
        good = [v.detach().clone() for v in variables]
        descent.keep(k)
        for v, slope in zip(variables, slopes, strict=True):
            v.grad = slope
        optimizer.step()
        if on_step is not None:
            on_step(Step(k + 1, steps, float(value.detach())))
    last = [v.detach() for v in variables]
    if all(bool(torch.isfinite(v).all()) for v in last):
        return last, steps, Outcome.BUDGET_SPENT
    return good, steps, Outcome.NOT_FINITE


def _check_positive(given: dict[str, float | int]) -> None:
    for name, value in given.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name}={value} given; a positive number is needed. See published_settings.")
