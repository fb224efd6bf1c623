"""Gradients of a ReLU network with given derivatives at its kinks, and which layers a step is about.

Trained networks hold 20 to 40 % of (sample, neuron) pairs exactly at a kink, where the term that is really present in
the weights has a derivative between 0 and 1 (arXiv 2510.14844; `vestige.core.multipliers.clarke` finds it).
"""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.kkt import layer_of, select_layers, weighted_gradient
from vestige.core.multipliers import run_chain
from vestige.core.relu_chain import read_relu_chain


def gated_gradient(
    net: nn.Module, x: Float[Tensor, "n ..."], coef: Float[Tensor, "n out"], gates: Mapping[str, Float[Tensor, "n _"]]
) -> dict[str, Tensor]:
    """sum_i c_i . grad f(x_i) with these derivatives, by parameter; without gates, autograd's 0/1 derivative.

    Args:
        net: a chain of Linear and ReLU, or any module where there are no gates.
        x: inputs in model space.
        coef: output cotangents c_i.
        gates: of each ReLU in order, by the name of the layer before it.
    """
    if not gates:
        return weighted_gradient(net, x, coef)
    chain = run_chain(read_relu_chain(net), x)
    found = chain.gradient(chain.backward(coef, list(gates.values())))
    return {name: found[name] for name, parameter in net.named_parameters() if parameter.requires_grad}


def changed_layers(model: nn.Module, layers: Iterable[str] | None) -> list[str]:
    """The layers that a step changes: those given, else the first one that is trained.

    A network without late biases is linear in its first layer, f(x) = <W_1, d f / d W_1> = sum_i c_i k(x_i, x), so that
    removing a sample's term there removes its share of the output too. Removing it from L layers removes L shares.
    """
    return select_layers(model, layers if layers is not None else select_layers(model, None)[:1])


def stacked(tensors: Mapping[str, Tensor], layers: Iterable[str]) -> Tensor:
    """The parameters of these layers as one vector."""
    chosen = set(layers)
    return torch.cat([t.detach().reshape(-1) for k, t in tensors.items() if layer_of(k) in chosen])
