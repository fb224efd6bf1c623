"""The one reader of chains: linear layers with ReLUs between them, found in a module, by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

IDLE = (nn.Identity, nn.modules.dropout._DropoutNd)  # do nothing once training is over
REPAIRS = {
    nn.modules.batchnorm._BatchNorm: "fold it into the linear layer before it",
    nn.modules.conv._ConvNd: "write it out as a linear layer on the flattened image",
}


@dataclass(frozen=True, eq=False)
class Affine:
    """x -> weight x + bias, in float64; `bias` is None where the layer has none."""

    weight: Float[Tensor, "out features"]
    bias: Float[Tensor, " out"] | None


@dataclass(frozen=True, eq=False)
class ReluChain:
    """x -> W_L relu(... relu(W_1 x + b_1) ...) + b_L, with x flattened.

    Attributes:
        names: of the linear layers in the model, first to last; "" for a model that is one layer.
        layers: the model's own modules.
    """

    names: tuple[str, ...]
    layers: tuple[nn.Linear, ...]

    @property
    def inputs(self) -> int:
        """Input dimension d."""
        return self.layers[0].in_features

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return self.layers[-1].out_features

    @property
    def depth(self) -> int:
        """Number L of linear layers."""
        return len(self.layers)

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return tuple(layer.out_features for layer in self.layers[:-1])

    @cached_property
    def weights(self) -> tuple[NDArray[np.float64], ...]:
        """W_1 to W_L, copied, in float64, which holds every narrower float exactly."""
        return tuple(affine.weight.numpy() for affine in self.affine())

    @cached_property
    def biases(self) -> tuple[NDArray[np.float64], ...]:
        """b_1 to b_L, likewise; zeros where a layer has none."""
        return tuple(
            np.zeros(len(affine.weight)) if affine.bias is None else affine.bias.numpy() for affine in self.affine()
        )

    def affine(self) -> tuple[Affine, ...]:
        """The layers as float64 tensors on the CPU, copied."""
        return tuple(
            Affine(_copied(layer.weight), None if layer.bias is None else _copied(layer.bias)) for layer in self.layers
        )

    def module(self) -> nn.Sequential:
        """The chain as float64 layers of its own."""
        return relu_between([linear_layer(w, b) for w, b in zip(self.weights, self.biases, strict=True)])


def linear_layer(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> nn.Linear:
    """A float64 nn.Linear with these numbers; nothing is drawn."""
    layer = nn.Linear(weight.shape[1], len(weight), dtype=torch.float64, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def relu_between(layers: list[nn.Linear]) -> nn.Sequential:
    """The layers with a ReLU behind each but the last."""
    return nn.Sequential(*[m for layer in layers[:-1] for m in (layer, nn.ReLU())], layers[-1]).eval()


def read_relu_chain(model: nn.Module) -> ReluChain:
    """The chain in an nn.Linear or in an nn.Sequential of nn.Linear and nn.ReLU in turn, nested or not.

    nn.Flatten in front, nn.Identity and nn.Dropout are passed over.

    Raises:
        ValueError: another layer or another order, widths that do not fit, weights that are not finite; it names the
            layer and a repair.

    >>> read_relu_chain(nn.Sequential(nn.Flatten(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))).names
    ('1', '3')
    """
    chain = _read(model)
    if isinstance(chain, str):
        raise ValueError(chain)
    for name, layer in zip(chain.names, chain.layers, strict=True):
        for kind, parameter in layer.named_parameters():
            _check_finite(f"{name}.{kind}".lstrip("."), parameter)
    return chain


def find_relu_chain(model: nn.Module) -> ReluChain | None:
    """The same, or None for any other network and for one whose layers share weights."""
    chain = _read(model)
    if isinstance(chain, str) or len({id(layer.weight) for layer in chain.layers}) < chain.depth:
        return None
    return chain


def first_linear(model: nn.Module) -> tuple[str, nn.Linear] | None:
    """Name and module of the linear layer that reads the flattened input itself; None where there is none.

    Whatever comes after it is not looked at, except that nothing else uses its weight.

    >>> first_linear(nn.Sequential(nn.Flatten(), nn.Linear(3, 2), nn.Tanh()))[0]
    '1'
    """
    for name, leaf in _leaves(model, ""):
        if type(leaf) is nn.Linear:
            uses = sum(p is leaf.weight for _, p in model.named_parameters(remove_duplicate=False))
            return (name, leaf) if uses == 1 else None
        if not (type(leaf) is nn.Identity or _flattens(leaf)):
            return None
    return None


def _read(model: nn.Module) -> ReluChain | str:
    """The chain, or what is wrong with the model as one."""
    leaves = [(name, leaf) for name, leaf in _leaves(model, "") if not isinstance(leaf, IDLE)]
    if leaves and _flattens(leaves[0][1]):
        leaves = leaves[1:]
    for place, (name, leaf) in enumerate(leaves):
        if type(leaf) is not (nn.Linear, nn.ReLU)[place % 2]:
            return _refusal(name, leaf, place)
    if not leaves:
        return "the network has no layers; nn.Linear layers with nn.ReLU between them are needed."
    if len(leaves) % 2 == 0:
        return (
            f"the network has {len(leaves)} layers and ends with a ReLU: its last layer must be nn.Linear. Append one, "
            "with the identity as its weights if need be."
        )
    linear = [(name, leaf) for name, leaf in leaves if isinstance(leaf, nn.Linear)]
    for (before, a), (name, b) in pairwise(linear):
        if a.out_features != b.in_features:
            return (
                f"layer {before!r} has {a.out_features} outputs and layer {name!r} reads {b.in_features}; each layer "
                "must read all outputs of the one before it."
            )
    return ReluChain(tuple(name for name, _ in linear), tuple(leaf for _, leaf in linear))


def _leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules in the order in which they run; one that is used twice comes twice."""
    if not _runs_in_order(module):
        yield name, module
        return
    for key, child in module._modules.items():
        if child is not None:
            yield from _leaves(child, f"{name}.{key}".lstrip("."))


def _runs_in_order(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _flattens(module: nn.Module) -> bool:
    return type(module) is nn.Flatten and module.start_dim == 1 and module.end_dim == -1


def _refusal(name: str, leaf: nn.Module, place: int) -> str:
    kind, where = type(leaf).__name__, f"layer {name!r}" if name else "the network"
    if type(leaf) is nn.Linear:
        return f"{where} is a Linear behind another Linear; multiply the two into one layer first."
    if type(leaf) is nn.ReLU:
        before = "follows another ReLU: remove one" if place else "comes before any linear layer: start with nn.Linear"
        return f"{where} is a ReLU that {before}."
    repair = next((text for base, text in REPAIRS.items() if isinstance(leaf, base)), "")
    inside = [key for key, child in leaf.named_children() if _runs_in_order(child)]
    if not repair and len(inside) == 1:
        repair = f"if its forward does nothing but run its part {inside[0]!r}, give that part"
    return f"{where} is a {kind}; an nn.Sequential of nn.Linear with nn.ReLU between them is needed" + (
        f": {repair}." if repair else "."
    )


def _copied(parameter: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return parameter.detach().cpu().double().clone()


def _check_finite(name: str, parameter: Tensor) -> None:
    if parameter.is_complex():
        raise ValueError(f"{name} is {parameter.dtype}; real weights are needed.")
    bad = int((~torch.isfinite(parameter)).sum())
    if bad:
        raise ValueError(
            f"{name} holds {bad} NaN or infinite values of {parameter.numel()}; training diverged or the file is "
            "damaged: take an earlier checkpoint."
        )
