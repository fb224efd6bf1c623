"""The loss along a direction: its slope and its curvature, by one of four ways.

With x(s) = x - s v: slope n = <grad f, v> and curvature c = <v, H v>. A Hessian-vector product takes c exactly, the
Gauss-Newton product <Jv, H_loss Jv> without the curvature of the network (never negative for a convex loss), a parabola
through f(x - s v), f(x), f(x + s v) without a second derivative, over the length of a step; and a known smoothness
constant bounds it. All evaluations of one probe see the same batch, masks and statistics. In distributed training each
number is at once the mean over the processes, so that all of them decide alike, as one with the joined batch would.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vestige.core.choices import ChoiceEnum
from vestige.optim.direction import norm

Objective = Callable[[nn.Module, Any], Tensor | tuple[Tensor, Tensor]]
SHORT = 1e-2  # of the weights: a look before any step size is known
SECANT = 1.5  # times the curvature at x: then that of the whole step counts
VISIBLE = 1e3  # roundings of the loss that a difference of losses must exceed
TRIES = 12  # of lengths


class Curvature(ChoiceEnum):
    """How the curvature is taken."""

    HESSIAN = "hessian"
    GAUSS_NEWTON = "gauss_newton"
    PARABOLA = "parabola"
    SMOOTHNESS = "smoothness"


class Numerator(ChoiceEnum):
    """Where the slope comes from: another batch, another half of one, or, without noise only, the same gradient."""

    INDEPENDENT = "independent"
    SPLIT = "split"
    SAME = "same"


class NotTwiceDifferentiable(Exception):
    """An operation of the loss has no second derivative."""


def inner(a: Sequence[Tensor | None], b: Sequence[Tensor]) -> Tensor:
    """Sum of products, as one number, in float64."""
    zero = torch.zeros((), dtype=torch.float64, device=b[0].device)
    return sum(
        ((x.double() * y.double()).sum().to(zero.device) for x, y in zip(a, b, strict=True) if x is not None), zero
    )


def mean_over_processes(mine: Tensor) -> Tensor:
    """Of distributed training; itself where there is none."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return mine
    found = mine.detach().clone()
    torch.distributed.all_reduce(found)
    return found / torch.distributed.get_world_size()


@contextmanager
def undisturbed(model: nn.Module, variables: Sequence[Tensor], seed: int) -> Iterator[None]:
    """The same random numbers in every block with this seed; the global generators and all buffers stay as they were.

    Attention is computed by its formula: the fused kernels have no second derivative.
    """
    devices = sorted({p.get_device() for p in variables if p.is_cuda})
    buffers = [(b, b.detach().clone()) for b in model.buffers()]
    with torch.random.fork_rng(devices=devices), sdpa_kernel(SDPBackend.MATH):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        if devices:
            torch.cuda.manual_seed_all(seed)
        try:
            yield
        finally:
            with torch.no_grad():
                for b, old in buffers:
                    b.copy_(old)


def evaluate(objective: Objective, model: nn.Module, batch: Any) -> tuple[Tensor | None, Tensor]:
    """Outputs, where the objective returns them, and the loss.

    Raises:
        ValueError: not one number, or one without a graph.
    """
    found = objective(model, batch)
    outputs, loss = found if isinstance(found, tuple) else (None, found)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise ValueError("The objective must return the loss, one number, or a pair (outputs, loss).")
    if torch.is_grad_enabled() and not loss.requires_grad:
        raise ValueError("The loss has no graph to the variables: does the objective detach, or use no_grad?")
    return outputs, loss.reshape(())


@dataclass(frozen=True)
class Look:
    """The loss at x, its slope n and its curvature c."""

    loss: float
    slope: float
    curvature: float


@dataclass(frozen=True)
class Line:
    """The loss of one batch at x - s v.

    Attributes:
        objective: of model and batch.
        model: left as it is.
        batch: the same at every s.
        variables: x, trainable; moved and put back.
        v: the direction.
        seed: of masks.
    """

    objective: Objective
    model: nn.Module
    batch: Any
    variables: Sequence[Tensor]
    v: Sequence[Tensor]
    seed: int

    @property
    def short(self) -> float:
        """A length at which the weights move by a hundredth of theirs."""
        return SHORT * norm(self.variables) / max(norm(self.v), 1e-30)

    @torch.no_grad()
    def loss(self, s: float) -> float:
        """Of x - s v."""
        start = [p.detach().clone() for p in self.variables]
        try:
            for p, d in zip(self.variables, self.v, strict=True):
                p.sub_(s * d)
            with undisturbed(self.model, self.variables, self.seed):
                return self._shared(evaluate(self.objective, self.model, self.batch)[1])[0]
        finally:
            for p, old in zip(self.variables, start, strict=True):
                p.copy_(old)

    def derivatives(self, kind: Curvature | None, smoothness: float | None) -> Look:
        """By products with matrices at x, or with the curvature of a known smoothness; None for Gauss-Newton where
        there are outputs.

        Raises:
            NotTwiceDifferentiable: an operation has no second derivative.
        """
        with undisturbed(self.model, self.variables, self.seed):
            outputs, loss = evaluate(self.objective, self.model, self.batch)
            if kind is Curvature.GAUSS_NEWTON or (kind is None and outputs is not None):
                slope, curvature = self._gauss_newton(outputs, loss)
            elif smoothness is None:
                slope, curvature = self._hessian(loss)
            else:
                gradient = torch.autograd.grad(loss, self.variables, allow_unused=True)
                slope, curvature = float(inner(gradient, self.v)), smoothness * float(inner(self.v, self.v))
            return Look(*self._shared(loss.detach(), slope, curvature))

    def _hessian(self, loss: Tensor) -> tuple[float, float]:
        gradient = torch.autograd.grad(loss, self.variables, create_graph=True, allow_unused=True)
        slope = inner(gradient, self.v)
        if not slope.requires_grad:
            return float(slope), 0.0
        try:
            product = torch.autograd.grad(slope, self.variables, allow_unused=True)
        except RuntimeError as error:
            raise NotTwiceDifferentiable(str(error)) from error
        return float(slope.detach()), float(inner(product, self.v))

    def _gauss_newton(self, outputs: Tensor | None, loss: Tensor) -> tuple[float, float]:
        """From Jv, the change of the outputs along v: the derivative of J^T u by u, in the direction of v.

        A pass in forward mode gives Jv too, and takes longer: 24 against 22 ms for a small transformer, 4.5 against 1
        for an MLP.
        """
        if outputs is None:
            raise ValueError("gauss_newton needs an objective that returns a pair (outputs, loss); or take 'hessian'.")
        (residual,) = torch.autograd.grad(loss, outputs, create_graph=True, allow_unused=True)
        if residual is None:
            raise ValueError(
                "gauss_newton: the loss does not depend on the outputs that the objective returns with it."
            )
        dual = torch.zeros_like(outputs, requires_grad=True)
        try:
            pulled = torch.autograd.grad(outputs, self.variables, dual, create_graph=True, allow_unused=True)
            (pushed,) = torch.autograd.grad(inner(pulled, self.v), dual, retain_graph=True)
            curved = torch.zeros_like(pushed)
            if residual.requires_grad:
                (curved,) = torch.autograd.grad((residual * pushed).sum(), outputs, retain_graph=True)
        except RuntimeError as error:
            raise NotTwiceDifferentiable(str(error)) from error
        return float(inner([residual.detach()], [pushed])), float(inner([curved], [pushed]))

    def parabola(self, length: float) -> Look:
        """Through three losses; the length grows until they differ, and shrinks until they are finite."""
        middle, ahead, behind = self.loss(0.0), math.nan, math.nan
        for _ in range(TRIES):
            ahead, behind = self.loss(length), self.loss(-length)
            if not (math.isfinite(ahead) and math.isfinite(behind)):
                length /= 10
            elif max(abs(ahead - middle), abs(behind - middle)) < self._rounding(middle):
                length *= 10
            else:
                break
        return Look(middle, (behind - ahead) / (2 * length), (behind - 2 * middle + ahead) / length**2)

    def over_the_step(self, at: Look, s: float | None) -> float:
        """The curvature at x, or that of the whole step where it is much more.

        2 (f(x - s v) - f(x) + s n) / s^2 is c for a quadratic. At the start of training the loss is flat along v, and
        not at the end of the step that its curvature there suggests.

        Args:
            at: loss, n and c at x.
            s: length of the step; None to look for one, from n / c on.
        """
        slope, curvature = at.slope, at.curvature
        tries, known = (1, s) if s is not None else (TRIES, slope / curvature if curvature > 0 else self.short)
        for _ in range(tries if slope > 0 else 0):
            end = self.loss(known)
            rise = end - at.loss + known * slope if math.isfinite(end) else math.inf
            if rise == math.inf:
                curvature, known = 20 * slope / known, known / 20
            elif abs(rise) > self._rounding(at.loss) and 2 * rise / known**2 > SECANT * max(curvature, 0.0):
                curvature = 2 * rise / known**2
                known = slope / curvature
            elif curvature <= 0:
                known *= 4
            else:
                break
        return curvature

    def _shared(self, loss: Tensor, *others: float) -> list[float]:
        return mean_over_processes(torch.tensor([loss, *others], dtype=torch.float64, device=loss.device)).tolist()

    def _rounding(self, loss: float) -> float:
        return VISIBLE * torch.finfo(self.variables[0].dtype).eps * (abs(loss) + 1e-30)
