"""Landscapes as jobs: one neuron, teacher and student, overfitting; with a run folder and a report if asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vestige.audit.job import Tensors
from vestige.audit.landscape_summary import minima_results, neuron_results, profile_results
from vestige.audit.learners import Learner, learner
from vestige.audit.study import Study, run_study
from vestige.core.choices import ChoiceEnum
from vestige.core.outcome import OnStep
from vestige.core.rng import child
from vestige.landscape.neuron.descent import neuron_descent
from vestige.landscape.neuron.laws import GaussianInputs, RadialInputs
from vestige.landscape.neurons import Neurons
from vestige.landscape.overfitting.sweep import overfitting_profile
from vestige.landscape.teacher_student.search import find_spurious_minima

NEURON, TEACHER, OVERFITTING = ("2001.05205", "2106.01101"), ("2006.01005", "1712.08968"), ("2305.15141",)


class Inputs(ChoiceEnum):
    """Laws of the inputs that a name chooses."""

    GAUSSIAN = "gaussian"
    BALL = "ball"
    SPHERE = "sphere"


def study_neuron(
    *,
    dimension: int = 10,
    bias: float | None = None,
    inputs: Inputs | str = Inputs.GAUSSIAN,
    init_scale: float | int = 0.5,
    restarts: int = 100,
    steps: int = 2000,
    seed: int = 0,
    out: Path | str | None = None,
    on_step: OnStep | None = None,
) -> Study:
    """Start gradient descent of one ReLU neuron in many places, prove what can be proved of each, and see what happens.

    Args:
        dimension: of the inputs.
        bias: of the teacher, whose weights have length 1; None for neurons without biases.
        inputs: "gaussian", "ball" or "sphere" of radius 1.
        init_scale: length of the starting weights; their bias is 0.
        restarts: starts.
        steps: of gradient descent, at most.
        seed: equal seeds give equal results on the same machine.
        out: folder for results and report; None for no files.
        on_step: called as descent goes on.

    Raises:
        ValueError: a dimension, scale or number that is not positive, or a teacher that is 0 on all inputs.
    """
    chosen = Inputs(inputs)
    if not (dimension >= 1 and restarts >= 1 and init_scale > 0):
        raise ValueError(
            f"{dimension} dimensions, {restarts} starts of length {init_scale} given; all must be positive."
        )
    law = (
        GaussianInputs(dimension)
        if chosen is Inputs.GAUSSIAN
        else RadialInputs(dimension, 1.0, chosen is Inputs.SPHERE)
    )
    first = torch.eye(1, dimension, dtype=torch.float64)
    teacher = Neurons(first, None if bias is None else torch.tensor([bias], dtype=torch.float64))

    def work(told: OnStep) -> tuple[dict[str, Any], Tensors]:
        w = torch.randn(restarts, dimension, generator=child(seed, "neuron"), dtype=torch.float64)
        w = init_scale * w / w.norm(dim=1, keepdim=True)
        start = Neurons(w, None if bias is None else torch.zeros(restarts, dtype=torch.float64))
        found = neuron_descent(start, teacher, law, steps=steps, on_step=told)
        return neuron_results(found, law, teacher, w)

    config = {"dimension": dimension, "bias": bias, "inputs": str(chosen), "init_scale": init_scale}
    return run_study(
        "landscape neuron", NEURON, {**config, "restarts": restarts, "steps": steps, "seed": seed}, work, out, on_step
    )


def study_minima(
    *,
    k: int = 10,
    n: int | None = None,
    restarts: int = 100,
    steps: int = 20_000,
    seed: int = 0,
    out: Path | str | None = None,
    on_step: OnStep | None = None,
) -> Study:
    """Look for minima of n neurons that imitate k orthonormal ones, prove them, and see what one neuron more does.

    Args:
        k: neurons of the teacher.
        n: of the student; None for k.
        restarts: starts.
        steps: of gradient descent, at most.
        seed: equal seeds give equal results on the same machine.
        out: folder for results and report; None for no files.
        on_step: called as descent goes on.

    Raises:
        ValueError: as `vestige.landscape.find_spurious_minima`.
    """

    def work(told: OnStep) -> tuple[dict[str, Any], Tensors]:
        found = find_spurious_minima(
            k, n=n, restarts=restarts, steps=steps, generator=child(seed, "minima"), on_step=told
        )
        return minima_results(found, k, n or k, steps)

    config = {"k": k, "n": n or k, "restarts": restarts, "steps": steps, "seed": seed}
    return run_study("landscape teacher", TEACHER, config, work, out, on_step)


def study_overfitting(
    fit: Learner | str = Learner.MARGIN,
    *,
    noise_levels: Sequence[float] = (0.1, 0.2, 0.3),
    dims: Sequence[int] = (1,),
    sizes: Sequence[int] = (100,),
    repeats: int = 5,
    seed: int = 0,
    out: Path | str | None = None,
    on_step: OnStep | None = None,
) -> Study:
    """Profile the overfitting of a model that a name chooses.

    Args:
        fit: "margin" (the network of largest margin, for one dimension), "network" (two layers, 64 neurons with
            biases), "network_without_bias", or "nearest_neighbor".
        noise_levels: probabilities that a label is flipped.
        dims: dimensions of the inputs.
        sizes: numbers of training samples.
        repeats: independent samples of each.
        seed: equal seeds give equal results on the same machine.
        out: folder for results and report; None for no files.
        on_step: called after every fit.

    Raises:
        ValueError: as `vestige.landscape.overfitting_profile`, or "margin" with more dimensions than one.
    """
    chosen = Learner(fit)
    if chosen is Learner.MARGIN and tuple(dims) != (1,):
        raise ValueError(f"margin given for dims={list(dims)}; its linear program is for 1 only. Take network.")

    def work(told: OnStep) -> tuple[dict[str, Any], Tensors]:
        found = overfitting_profile(
            learner(chosen), noise_levels=noise_levels, dims=dims, sizes=sizes, repeats=repeats,
            generator=child(seed, "overfit"), on_step=told,
        )  # fmt: skip
        return profile_results(found, chosen)

    config = {"fit": str(chosen), "noise_levels": list(noise_levels), "dims": list(dims), "sizes": list(sizes)}
    return run_study("overfit", OVERFITTING, {**config, "repeats": repeats, "seed": seed}, work, out, on_step)
