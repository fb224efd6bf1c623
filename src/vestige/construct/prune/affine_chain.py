"""The weights and biases of a fully connected ReLU network in float64, or a refusal that names the layer."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

_ADVICE = (
    (_BatchNorm, "fold it into the linear layer before it, as torch.nn.utils.fusion.fuse_linear_bn_eval does"),
    (_ConvNd, "write it as the linear layer that it is: one row for each output pixel"),
    (nn.LayerNorm, "it is no ReLU network; train one without normalisation"),
)


@dataclass(frozen=True, eq=False)
class Affine:
    """x -> weight x + bias, in float64; `bias` is None where the layer has none."""

    weight: Float[Tensor, "out features"]
    bias: Float[Tensor, " out"] | None


def affine_chain(target: nn.Module) -> tuple[Affine, ...]:
    """The layers of Flatten?, Linear, ReLU, Linear, ..., Linear.

    Raises:
        ValueError: another layer or another order, NaN or infinite weights.

    >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> [tuple(layer.weight.shape) for layer in affine_chain(net)]
    [(2, 3), (1, 2)]
    """
    leaves = [
        (name, leaf)
        for name, leaf in target.named_modules()
        if not isinstance(leaf, nn.Sequential | nn.Flatten | nn.Identity | nn.Dropout)
    ]
    layers: list[Affine] = []
    for position, (name, leaf) in enumerate(leaves):
        expected = nn.ReLU if position % 2 else nn.Linear
        if type(leaf) is not expected:
            raise ValueError(_refusal(name, leaf, expected))
        if isinstance(leaf, nn.Linear):
            layers.append(_read(name, leaf))
    if not layers or len(leaves) % 2 == 0:
        raise ValueError(
            f"the network ends in {type(leaves[-1][1]).__name__ if leaves else 'nothing'}; a chain of nn.Linear with "
            "nn.ReLU between them, ending in nn.Linear, is needed"
        )
    return tuple(layers)


def _refusal(name: str, leaf: nn.Module, expected: type[nn.Module]) -> str:
    reasons = (advice for kind, advice in _ADVICE if isinstance(leaf, kind))
    advice = next(reasons, "rewrite the network as nn.Linear layers with nn.ReLU between them")
    place = f" {name!r}" if name else ""
    return f"layer{place} is {type(leaf).__name__} where nn.{expected.__name__} was expected: {advice}"


def _read(name: str, layer: nn.Linear) -> Affine:
    read = Affine(
        layer.weight.detach().cpu().double(), None if layer.bias is None else layer.bias.detach().cpu().double()
    )
    if not all(bool(torch.isfinite(t).all()) for t in (read.weight, read.bias) if t is not None):
        raise ValueError(f"layer {name!r} holds NaN or infinite weights: training diverged; use an earlier checkpoint")
    return read
