"""Where a layer's gradients come from: its input, and the loss's direction at its output.

In a dense or convolutional layer the gradient of <c, f(x)> is a sum of delta_t a_t^T over positions t, with a_t the
inputs there (patches of a convolution), a 1 appended for the bias, and delta_t the cotangent at the output. A BatchNorm
right behind a layer belongs to it: in evaluation mode both are one affine map, and its output is the layer's.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_linear_bn_weights

from vestige.core.kkt import layer_of
from vestige.core.margins import Loss
from vestige.membership.cotangents import unit_cotangents

Factors = tuple[Float[Tensor, "n channel position"], Float[Tensor, "n feature position"]]
NARROW = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Layer:
    """A module with trainable weights; `norm` is the BatchNorm behind it; `factored` where the sum above holds.

    `kind` is "dense", "head" for the dense layer that runs last, "convolution", or "other".
    """

    name: str
    norm: str | None
    factored: bool
    kind: str


def evaluation_copy(model: nn.Module) -> nn.Module:
    """In evaluation mode and at least single precision; all computing is done on it."""
    net = copy.deepcopy(model).eval()
    return net.float() if any(p.dtype in NARROW for p in net.parameters()) else net


def read_layers(net: nn.Module, sample: Float[Tensor, "1 ..."]) -> dict[str, Layer]:
    """Every module that owns trainable parameters, in the order in which the network runs them.

    Args:
        net: in evaluation mode.
        sample: one input.
    """
    names = list(dict.fromkeys(layer_of(key) for key, p in net.named_parameters() if p.requires_grad))
    runs: list[tuple[str, Tensor, Tensor]] = []  # kept alive, so that no id is used twice
    produced: dict[tuple[int, int], str] = {}
    norm_of: dict[str, str] = {}

    def record(name: str):
        def hook(module, inputs, output):
            before = produced.get((id(inputs[0]), inputs[0]._version))  # an in-place ReLU between them counts
            if before is not None and isinstance(module, _BatchNorm) and module.running_mean is not None:
                norm_of[before] = name
            if isinstance(module, nn.Linear | nn.Conv2d):
                produced[id(output), output._version] = name
            runs.append((name, inputs[0], output))

        return hook

    handles = [net.get_submodule(name).register_forward_hook(record(name)) for name in names]
    with torch.no_grad():
        net(sample)
    for handle in handles:
        handle.remove()
    ran = [name for name, _, _ in runs]
    # A network that averages over views of a sample runs a layer once, on several rows: none is the sample's own.
    single = {name for name, inputs, _ in runs if ran.count(name) == len(inputs) == 1}
    norm_of = {name: norm for name, norm in norm_of.items() if ran.count(name) == ran.count(norm) == 1}
    dense = [name for name in ran if isinstance(net.get_submodule(name), nn.Linear)]
    return {
        name: _described(net, name, norm_of.get(name), once=name in single, last=[name] == dense[-1:])
        for name in dict.fromkeys(ran)
        if name not in norm_of.values()
    }


def _described(net: nn.Module, name: str, norm: str | None, *, once: bool, last: bool) -> Layer:
    module = net.get_submodule(name)
    plain = type(module) is nn.Linear or (
        type(module) is nn.Conv2d and module.groups == 1 and module.padding_mode == "zeros" and module.padding != "same"
    )
    own = {id(p) for p in module.parameters(recurse=False)}
    shared = sum(id(p) in own for _, p in net.named_parameters(remove_duplicate=False)) > len(own)
    every = all(p.requires_grad for p in module.parameters(recurse=False))
    kinds = {nn.Linear: "head" if last else "dense", nn.Conv2d: "convolution"}
    kind = next((kind for cls, kind in kinds.items() if isinstance(module, cls)), "other")
    return Layer(name, norm, plain and every and not shared and once, kind)


def weight_of(net: nn.Module, layer: Layer) -> Float[Tensor, "channel feature"]:
    """Weights and bias of a factored layer as one matrix, the BatchNorm behind it multiplied in."""
    module = net.get_submodule(layer.name)
    assert isinstance(module, nn.Linear | nn.Conv2d)
    weight, bias = module.weight.flatten(1), module.bias
    if layer.norm is not None:
        norm = net.get_submodule(layer.norm)
        assert isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None
        scale = torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight
        shift = torch.zeros_like(norm.running_mean) if norm.bias is None else norm.bias
        statistics = (norm.running_mean, norm.running_var, norm.eps)
        weight, bias = fuse_linear_bn_weights(weight, bias, *statistics, scale, shift)
    return (weight if bias is None else torch.cat([weight, bias[:, None]], 1)).detach().double()


def factors(
    net: nn.Module,
    layers: Iterable[Layer],
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, "n ..."],
    loss: Loss | str,
) -> dict[str, Factors]:
    """(delta, a) of each factored layer for a batch of samples.

    Args:
        net: in evaluation mode.
        layers: factored ones.
        x: inputs in model space.
        y: labels or targets.
        loss: of the training.
    """
    seen: dict[str, list[Tensor]] = {}
    layers = list(layers)

    def record(name: str, *, is_norm: bool):
        def hook(_module, inputs, output):
            seen[name] = [seen[name][0] if is_norm else inputs[0].detach(), output]
            return output.clone()  # an in-place ReLU behind the layer must not overwrite it

        return hook

    handles = []
    for layer in layers:
        handles.append(net.get_submodule(layer.name).register_forward_hook(record(layer.name, is_norm=False)))
        if layer.norm is not None:
            handles.append(net.get_submodule(layer.norm).register_forward_hook(record(layer.name, is_norm=True)))
    try:
        with torch.enable_grad():
            output = net(x)
            direction = unit_cotangents(output.detach(), y, loss).reshape(output.shape).to(output)
            deltas = torch.autograd.grad(output, [seen[layer.name][1] for layer in layers], direction)
    finally:
        for handle in handles:
            handle.remove()
    return {
        layer.name: _positions(net, layer, seen[layer.name][0], delta.detach())
        for layer, delta in zip(layers, deltas, strict=True)
    }


def _positions(net: nn.Module, layer: Layer, inputs: Tensor, delta: Tensor) -> Factors:
    module = net.get_submodule(layer.name)
    if isinstance(module, nn.Conv2d):
        padding = 0 if isinstance(module.padding, str) else module.padding
        a, delta = F.unfold(inputs, module.kernel_size, module.dilation, padding, module.stride), delta.flatten(2)
    else:
        a, delta = (t.reshape(len(t), -1, t.shape[-1]).mT for t in (inputs, delta))
    if module.bias is not None or layer.norm is not None:
        a = torch.cat([a, torch.ones_like(a[:, :1])], 1)
    return delta, a
