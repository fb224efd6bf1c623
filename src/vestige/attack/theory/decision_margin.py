"""The decision margin of each sample, and the smallest step in a direction at which it is gone.

Binary theory is about one output. Here that is the output itself, signed; the difference of a given pair of logits; or
the largest logit minus the next. All in float64, on a copy of the model, in model space.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vestige.core.kkt import working_copy
from vestige.core.margins import as_rows, signs
from vestige.core.rng import spawn

GRID, FINEST, BISECTIONS = 120, 1e-4, 45  # radii tried from FINEST of the limit on, each 8 % longer than the last
Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class DecisionMargin:
    """Margin of each reference sample's label: positive where the model predicts that label.

    Attributes:
        net: float64 copy of the model.
        x: reference samples, in model space.
        label: +1 or -1 for one output or a pair; else the class.
        pair: (a, b): the margin is +-(z_a - z_b); None for one output, and for a class against all others.
        multiclass: the model has several outputs.
    """

    net: nn.Module
    x: Float[Tensor, "n ..."]
    label: Int[Tensor, " n"]
    pair: Pair | None
    multiclass: bool

    def value(self, at: Tensor, rows: Tensor | None = None) -> Tensor:
        """Margin at other points; `rows` says whose label counts at each."""
        with torch.no_grad():
            return self.of_outputs(self.net(at), rows)

    def gradient(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """Margin at one point for each reference sample, and its gradient."""
        with torch.enable_grad():
            at = at.detach().requires_grad_()
            value = self.of_outputs(self.net(at))
            (gradient,) = torch.autograd.grad(value.sum(), at)
        return value.detach(), gradient

    def of_outputs(self, outputs: Tensor, rows: Tensor | None = None) -> Tensor:
        """Margin that outputs of the network give, differentiable."""
        z, label = as_rows(outputs), self.label if rows is None else self.label[rows]
        if not self.multiclass:
            return label * z[:, 0]
        if self.pair is not None:
            return label * (z[:, self.pair[0]] - z[:, self.pair[1]])
        others = z.scatter(1, label[:, None], -torch.inf).amax(1)
        return z.gather(1, label[:, None])[:, 0] - others


def read_margin(
    model: nn.Module, x: Float[Tensor, "n ..."], *, pair: Pair | None = None, y: Int[Tensor, " labels"] | None = None
) -> DecisionMargin:
    """The margin of the labels y, or of the model's own predictions.

    Args:
        model: one output, or several.
        x: reference samples, in model space.
        pair: (a, b) of a model with several outputs; z_a > z_b is the label +1.
        y: labels: {0, 1} or {-1, 1} for one output, a or b for a pair.

    Raises:
        ValueError: samples or outputs that are not finite, a pair that does not exist or is missing, labels that are
            not two classes.
    """
    if len(x) == 0 or not x.is_floating_point() or not bool(torch.isfinite(x).all()):
        raise ValueError(
            f"x is {x.dtype} of shape {tuple(x.shape)}; samples of finite floating-point numbers are needed. Are there "
            "NaN values, or integers that should be divided by 255?"
        )
    net, x = working_copy(model), x.detach().double()
    with torch.no_grad():
        z = as_rows(net(x))
    if not bool(torch.isfinite(z).all()):
        raise ValueError("the model's outputs are NaN or infinite on x; are its weights damaged?")
    _check_pair(pair, z.shape[1])
    if y is not None and pair is None and z.shape[1] > 2:
        raise ValueError(
            f"the model has {z.shape[1]} outputs and two classes are compared; name them as pair=(a, b) and keep the "
            "samples of these two."
        )
    if pair is None and y is not None and z.shape[1] == 2:
        pair = (1, 0)
    number = z[:, 0] if z.shape[1] == 1 else z[:, pair[0]] - z[:, pair[1]] if pair else None
    if y is not None:
        label = _labels(y, len(x), pair)
    else:
        label = z.argmax(1) if number is None else torch.where(number > 0, 1, -1)
    return DecisionMargin(net, x, label.to(x.device), pair, z.shape[1] > 1)


def _check_pair(pair: Pair | None, outputs: int) -> None:
    if pair is None:
        return
    if outputs == 1:
        raise ValueError(f"pair={pair} given for a model of one output; leave it out.")
    if len(pair) != 2 or pair[0] == pair[1] or not all(0 <= c < outputs for c in pair):
        raise ValueError(f"pair={pair} given; two different classes from 0 to {outputs - 1} are needed.")


def _labels(y: Tensor, n: int, pair: Pair | None) -> Tensor:
    values = set(y.unique().tolist())
    allowed = ({0, 1}, {-1, 1}) if pair is None else (set(pair),)
    if y.ndim != 1 or len(y) != n or not any(values <= each for each in allowed):
        raise ValueError(
            f"y has shape {tuple(y.shape)} and values {sorted(values)[:6]}; {n} labels out of "
            f"{' or '.join(str(sorted(each)) for each in allowed)} are needed. Keep the samples of two classes."
        )
    if len(values) < 2:
        raise ValueError(
            f"every label is {values.pop()}; samples of two classes are needed, as one class has no boundary."
        )
    return signs(y) if pair is None else torch.where(y == pair[0], 1, -1)


def smallest_radius(holds: Callable[[Tensor], Tensor], limit: Tensor) -> Tensor:
    """Smallest radius up to `limit` at which a condition holds, for each entry; inf where it holds at none.

    A grid from the left, then bisection: a condition that holds only between two neighbors of the grid is missed.

    Args:
        holds: radii (k,) to booleans (k,).
        limit: (k,).

    >>> round(smallest_radius(lambda r: r >= 0.25, torch.ones(1, dtype=torch.float64)).item(), 12)
    0.25
    """
    low, high = torch.zeros_like(limit), torch.full_like(limit, torch.inf)
    for share in torch.logspace(torch.tensor(FINEST).log10().item(), 0, GRID, dtype=torch.float64).tolist():
        at = share * limit
        hit = holds(at) & torch.isinf(high)
        high, low = torch.where(hit, at, high), torch.where(torch.isinf(high) & ~hit, at, low)
        if not bool(torch.isinf(high).any()):
            break
    found = torch.isfinite(high)
    for _ in range(BISECTIONS):
        middle = torch.where(found, (low + high) / 2, limit)
        hit = holds(middle)
        high, low = torch.where(found & hit, middle, high), torch.where(found & ~hit, middle, low)
    return high


def random_flips(
    margin: DecisionMargin,
    radius: Tensor,
    trials: int,
    generator: torch.Generator | None,
    projection: Callable[[Tensor], Tensor] = lambda directions: directions,
) -> tuple[int, int]:
    """The null baseline: samples that change class at a radius along random directions, and how many were tried.

    Args:
        margin: of the samples.
        radius: of each sample; inf leaves the sample out.
        trials: random directions a sample.
        generator: None for seed 0.
        projection: of directions (k, d) onto a subspace.
    """
    rows = torch.isfinite(radius).nonzero().flatten()
    at, draw, flips = margin.x[rows], spawn(generator, "random directions"), 0
    for _ in range(trials if len(rows) else 0):
        noise = torch.randn((len(rows), at[0].numel()), generator=draw, dtype=torch.float64).to(at)
        direction = projection(noise)
        step = radius[rows, None] * direction / direction.norm(dim=1, keepdim=True)
        flips += int((margin.value(at + step.reshape(at.shape), rows) <= 0).sum())
    return flips, trials * len(rows)
