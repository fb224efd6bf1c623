"""The weights and biases of a fully connected ReLU network in float64."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.relu_chain import linear_layers


@dataclass(frozen=True, eq=False)
class Affine:
    """x -> weight x + bias, in float64; `bias` is None where the layer has none."""

    weight: Float[Tensor, "out features"]
    bias: Float[Tensor, " out"] | None


def affine_chain(target: nn.Module) -> tuple[Affine, ...]:
    """The layers of Flatten?, Linear, ReLU, Linear, ..., Linear, copied.

    Raises:
        ValueError: another layer or another order, NaN or infinite weights.

    >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> [tuple(layer.weight.shape) for layer in affine_chain(net)]
    [(2, 3), (1, 2)]
    """
    return tuple(
        Affine(_copied(layer.weight), None if layer.bias is None else _copied(layer.bias))
        for layer in linear_layers(target)
    )


def _copied(parameter: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return parameter.detach().cpu().double().clone()
