"""The published objective: how far candidates and multipliers are from explaining the weights, as its authors sum it.

Over candidates x_1..x_m and multipliers lambda

    L = sum over parameters |theta_k - sum_i grad_{theta_k} (c_i . f(x_i))|^2
        + sum (x - high)_+^2 + (low - x)_+^2 + 5 sum_i (lambda_min - lambda_i)_+^2,                           (1)

    binary (arXiv 2206.07758, section 5):      c_i = lambda_i y_i / m
    multiclass (2305.03350; 2307.01827):       c_i = lambda_i (e_{y_i} - e_j) / m, j the strongest other output
    general (2307.01827, any loss):            c_i = lambda_i / m, free sign and no last term

with labels fixed in advance, plain sums, and sigmoid(sharpness z) for the derivative of the ReLU. Taken from the public
code where the text differs: the square in the last term, the 1/m, two step sizes, multipliers that start anywhere in
[0, 1] (the repositories of 2206.07758 and 2307.01827).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vestige.core.kkt import weighted_gradient
from vestige.core.margins import Loss
from vestige.core.soft_gate import smoothed
from vestige.reconstruct.weights.chain import span_chain
from vestige.reconstruct.weights.joint import gradient_sums

Objective = Literal["binary", "multiclass", "general"]
Gradients = Callable[[Tensor, Tensor], dict[str, Tensor]]
HINGE = 5.0
BOX = (-1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Published:
    """Objective (1) for one network.

    Attributes:
        objective: which c.
        theta: parameters by name.
        gradients: (x, c) to the sums of gradients, by the same names.
        outputs: of the network.
        labels: class of each candidate.
        lambda_min: of the last term.
        box: low and high.
        free: shape of one candidate's multipliers.
        shape: of one input.
        basis: where x holds span coordinates, their directions in input space.
    """

    objective: Objective
    theta: dict[str, Tensor]
    gradients: Gradients
    outputs: Callable[[Tensor], Tensor]
    labels: Int[Tensor, " m"]
    lambda_min: float
    box: tuple[Tensor, Tensor]
    free: tuple[int, ...]
    shape: tuple[int, ...]
    basis: Float[Tensor, "d r"] | None

    def cotangents(self, x: Float[Tensor, "m ..."], multipliers: Float[Tensor, " m *free"]) -> Float[Tensor, "m out"]:
        """c of (1)."""
        scaled = multipliers.reshape(len(x), -1) / len(x)
        if self.objective == "general":
            return scaled
        if self.objective == "binary":
            return scaled * (2 * self.labels - 1)[:, None]
        with torch.no_grad():
            outputs = self.outputs(x)
        own = F.one_hot(self.labels, outputs.shape[1]).bool()
        rival = F.one_hot(outputs.masked_fill(own, -torch.inf).argmax(1), outputs.shape[1])
        return scaled * (own.to(x.dtype) - rival)

    def residuals(self, x: Float[Tensor, "m ..."], multipliers: Float[Tensor, " m *free"]) -> dict[str, Tensor]:
        """Terms of the first sum of (1), by parameter."""
        sums = self.gradients(x, self.cotangents(x, multipliers))
        return {name: (value - sums[name]).square().sum() for name, value in self.theta.items()}

    def inputs(self, x: Float[Tensor, "m ..."]) -> Float[Tensor, "m ..."]:
        """The candidates themselves, where x may be their coordinates."""
        return x if self.basis is None else (x @ self.basis.T).reshape(len(x), *self.shape)

    def value(self, x: Float[Tensor, "m ..."], multipliers: Float[Tensor, " m *free"]) -> Float[Tensor, ""]:
        """L."""
        low, high = self.box
        total = torch.stack(list(self.residuals(x, multipliers).values())).sum()
        inputs = self.inputs(x)
        total = total + (inputs - high).relu().square().sum() + (low - inputs).relu().square().sum()
        if self.objective == "general":
            return total
        return total + HINGE * (self.lambda_min - multipliers).relu().square().sum()


def published_objective(
    model: nn.Module,
    input_shape: tuple[int, ...],
    *,
    candidates: int,
    loss: Loss | str,
    lambda_min: float | int,
    sharpness: float | int,
    objective: Objective | None = None,
    box: tuple[Tensor | float | int, Tensor | float | int] | None = None,
    span: bool = False,
) -> Published:
    """Objective (1) with its labels; the arguments are those of `published_search`."""
    like = next(model.parameters())
    with torch.no_grad():
        out = _evaluation_copy(model)(like.new_zeros(1, *input_shape)).numel()
    kind = _objective(objective, Loss(loss), out)
    theta, gradients, outputs, basis = _network(model, float(sharpness), span)
    return Published(
        objective=kind,
        theta=theta,
        gradients=gradients,
        outputs=outputs,
        labels=_labels(kind, candidates, out).to(like.device),
        lambda_min=float(lambda_min),
        box=_box(box, like),
        free=(out,) if kind == "general" and out > 1 else (),
        shape=tuple(input_shape),
        basis=basis,
    )


def _network(
    model: nn.Module, sharpness: float, span: bool
) -> tuple[dict[str, Tensor], Gradients, Callable[[Tensor], Tensor], Tensor | None]:
    """theta by name, the sums of gradients as a function of (x, c), the outputs, and the basis of the coordinates."""
    net = _evaluation_copy(model)
    theta = {name: p.detach() for name, p in net.named_parameters() if p.requires_grad}
    chain = span_chain(net, None, next(iter(theta.values())).dtype)
    if chain is None or not all(p.requires_grad for p in net.parameters()):
        if span:
            raise ValueError("span=True given; only trainable MLP chains of nn.Linear and nn.ReLU have one to search.")
        if any(isinstance(m, nn.ReLU) for m in net.modules()):  # smooth activations need no smoothing
            net = smoothed(net, sharpness)
        return theta, lambda x, c: weighted_gradient(net, x, c, create_graph=True), net, None
    layers = [m for m in net.modules() if type(m) is nn.Linear]
    first = layers[0].weight.detach()
    if span:
        theta[next(iter(theta))] = chain.weights[0]
    else:  # the papers search in the space of the input itself
        identity = torch.eye(first.shape[1], dtype=first.dtype, device=first.device)
        chain = replace(chain, weights=(first, *chain.weights[1:]), basis=identity)

    def gradients(x: Tensor, c: Tensor) -> dict[str, Tensor]:
        sums = gradient_sums(chain, x.flatten(1), c, sharpness)
        return dict(zip(theta, (s for pair, m in zip(sums, layers, strict=True) for s in _own(pair, m)), strict=True))

    def outputs(x: Tensor) -> Tensor:
        a = x.flatten(1)
        for weight, bias in zip(chain.weights[:-1], chain.biases[:-1], strict=True):
            a = (a @ weight.T + bias).relu()
        return a @ chain.weights[-1].T + chain.biases[-1]

    return theta, gradients, outputs, chain.basis if span else None


def _own(pair: tuple[Tensor, Tensor], layer: nn.Linear) -> tuple[Tensor, ...]:
    return pair if layer.bias is not None else pair[:1]


def _evaluation_copy(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).eval()


def _objective(asked: Objective | None, loss: Loss, out: int) -> Objective:
    if asked is None:
        asked = "general" if not loss.is_margin else "multiclass" if out > 1 else "binary"
    if asked not in get_args(Objective) or ((asked == "binary") != (out == 1) and asked != "general"):
        raise ValueError(
            f"objective={asked!r} given for {out} outputs; binary needs one, multiclass several, general takes any."
        )
    return asked


def _labels(objective: Objective, candidates: int, out: int) -> Tensor:
    classes = max(2, out)
    if objective == "general":
        return torch.full((candidates,), -1)
    if candidates < classes:
        raise ValueError(f"candidates={candidates} given for {classes} classes; give at least one a class.")
    return torch.arange(candidates) * classes // candidates


def _box(box: tuple[Tensor | float | int, Tensor | float | int] | None, like: Tensor) -> tuple[Tensor, Tensor]:
    low, high = (torch.as_tensor(side, dtype=like.dtype, device=like.device) for side in box or BOX)
    if not bool((low < high).all()):
        raise ValueError("the box is empty: its low side must be below its high side. Were they swapped?")
    return low, high
