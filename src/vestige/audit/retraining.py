"""The networks that an unlearning audit trains: the unlearned one some steps further, and one from the start."""

import copy
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from vestige.audit.job import Job, Tensors
from vestige.audit.target import Target
from vestige.audit.training import FIRST_INIT
from vestige.core.rng import child
from vestige.nets.architecture import parse_architecture
from vestige.nets.gradient_descent import Schedule
from vestige.nets.state_dict import ArchitectureError
from vestige.nets.training import DEFAULT_STEPS
from vestige.unlearning.baselines import Baseline, fine_tune, retrain
from vestige.unlearning.unlearned import Erasure, Unlearned

AFFORDABLE = 1800  # seconds, of an estimate from above


def repaired(
    job: Job, target: Target, erased: Unlearned, data: tuple[Tensor, Tensor], *, steps: int
) -> tuple[nn.Module, float]:
    """The network after some training on the other samples, and the seconds that took."""
    if not steps or erased.outcome is Erasure.NOTHING_TO_DO:
        return erased.model, 0.0
    train = partial(fine_tune, erased.model, *data, erased.forgotten, steps=steps, tol_loss=1e-6)
    return _trained(job, "repaired", "repairing", partial(train, **_loss(target)), erased.model)


def retrained(
    job: Job, target: Target, data: tuple[Tensor, Tensor], forget: Tensor, *, seed: int
) -> tuple[nn.Module, float]:
    """A network trained from the start without the forgotten samples, and the seconds that took."""
    train = partial(retrain, target.model, *data, forget, start=_start(target, seed))
    return _trained(job, "again", "retraining", partial(train, **_loss(target)), target.model)


def affordable(
    job: Job, target: Target, data: tuple[Tensor, Tensor], forget: Tensor, asked: bool | None
) -> tuple[bool, float, list[str]]:
    """Whether to retrain, the seconds that takes at most, and what to say where it is left out.

    A job that continues keeps the estimate of its first call, and with it the decision.
    """
    estimate = partial(_seconds, target, data, forget)
    expected = float(job.once("expected", lambda: {"s": torch.tensor(estimate(), dtype=torch.float64)})["s"])
    wanted = expected <= AFFORDABLE if asked is None else asked
    why = "was not asked for" if asked is not None else f"might take {expected / 3600:.2g} hours"
    said = (
        f"No network was retrained: it {why}. Whether the new one is like one that never saw the samples was not "
        "measured; retrain=True, or --retrain, does that."
    )
    return wanted, expected, [] if wanted else [said]


def _seconds(target: Target, data: tuple[Tensor, Tensor], forget: Tensor) -> float:
    """What retraining takes at most: one gradient of the retained samples, timed, times the steps of a training."""
    begun, steps = time.perf_counter(), 5
    partial(retrain, target.model, *data, forget, start=_start(target, 0), steps=steps)(**_loss(target))
    rule = Schedule.ONE_CYCLE if target.weight_decay else Schedule.LOSS_SCALED
    return (time.perf_counter() - begun) / steps * DEFAULT_STEPS[rule]


def _loss(target: Target) -> dict[str, object]:
    return {"loss": target.loss, "weight_decay": target.weight_decay or 0.0}


def _trained(
    job: Job, name: str, phase: str, train: Callable[..., Baseline], like: nn.Module
) -> tuple[nn.Module, float]:
    """A trained network and its seconds; a job that continues takes the weights from its folder."""

    def make() -> Tensors:
        begun = time.perf_counter()
        with job.phase(phase) as on_step:
            state = train(on_step=on_step).model.state_dict()
        seconds = torch.tensor(time.perf_counter() - begun, dtype=torch.float64)
        return {"seconds": seconds, **{f"state.{key}": value for key, value in state.items()}}

    stored = job.once(name, make)
    model = copy.deepcopy(like)
    model.load_state_dict({k.removeprefix("state."): v for k, v in stored.items() if k.startswith("state.")})
    return model.eval(), float(stored["seconds"])


def _start(target: Target, seed: int) -> nn.Module | None:
    """The untrained network of `vestige train`, with the same first weights where the file says its seed."""
    stored = target.loaded.metadata.get("seed", "")
    generator = child(int(stored) if stored.isdecimal() else seed, "train", "init")
    try:
        fresh = parse_architecture(target.loaded.architecture, first_init=FIRST_INIT, generator=generator)
    except ArchitectureError:  # the user's own code: fresh weights for the same module
        return None
    return fresh.to(next(target.model.parameters()))
