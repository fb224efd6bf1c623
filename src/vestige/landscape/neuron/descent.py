"""Gradient descent of one neuron on its population loss, for many starts, with the guarantees checked on the way."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from vestige.core.choices import ChoiceEnum
from vestige.core.cite import Paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import OnStep, Outcome, Step
from vestige.landscape.gaussian.pair import angles
from vestige.landscape.neuron.certificate import PAPERS, Fate, certificates, check_neurons
from vestige.landscape.neuron.laws import GaussianInputs, InputLaw
from vestige.landscape.neurons import Neurons

NUMERICALLY_DEAD = 8.0  # -b / |w| from where on float64 has nothing of a Gaussian tail's square
ROUND = 25  # steps between two looks


class NeuronStatus(ChoiceEnum):
    """How one run of descent ended. Only CONVERGED and DOOMED are proved."""

    CONVERGED = "converged"
    DOOMED = "doomed"
    DEAD = "dead"
    SLOW = "slow"


@dataclass(frozen=True, eq=False, kw_only=True)
class NeuronDescent:
    """Where gradient descent of one neuron ended, from each start.

    Attributes:
        student: the last neurons, (runs, 1, d).
        status: of each run: "converged" to the teacher, "doomed" by a certificate, numerically "dead", or "slow".
        fate: what was proved at the start.
        steps: of each run.
        distance: to the teacher, weights and bias.
        loss: of each run.
        certificate: the loss and the distance to the teacher never rose; for symmetric inputs without biases the angle
            did not either; no run whose success was proved was doomed.
        outcome: CONVERGED where no run is slow.
        source: the papers.
    """

    student: Neurons
    status: tuple[NeuronStatus, ...]
    fate: tuple[Fate, ...]
    steps: Int[Tensor, " runs"]
    distance: Float[Tensor, " runs"]
    loss: Float[Tensor, " runs"]
    certificate: Certificate
    outcome: Outcome
    source: tuple[Paper, ...] = PAPERS

    def count(self, status: NeuronStatus | str) -> int:
        """Runs with this status."""
        return self.status.count(NeuronStatus(status))


def neuron_descent(
    student: Neurons,
    teacher: Neurons,
    law: InputLaw,
    *,
    learning_rate: float = 0.5,
    steps: int = 2000,
    tolerance: float = 1e-6,
    on_step: OnStep | None = None,
) -> NeuronDescent:
    """Gradient descent on the exact population loss of one ReLU neuron, from many starts at once.

    Args:
        student: one neuron a row, (runs, d), with biases (runs,) or without.
        teacher: the neuron to learn, (1, d).
        law: of the inputs.
        learning_rate: below 2 over the largest eigenvalue of E (x, 1)(x, 1)^T, or the loss may rise.
        steps: at most.
        tolerance: distance to the teacher, relative to its length, that counts as converged.
        on_step: called every 25 steps; its value is the share of runs that have ended.

    Returns:
        A status for each run; what is only slow is never called failed.

    Raises:
        ValueError: as `neuron_certificate`, or steps below 1 or a learning rate that is not positive.
    """
    if steps < 1 or not learning_rate > 0:
        raise ValueError(f"steps={steps}, learning_rate={learning_rate} given; both must be positive.")
    here, teacher = check_neurons(student, teacher, law)
    fate = tuple(found.fate for found in certificates(here, teacher, law))
    runs, goal = len(here.weight), tolerance * float(_distance_to_zero(teacher))
    status, taken = [NeuronStatus.SLOW] * runs, torch.full((runs,), steps)
    live, track = torch.arange(runs), _Track(here, teacher, law)
    weight, bias = here.weight.clone(), None if here.bias is None else here.bias.clone()
    for first in range(0, steps, ROUND):
        part = Neurons(weight[live], None if bias is None else bias[live])
        for _ in range(min(ROUND, steps - first)):
            slope = law.gradient(part, teacher)
            part = Neurons(part.weight - learning_rate * slope.weight, _moved(part.bias, slope.bias, learning_rate))
        weight[live] = part.weight
        if bias is not None and part.bias is not None:
            bias[live] = part.bias
        track.look(part, live)
        ended = _ended(part, teacher, law, goal)
        for place, found in ended.items():
            status[int(live[place])], taken[live[place]] = found, first + ROUND
        live = live[[i for i in range(len(live)) if i not in ended]]
        if on_step is not None:
            on_step(Step(min(first + ROUND, steps), steps, 1 - len(live) / runs, "descending"))
        if not len(live):
            break
    return _result(Neurons(weight, bias), teacher, law, status, fate, taken, track)


class _Track:
    """How much loss, distance and angle rose between two looks, at most."""

    def __init__(self, student: Neurons, teacher: Neurons, law: InputLaw):
        self.teacher, self.law = teacher, law
        self.last = self._values(student)
        self.rise = dict.fromkeys(self.last, 0.0)

    def _values(self, student: Neurons) -> dict[str, Tensor]:
        found = {"loss": self.law.loss(student, self.teacher), "distance": _distance(student, self.teacher)}
        if student.bias is None and self.law.symmetric:
            found["angle"] = -angles(student.weight, self.teacher.weight).rest.flatten()
        return found

    def look(self, student: Neurons, live: Tensor) -> None:
        for name, now in self._values(student).items():
            self.rise[name] = max(self.rise[name], float((now - self.last[name][live]).max()))
            self.last[name][live] = now


def _ended(part: Neurons, teacher: Neurons, law: InputLaw, goal: float) -> dict[int, NeuronStatus]:
    """Rows that need no more steps."""
    near = (_distance(part, teacher) <= goal).tolist()
    ended = {}
    for row, found in enumerate(certificates(part, teacher, law)):
        if near[row]:
            ended[row] = NeuronStatus.CONVERGED
        elif found.fate is Fate.DOOMED:
            ended[row] = NeuronStatus.DOOMED
        elif isinstance(law, GaussianInputs) and part.bias is not None:
            if -float(part.bias[row]) > NUMERICALLY_DEAD * float(part.weight[row].norm()):
                ended[row] = NeuronStatus.DEAD
    return ended


def _result(
    student: Neurons,
    teacher: Neurons,
    law: InputLaw,
    status: list[NeuronStatus],
    fate: tuple[Fate, ...],
    taken: Tensor,
    track: _Track,
) -> NeuronDescent:
    broken = sum(f is Fate.LEARNS and s is NeuronStatus.DOOMED for f, s in zip(fate, status, strict=True))
    claims = [Claim(f"rise of the {name}", 1e-9, rise, "one-point convexity") for name, rise in track.rise.items()]
    claims.append(Claim("runs that were proved to learn and ended doomed", 0, broken, "arXiv 2106.01101"))
    return NeuronDescent(
        student=student,
        status=tuple(status),
        fate=fate,
        steps=taken,
        distance=_distance(student, teacher),
        loss=law.loss(student, teacher),
        certificate=Certificate(tuple(claims)),
        outcome=Outcome.BUDGET_SPENT if NeuronStatus.SLOW in status else Outcome.CONVERGED,
    )


def _moved(bias: Tensor | None, slope: Tensor | None, rate: float) -> Tensor | None:
    return None if bias is None or slope is None else bias - rate * slope


def _distance(student: Neurons, teacher: Neurons) -> Tensor:
    gap = (student.weight[:, 0] - teacher.weight[0]).square().sum(-1)
    if student.bias is not None and teacher.bias is not None:
        gap = gap + (student.bias[:, 0] - teacher.bias.reshape(())).square()
    return gap.sqrt()


def _distance_to_zero(teacher: Neurons) -> Tensor:
    return (teacher.weight.square().sum() + (0 if teacher.bias is None else teacher.bias.square().sum())).sqrt()


def neuron_flow(
    student: Float[Tensor, " d"], teacher: Float[Tensor, " d"], times: Float[Tensor, " times"]
) -> tuple[Float[Tensor, " times"], Float[Tensor, " times"]]:
    """Gradient flow of one ReLU neuron without bias over Gaussian inputs: an equation of two numbers.

    With r = |w| and t the angle to a teacher of length 1,

        r' = -r / 2 + (sin t + (pi - t) cos t) / 2 pi,        t' = -(pi - t) sin t / (2 pi r).

    Args:
        student: w at time 0, not 0.
        teacher: v, not 0; lengths are in units of its own.
        times: when to look, increasing from 0 or later.

    Returns:
        |w| and the angle at these times.

    Raises:
        ValueError: a weight of 0, or times that do not increase.

    >>> length, angle = neuron_flow(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 40.0]))
    >>> bool(abs(length[1] - 1) < 1e-3), bool(angle[1] < 1e-2)
    (True, True)
    """
    w, v = student.double()[None], teacher.double()[None]
    size = float(v.norm())
    if not (float(w.norm()) > 0 and size > 0 and bool((times.diff() > 0).all()) and float(times[0]) >= 0):
        raise ValueError("Weights other than 0, and times that increase from 0 or later, are needed.")
    angle = math.pi - float(angles(w, v).rest)

    def slope(_: float, state: NDArray[np.float64]) -> list[float]:
        r, t = state
        away = math.pi - t
        return [
            -r / 2 + (math.sin(t) + away * math.cos(t)) / (2 * math.pi),
            -away * math.sin(t) / (2 * math.pi * r),
        ]

    wanted = times.double().tolist()
    found = solve_ivp(
        slope, (0.0, wanted[-1]), [float(w.norm()) / size, angle], t_eval=wanted, rtol=1e-9, atol=1e-12, method="DOP853"
    )
    return size * torch.from_numpy(found.y[0]), torch.from_numpy(found.y[1])
