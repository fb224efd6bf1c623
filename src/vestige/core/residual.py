"""How nearly a trained model satisfies theta = sum_i c_i grad f(theta; x_i), and with which c.

arXiv 2206.07758 and 2305.03350 (margin losses), 2307.01827 (any loss with weight decay), 2510.14844 (ReLU kinks).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from vestige.core.choices import ChoiceEnum
from vestige.core.cite import Paper, paper
from vestige.core.kkt import gram_system, layer_of, select_layers, weighted_gradient, working_copy
from vestige.core.margins import Loss, as_rows, loss_cotangent, margin, margin_directions, multiplier_cotangent
from vestige.core.multipliers import clarke, nonnegative, ridge, run_chain
from vestige.core.relu_chain import ReluChain, read_relu_chain
from vestige.core.soft_gate import smoothed

MARGIN, DECAY, KINKS = paper("1906.05890"), paper("2307.01827"), paper("2510.14844")


class Subgradient(ChoiceEnum):
    """Derivative of the ReLU at and near its kink: 0/1, a sigmoid, or the best element of Clarke's subdifferential."""

    AUTOGRAD = "autograd"
    SMOOTHED = "smoothed"
    CLARKE = "clarke"


class Rule(ChoiceEnum):
    """Where multipliers come from: -l'/(n wd), non-negative least squares on margins, or free signs; auto chooses."""

    AUTO = "auto"
    LOSS = "loss"
    NONNEGATIVE = "nonnegative"
    RIDGE = "ridge"


@dataclass(frozen=True, kw_only=True)
class Stationarity:
    """Residuals are squared distances over |theta|^2: 0 is stationary, 1 explains nothing."""

    residual: float
    residual_per_layer: dict[str, float]
    multipliers: Float[Tensor, " rows"]  # weight of each cotangent direction
    sample: Int[Tensor, " rows"]  # the sample each multiplier belongs to
    cotangent: Float[Tensor, "n out"]  # c_i
    kink_coefficients: dict[str, Float[Tensor, "n _"]]  # derivative at each ReLU, by the layer before it; Clarke only
    kink_fraction: float  # share of (sample, neuron) pairs within kink_tolerance of the kink
    margins: Float[Tensor, " n"] | None  # None for regression losses
    balancedness: dict[str, float]  # |theta_l|^2 / sum_i <c_i, f(x_i)>: 1 for each layer of a homogeneous net at (1)
    support: Bool[Tensor, " n"]  # samples whose c_i is not zero
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]


def stationarity(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, "n ..."],
    *,
    loss: Loss | str,
    weight_decay: float | None = None,
    subgradient: Subgradient | str = "autograd",
    layers: Iterable[str] | None = None,
    multipliers: Rule | str = "auto",
    competitors: str | int = "max",
    smoothing: float = 50.0,
    kink_tolerance: float = 1e-3,
) -> Stationarity:
    """Residual of the stationarity equation at a model's training data, in float64 on a copy in evaluation mode.

    Args:
        model: the trained network.
        x: its training inputs, in model space.
        y: labels or targets, as `core.margins` takes them.
        loss: the training loss.
        weight_decay: wd of mean loss + wd/2 |theta|^2; None for training without.
        subgradient: "clarke" covers chains of Linear and ReLU; with free signs it keeps the signs found by ridge.
        layers: names of layers that count; None is all. `residual_per_layer` always has all.
        multipliers: "auto" is "loss" with weight decay, else "nonnegative" for margin losses and "ridge" for others.
        competitors: margin constraints of several classes, see `margin_directions`.
        smoothing: sharpness of "smoothed".
        kink_tolerance: a pair is at the kink when |pre-activation| is at most this times its layer's largest.

    Raises:
        ValueError: values that are not finite, labels that do not fit, options that contradict each other.

    >>> linear = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.constant_(linear.weight, 1.0)
    >>> s = stationarity(linear, torch.eye(2), torch.tensor([1, 1]), loss="logistic")
    >>> s.multipliers.tolist(), round(s.residual, 12)
    ([1.0, 1.0], 0.0)
    """
    loss, subgradient = Loss(loss), Subgradient(subgradient)
    rule = _rule(Rule(multipliers), loss, weight_decay)
    _check_finite(model, x)
    net, x, y = working_copy(model), x.detach().double(), y.detach().double() if y.is_floating_point() else y
    chosen = select_layers(net, layers)
    outputs, fraction = _run(net, x, kink_tolerance)
    rows, index = _directions(outputs, y, loss, rule, weight_decay, competitors)
    if subgradient is Subgradient.CLARKE:
        fit = _fit_clarke(net, x, rows, index, rule, chosen, kink_tolerance)
    else:
        fit = _fit_plain(net, x, rows, index, rule, chosen, smoothing if subgradient is Subgradient.SMOOTHED else None)
    margins = margin(outputs, y) if loss.is_margin else None
    relative = _relative(net, fit, outputs, chosen)
    return Stationarity(
        **relative,
        multipliers=fit.multipliers,
        sample=fit.sample,
        cotangent=fit.cotangent,
        kink_coefficients=fit.coefficients,
        kink_fraction=fraction,
        margins=margins,
        support=fit.support,
        warnings=tuple(_warnings(model, x, margins, rule, subgradient, fraction, relative["residual"])),
        source=(*((DECAY,) if weight_decay else (MARGIN,)), *((KINKS,) if fit.coefficients else ())),
    )


@dataclass(frozen=True)
class _Fit:
    multipliers: Tensor
    sample: Tensor
    cotangent: Tensor
    distance: dict[str, float]
    coefficients: dict[str, Tensor]

    @property
    def support(self) -> Tensor:
        size = self.cotangent.norm(dim=1)
        return size > 1e-6 * size.max()


def _relative(net: nn.Module, fit: _Fit, outputs: Tensor, chosen: list[str]) -> dict[str, Any]:
    """The residuals and the balancedness of the layers."""
    theta_sq = _per_layer({k: p.detach() for k, p in net.named_parameters() if p.requires_grad})
    share = float((fit.cotangent * outputs).sum())
    return {
        "residual": _ratio(sum(fit.distance[k] for k in chosen), sum(theta_sq[k] for k in chosen)),
        "residual_per_layer": {k: _ratio(fit.distance[k], square) for k, square in theta_sq.items()},
        "balancedness": {k: _ratio(square, share) for k, square in theta_sq.items()},
    }


def _fit_plain(
    net: nn.Module, x: Tensor, rows: Tensor, index: Tensor, rule: Rule, chosen: list[str], smoothing: float | None
) -> _Fit:
    lam = torch.ones_like(rows[:, 0])
    if rule is not Rule.LOSS:
        system = gram_system(net, x[index], rows, smoothing=smoothing, layers=chosen)
        lam = (nonnegative if rule is Rule.NONNEGATIVE else ridge)(system.gram, system.target)
    cotangent = _collect(rows, index, lam, len(x))
    sums = weighted_gradient(net if smoothing is None else smoothed(net, smoothing), x, cotangent)
    distance = _per_layer({k: p.detach() - sums[k] for k, p in net.named_parameters() if k in sums})
    return _Fit(_sizes(cotangent) if rule is Rule.LOSS else lam, index, cotangent, distance, {})


def _fit_clarke(
    net: nn.Module, x: Tensor, rows: Tensor, index: Tensor, rule: Rule, chosen: list[str], tolerance: float
) -> _Fit:
    chain = run_chain(_chain_of(net), x)
    if rule is Rule.RIDGE:  # fix the signs, and the direction among outputs, by the plain derivative
        rows = _fit_plain(net, x, rows, index, rule, chosen, None).cotangent
        index = torch.arange(len(x), device=x.device)
    known = torch.ones_like(rows[:, 0]) if rule is Rule.LOSS else None
    point = clarke(chain, rows, index, multipliers=known, use=[k in chosen for k in chain.names], tolerance=tolerance)
    cotangent = _collect(rows, index, point.multipliers, len(x))
    squares = chain.residuals(chain.backward(cotangent, point.gates)).clamp(min=0)
    lam = point.multipliers if rule is Rule.NONNEGATIVE else _sizes(cotangent)
    coefficients = dict(zip(chain.names, point.gates, strict=False))
    return _Fit(lam, index, cotangent, dict(zip(chain.names, squares.tolist(), strict=True)), coefficients)


def _chain_of(net: nn.Module) -> ReluChain:
    try:
        return read_relu_chain(net)
    except ValueError as error:
        raise ValueError(f"subgradient='clarke' covers chains of layers: {error} Or take 'smoothed'.") from error


def _rule(rule: Rule, loss: Loss, weight_decay: float | None) -> Rule:
    if rule is Rule.AUTO:
        without = Rule.NONNEGATIVE if loss.is_margin else Rule.RIDGE
        return without if weight_decay is None else Rule.LOSS
    if rule is Rule.LOSS and weight_decay is None:
        raise ValueError(
            "multipliers='loss' needs weight_decay: they are -l' / (n wd). Without decay use 'nonnegative'."
        )
    if rule is Rule.NONNEGATIVE and not loss.is_margin:
        raise ValueError(f"multipliers='nonnegative' needs margins; loss {loss.value!r} has none. Use 'ridge'.")
    return rule


def _directions(
    outputs: Tensor, y: Tensor, loss: Loss, rule: Rule, weight_decay: float | None, competitors: str | int
) -> tuple[Tensor, Tensor]:
    n, out = outputs.shape
    loss_cotangent(outputs, y, loss)  # refuses labels that do not fit, whatever the rule
    if rule is Rule.LOSS and weight_decay is not None:
        return multiplier_cotangent(outputs, y, loss, weight_decay), torch.arange(n, device=outputs.device)
    if rule is Rule.NONNEGATIVE:
        return margin_directions(outputs, y, competitors)
    return torch.eye(out).to(outputs).repeat(n, 1), torch.arange(n, device=outputs.device).repeat_interleave(out)


def _run(net: nn.Module, x: Tensor, tolerance: float) -> tuple[Tensor, float]:
    """Outputs (n, out), and the share of ReLU inputs near the kink."""
    near: list[Tensor] = []
    hooks = [
        m.register_forward_pre_hook(lambda _, z: near.append((z[0].abs() <= tolerance * z[0].abs().max()).reshape(-1)))
        for m in net.modules()
        if isinstance(m, nn.ReLU)
    ]
    with torch.no_grad():
        outputs = as_rows(net(x))
    for hook in hooks:
        hook.remove()
    return outputs, float(torch.cat(near).double().mean()) if near else 0.0


def _collect(rows: Tensor, index: Tensor, lam: Tensor, n: int) -> Tensor:
    """c_i = sum of lam * row over the rows of sample i."""
    return rows.new_zeros(n, rows.shape[1]).index_add(0, index, lam[:, None] * rows)


def _sizes(cotangent: Tensor) -> Tensor:
    """lambda_i of a cotangent: |c| for one output, half its l_1 norm (lambda for lambda (e_y - e_j)) for several."""
    return cotangent.abs().sum(1) / min(cotangent.shape[1], 2)


def _per_layer(tensors: dict[str, Tensor]) -> dict[str, float]:
    squares: dict[str, float] = {}
    for k, t in tensors.items():
        squares[layer_of(k)] = squares.get(layer_of(k), 0.0) + t.square().sum().item()
    return squares


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.inf


def _check_finite(model: nn.Module, x: Tensor) -> None:
    bad = [k for k, p in model.named_parameters() if not bool(torch.isfinite(p).all())]
    if bad or not bool(torch.isfinite(x).all()):
        raise ValueError(f"NaN or infinite values in {', '.join(bad) or 'x'}; was training interrupted by divergence?")


def _warnings(
    model: nn.Module,
    x: Tensor,
    margins: Tensor | None,
    rule: Rule,
    subgradient: Subgradient,
    fraction: float,
    residual: float,
) -> Iterator[str]:
    if fraction > 0.01 and subgradient is Subgradient.AUTOGRAD:
        yield (
            f"{fraction:.0%} of (sample, neuron) pairs sit at a ReLU kink, where autograd's derivative is one of many: "
            f"the residual {residual:.2g} is an upper limit. In Python, subgradient='clarke' finds the best one."
        )
    if residual > 0.5:
        yield f"residual {residual:.2g}: the model is far from stationary here; claims that assume it are void."
    if margins is not None and rule is Rule.NONNEGATIVE and bool((margins <= 0).any()):
        yield f"{int((margins <= 0).sum())} of {len(margins)} samples are misclassified; the margin theory needs none."
    if len(x.flatten(1).unique(dim=0)) < len(x):
        yield "some samples are equal; only the sum of their multipliers is determined."
    if model.training and any(isinstance(m, _BatchNorm | _DropoutNd) for m in model.modules()):
        yield "the model is in training mode; its BatchNorm or Dropout was evaluated in evaluation mode, on a copy."
