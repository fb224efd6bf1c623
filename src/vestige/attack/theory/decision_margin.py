"""One number a sample: by how much the model's answer leads, and how far one must go in a direction until it does not.

Binary theory speaks of one output. Here that is the output itself, signed; the difference of a stated pair of logits;
or the largest logit minus the next. All in float64, on a copy of the model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vestige.core.kkt import working_copy
from vestige.core.margins import as_rows, signs

GRID, FINEST, BISECTIONS = 120, 1e-4, 45  # radii tried from FINEST of the limit on, each 8 % longer than the last
Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Lead:
    """The lead of each reference sample's answer: positive where that answer is given.

    Args:
        net: float64 copy of the model.
        x: reference samples, in model space.
        answer: +1 or -1 for one output or a pair; else the leading class.
        pair: (a, b): the number is z_a - z_b; None for one output, and for the leading class against all others.
        several: the model has several outputs.
    """

    net: nn.Module
    x: Float[Tensor, "n ..."]
    answer: Int[Tensor, " n"]
    pair: Pair | None
    several: bool

    def value(self, at: Tensor, rows: Tensor | None = None) -> Tensor:
        """Lead at other points; `rows` says whose answer counts at each."""
        with torch.no_grad():
            return self.of(self.net(at), rows)

    def slope(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """Lead at one point for each reference sample, and its gradient."""
        with torch.enable_grad():
            at = at.detach().requires_grad_()
            value = self.of(self.net(at))
            (slope,) = torch.autograd.grad(value.sum(), at)
        return value.detach(), slope

    def of(self, outputs: Tensor, rows: Tensor | None = None) -> Tensor:
        """Lead that outputs of the network give, differentiable."""
        z, answer = as_rows(outputs), self.answer if rows is None else self.answer[rows]
        if not self.several:
            return answer * z[:, 0]
        if self.pair is not None:
            return answer * (z[:, self.pair[0]] - z[:, self.pair[1]])
        others = z.scatter(1, answer[:, None], -torch.inf).amax(1)
        return z.gather(1, answer[:, None])[:, 0] - others


def read_lead(
    model: nn.Module, x: Float[Tensor, "n ..."], *, pair: Pair | None = None, y: Int[Tensor, " labels"] | None = None
) -> Lead:
    """The lead of the labels y, or of the model's own answers.

    Args:
        model: one output, or several.
        x: reference samples, in model space.
        pair: (a, b) of a model with several outputs; z_a > z_b is the answer +1.
        y: labels: {0, 1} or {-1, 1} for one output, a or b for a pair.

    Raises:
        ValueError: samples or outputs that are not finite, a pair that does not exist or is missing, labels that are no
            two classes.
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
            f"the model has {z.shape[1]} outputs, and this tool compares two classes; name them as pair=(a, b) and "
            "keep the samples of these two."
        )
    if pair is None and y is not None and z.shape[1] == 2:
        pair = (1, 0)
    number = z[:, 0] if z.shape[1] == 1 else z[:, pair[0]] - z[:, pair[1]] if pair else None
    if y is not None:
        answer = _labels(y, len(x), pair)
    else:
        answer = z.argmax(1) if number is None else torch.where(number > 0, 1, -1)
    return Lead(net, x, answer.to(x.device), pair, z.shape[1] > 1)


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
            f"every label is {values.pop()}; samples of two classes are needed: one class has no boundary."
        )
    return signs(y) if pair is None else torch.where(y == pair[0], 1, -1)


def first_radius(holds: Callable[[Tensor], Tensor], limit: Tensor) -> Tensor:
    """Smallest radius up to `limit` at which a condition holds, for each entry; inf where it holds at none.

    A grid from the left, then bisection: a condition that holds only between two neighbours of the grid is not seen.

    Args:
        holds: radii (k,) to booleans (k,).
        limit: (k,).

    >>> round(first_radius(lambda r: r >= 0.25, torch.ones(1, dtype=torch.float64)).item(), 12)
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
