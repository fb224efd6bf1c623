"""Training in the span of the data: exact and cheaper when the first thing a network does is a linear layer.

With x_i = V z_i (V orthonormal, r columns) the gradient of the first layer is sum_i delta_i z_i^T V^T: its rows never
leave the span. So W1 = Wz V^T + W_out, where Wz is trained on z and W_out, the part of the start outside the span,
keeps its direction: constant without weight decay, it shrinks by (1 - lr wd) a step of plain gradient descent with it.
An average over views of the input is trained on the coordinates of all views, as a network on sets of them.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.relu_chain import first_linear
from vestige.nets.groups import Permutations
from vestige.nets.invariant import InvariantNetwork


@dataclass(frozen=True)
class SpanView:
    """A network on span coordinates that computes the same outputs as the original on the data.

    Attributes:
        model: the original with a first layer of r inputs.
        z: the data in span coordinates; (n, t, r) for an average over t views.
        basis: orthonormal columns, original input from coordinates.
        outside: the first layer's weights minus their part in the span.
    """

    model: nn.Module
    z: Float[Tensor, "n *t r"]
    basis: Float[Tensor, "d r"]
    outside: Float[Tensor, "h d"]


def span_view(model: nn.Module, x: Float[Tensor, " n *feature"]) -> SpanView | None:
    """The network on the coordinates of the data's span, or None where that is inexact or not smaller.

    Exact means: the network begins with a trainable nn.Linear whose weights are used once (see
    `vestige.core.relu_chain.first_linear`); or it is an InvariantNetwork of one that does.
    """
    if isinstance(model, InvariantNetwork):
        views = model.views(x)
        inner, count = span_view(model.base, views.flatten(0, 1)), views.shape[1]
        if inner is None:
            return None
        twin = InvariantNetwork(inner.model, Permutations(count))
        return SpanView(twin, inner.z.unflatten(0, (-1, count)), inner.basis, inner.outside)
    first, flat = first_linear(model), x.flatten(1)
    if first is None or not first[1].weight.requires_grad or first[1].in_features != flat.shape[1]:
        return None
    _, singular, right = torch.linalg.svd(flat.double(), full_matrices=False)
    # Directions below the rounding of the input's own precision carry nothing of the data.
    tolerance = 10 * torch.finfo(x.dtype).eps
    rank = int((singular > tolerance * singular[0]).sum())
    if rank == 0 or rank >= flat.shape[1]:
        return None
    basis = right[:rank].T.contiguous()
    twin = copy.deepcopy(model)
    layer = twin.get_submodule(first[0])
    assert isinstance(layer, nn.Linear)
    weight = layer.weight.detach().double()
    inside = weight @ basis
    layer.weight, layer.in_features = nn.Parameter(inside.to(layer.weight)), rank
    return SpanView(twin, (flat.double() @ basis).to(x.dtype), basis, weight - inside @ basis.T)


def leave_span(view: SpanView, small: nn.Module, model: nn.Module, outside_factor: float) -> nn.Module:
    """A copy of `model` with the parameters of `small`, trained on z: W1 = Wz V^T + outside_factor W_out."""
    trained = copy.deepcopy(model)
    if isinstance(trained, InvariantNetwork) and isinstance(small, InvariantNetwork):
        trained.base = leave_span(view, small.base, trained.base, outside_factor)
        return trained
    first = first_linear(model)
    assert first is not None
    state, name = small.state_dict(), f"{first[0]}.weight".lstrip(".")
    inside = state[name].double() @ view.basis.T
    state[name] = (inside + outside_factor * view.outside).to(model.state_dict()[name])
    trained.load_state_dict(state, strict=True)
    return trained
