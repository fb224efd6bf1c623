"""Approximate methods that descend an objective of their own with Adam: NegGrad+, random labels, SalUn, SCRUB.

The same form as in `vestige.unlearning.baselines`: full batch, and not the published code with its schedules.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vestige.core.descent import Descent, fit
from vestige.core.margins import Loss, as_rows, loss_value, predict, signs
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn
from vestige.unlearning.baselines import Baseline, eval_copy, in_modes_of
from vestige.unlearning.request import Forget, forgotten_and_retained

TINY = 1e-30  # eps of Adam: gradients at memorized samples are far below its usual 1e-8


def neggrad_plus(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    forget: Forget,
    *,
    loss: Loss | str,
    weight: float = 0.5,
    steps: int = 50,
    learning_rate: float = 1e-3,
    on_step: OnStep | None = None,
) -> Baseline:
    """Adam on mean loss of the retained - weight * mean loss of the forgotten (NegGrad+).

    Args:
        model: the trained network.
        x: all training samples, model space.
        y: their labels.
        forget: positions, or a mask.
        loss: of the training.
        weight: of the ascent on forgotten samples; their loss is unbounded, so too many steps forget everything.
        steps: of Adam.
        learning_rate: of Adam.
        on_step: progress.
    """
    index, kept = forgotten_and_retained(forget, len(x))

    def objective(net: nn.Module, _k: int) -> Tensor:
        return loss_value(net(x[kept]), y[kept], loss) - weight * loss_value(net(x[index]), y[index], loss)

    return _descended(model, x, index, objective, steps, learning_rate, on_step)


def random_labels(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    forget: Forget,
    *,
    loss: Loss | str,
    steps: int = 50,
    learning_rate: float = 1e-3,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Baseline:
    """Adam on the data with a wrong label, drawn at random, for each forgotten sample.

    Args:
        model: the trained network.
        x: all training samples, model space.
        y: their labels.
        forget: positions, or a mask.
        loss: of the training.
        steps: of Adam.
        learning_rate: of Adam.
        generator: draws the labels.
        on_step: progress.
    """
    return salun(
        model,
        x,
        y,
        forget,
        loss=loss,
        steps=steps,
        learning_rate=learning_rate,
        share=1.0,
        generator=generator,
        on_step=on_step,
    )


def salun(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    forget: Forget,
    *,
    loss: Loss | str,
    steps: int = 50,
    learning_rate: float = 1e-3,
    share: float = 0.5,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Baseline:
    """`random_labels` on the weights that matter most to the forgotten samples (the idea of SalUn).

    Args:
        model: the trained network.
        x: all training samples, model space.
        y: their labels.
        forget: positions, or a mask.
        loss: of the training.
        steps: of Adam.
        learning_rate: of Adam.
        share: of the weights that may move, those with the largest gradient of the forgotten samples' loss; in (0, 1].
        generator: draws the labels.
        on_step: progress.

    Raises:
        ValueError: a share that is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share} given; the share of the weights that may move must be in (0, 1].")
    index, _ = forgotten_and_retained(forget, len(x))
    wrong = _wrong_labels(model, x, y, index, generator)

    def objective(net: nn.Module, _k: int) -> Tensor:
        return loss_value(net(x), wrong, loss)

    masks = None if share == 1 else _salient(model, x[index], y[index], loss, share)
    return _descended(model, x, index, objective, steps, learning_rate, on_step, masks)


def scrub(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    forget: Forget,
    *,
    loss: Loss | str,
    steps: int = 60,
    ascent_steps: int = 20,
    learning_rate: float = 1e-3,
    on_step: OnStep | None = None,
) -> Baseline:
    """A student departs from its teacher on the forgotten samples and follows it on the others (the idea of SCRUB).

    Args:
        model: the trained network, teacher and start of the student.
        x: all training samples, model space.
        y: their labels.
        forget: positions, or a mask.
        loss: of the training; added on the retained samples.
        steps: of Adam.
        ascent_steps: every other one of the first 2 * this many moves away from the teacher's predictions for the
            forgotten samples (the divergence itself has gradient zero where both agree).
        learning_rate: of Adam.
        on_step: progress.
    """
    index, kept = forgotten_and_retained(forget, len(x))
    teacher = _outputs(model, x)
    predicted = predict(teacher[index])

    def objective(net: nn.Module, k: int) -> Tensor:
        if k % 2 == 0 and k < 2 * ascent_steps:
            return -loss_value(net(x[index]), predicted, loss)
        outputs = net(x[kept])
        return _divergence(teacher[kept], as_rows(outputs)) + loss_value(outputs, y[kept], loss)

    return _descended(model, x, index, objective, steps, learning_rate, on_step)


def _descended(
    model: nn.Module,
    x: Tensor,
    index: Tensor,
    objective: Callable[[nn.Module, int], Tensor],
    steps: int,
    learning_rate: float,
    on_step: OnStep | None,
    masks: list[Tensor] | None = None,
) -> Baseline:
    net = eval_copy(model)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=learning_rate, eps=TINY)
    descent = Descent(optimizer)
    if masks is not None:
        optimizer.register_step_pre_hook(lambda *_: _mask(descent.variables, masks))
    found = fit(lambda k: objective(net, k), descent, steps=steps, on_step=on_step)
    failed = found.outcome is Outcome.NOT_FINITE
    warnings = (f"the objective was not finite at step {len(found.values)}",) if failed else ()
    return Baseline(in_modes_of(model, net), index, len(found.values), found.outcome, warnings)


def _mask(variables: list[Tensor], masks: list[Tensor]) -> None:
    for variable, mask in zip(variables, masks, strict=True):
        variable.grad = None if variable.grad is None else variable.grad * mask


@torch.no_grad()
def _outputs(model: nn.Module, x: Tensor) -> Tensor:
    """In evaluation mode, and with the user's buffers left alone."""
    return as_rows(eval_copy(model)(x))


def _wrong_labels(model: nn.Module, x: Tensor, y: Tensor, index: Tensor, generator: torch.Generator | None) -> Tensor:
    wrong, classes = y.clone(), _outputs(model, x[:1]).shape[1]
    if classes == 1:
        wrong[index] = torch.where(signs(y[index]) > 0, y.min(), y.max()).to(y)
        return wrong
    shift = torch.randint(1, classes, (len(index),), generator=spawn(generator, "labels")).to(y)
    wrong[index] = (y[index] + shift) % classes
    return wrong


def _salient(model: nn.Module, x: Tensor, y: Tensor, loss: Loss | str, share: float) -> list[Tensor]:
    """Of the trainable weights, 1 for this share with the largest gradient and 0 for the others."""
    net = eval_copy(model)
    params = [p for p in net.parameters() if p.requires_grad]
    grads = torch.autograd.grad(loss_value(net(x), y, loss), params, materialize_grads=True)
    sizes = torch.cat([g.abs().reshape(-1) for g in grads])
    limit = sizes.kthvalue(max(1, round((1 - share) * len(sizes)))).values
    return [(g.abs() > limit).to(g) for g in grads]


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Mean KL(teacher | student) of the predicted distributions; a single output is the first of two logits."""
    if teacher.shape[1] == 1:
        teacher, student = (torch.cat([z, torch.zeros_like(z)], 1) for z in (teacher, student))
    return F.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True)
