"""Where inputs live: data space (pixels), model space (after normalization), and balls in l_p."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


@dataclass(frozen=True, eq=False)
class InputSpace:
    """The box of valid data and the map into the model: model input = (data - mean) / std.

    Args:
        low: smallest valid value of the data (-inf: unbounded, as for embeddings).
        high: largest valid value of the data.
        mean: what the model's user subtracts: a number, one value a channel, or a tensor of one sample's shape.
        std: what the model's user divides by, likewise; positive.

    >>> InputSpace(mean=0.5, std=0.25).to_model(torch.tensor([[0.0, 1.0]])).tolist()
    [[-2.0, 2.0]]
    """

    low: float | int = 0.0
    high: float | int = 1.0
    mean: float | int | Tensor = 0.0
    std: float | int | Tensor = 1.0

    def __post_init__(self):
        if not self.low < self.high:
            raise ValueError(f"low={self.low} and high={self.high} given; low must be smaller. Were they swapped?")
        if not bool((torch.as_tensor(self.std) > 0).all()) or not bool(
            torch.isfinite(torch.as_tensor(self.mean)).all()
        ):
            raise ValueError(
                "std must be positive and mean finite; is a constant channel dividing by zero? Use std 1 there."
            )

    @property
    def width(self) -> float:
        """Of the box; inf where it is unbounded."""
        return float(self.high - self.low)

    def to_model(self, x: Float[Tensor, " n *feature"]) -> Float[Tensor, " n *feature"]:
        """Data to model space."""
        return (x - self._fit(self.mean, x)) / self._fit(self.std, x)

    def to_data(self, z: Float[Tensor, " n *feature"]) -> Float[Tensor, " n *feature"]:
        """Model to data space; not clipped."""
        return z * self._fit(self.std, z) + self._fit(self.mean, z)

    def bounds(self, shape: tuple[int, ...], like: Tensor) -> tuple[Tensor, Tensor]:
        """The box in model space for one sample of this shape, on the device and in the dtype of `like`."""
        corner = like.new_empty((1, *shape))
        low, high = self.to_model(torch.full_like(corner, self.low)), self.to_model(torch.full_like(corner, self.high))
        return low[0], high[0]

    def contains(self, x: Shaped[Tensor, " n *feature"], atol: float = 1e-6) -> bool:
        """Whether data-space values are all finite and inside the box."""
        return bool((torch.isfinite(x) & (x >= self.low - atol) & (x <= self.high + atol)).all())

    def check(self, x: Shaped[Tensor, " n *feature"]) -> None:
        """Refuse data-space values outside the box, naming the likely cause.

        Raises:
            ValueError: x is empty, not floating point, not finite or outside [low, high].
        """
        if not x.is_floating_point() or x.numel() == 0:
            raise ValueError(
                f"x is {x.dtype} with {x.numel()} values; a non-empty floating tensor is needed. uint8 images: x / 255."
            )
        if not bool(torch.isfinite(x).all()):
            raise ValueError(f"x holds {int((~torch.isfinite(x)).sum())} NaN or infinite values; remove those samples.")
        if not self.contains(x):
            low, high = x.min().item(), x.max().item()
            cause = (
                "values in 0-255? divide by 255"
                if low >= 0 and high > 2
                else "already normalized? undo it with to_data"
            )
            raise ValueError(
                f"x lies in [{low:.4g}, {high:.4g}], allowed is [{self.low:g}, {self.high:g}] in data space; {cause}."
            )

    @staticmethod
    def _fit(given: float | int | Tensor, x: Tensor) -> Tensor:
        value, shape = torch.as_tensor(given, dtype=x.dtype, device=x.device), x.shape[1:]
        if value.ndim == 1 and len(shape) > 1:  # one value a channel
            value = value.reshape(-1, *(1,) * (len(shape) - 1))
        if value.ndim > len(shape) or any(
            v not in (1, s) for v, s in zip(value.shape[::-1], shape[::-1], strict=False)
        ):
            raise ValueError(
                f"mean or std has shape {tuple(value.shape)}, samples have {tuple(shape)}; "
                "give a number, one value a channel, or a tensor of one sample's shape."
            )
        return value


UNBOUNDED = InputSpace(-math.inf, math.inf)  # as for embeddings, and for model space itself


def per_sample(values: Shaped[Tensor, " n"], like: Shaped[Tensor, " n *feature"]) -> Shaped[Tensor, " n *_"]:
    """One value a sample, shaped so that it broadcasts over whole samples.

    >>> tuple(per_sample(torch.zeros(2), torch.zeros(2, 3, 4, 4)).shape)
    (2, 1, 1, 1)
    """
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def lp_norm(x: Float[Tensor, " n *feature"], p: float | int) -> Float[Tensor, " n"]:
    """l_p norm of each sample, 1 <= p <= inf.

    >>> lp_norm(torch.tensor([[3.0, -4.0]]), 2).item()
    5.0
    """
    if not p >= 1:
        raise ValueError(f"p={p} given; a norm needs 1 <= p <= inf.")
    return torch.linalg.vector_norm(x.flatten(1), ord=p, dim=1)


def project_ball(x: Float[Tensor, " n *feature"], p: float | int, radius: float | int) -> Float[Tensor, " n *feature"]:
    """Nearest point, in l_2, of the l_p ball of this radius around zero, for each sample; p in {1, 2, inf}.

    For p=1 the soft threshold is found by sorting (Duchi et al. 2008, figure 1).

    >>> project_ball(torch.tensor([[3.0, 1.0]]), 1, 2.0).tolist()
    [[2.0, 0.0]]
    """
    if p not in (1, 2, math.inf) or not radius >= 0:
        raise ValueError(f"p={p}, radius={radius} given; allowed are p in {{1, 2, inf}} and radius >= 0.")
    if p == math.inf:
        return x.clamp(-radius, radius)
    flat = x.flatten(1)
    if p == 2:
        return (flat * (radius / lp_norm(x, 2).clamp(min=max(radius, 1e-300)))[:, None]).reshape(x.shape)
    ordered = flat.abs().sort(dim=1, descending=True).values
    count = torch.arange(1, flat.shape[1] + 1, dtype=x.dtype, device=x.device)
    shift = (ordered.cumsum(1) - radius) / count
    last = (ordered > shift).sum(1, keepdim=True).clamp(min=1) - 1
    threshold = shift.gather(1, last).clamp(min=0)
    return (flat.sign() * (flat.abs() - threshold).clamp(min=0)).reshape(x.shape)
