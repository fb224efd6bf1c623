"""A ReLU whose derivative is soft, so that the derivative itself can be differentiated (arXiv 2206.07758, section 5).

Forwards it is the ReLU. Backwards the gate 1[z > 0] is sigmoid(sharpness z), and the derivative of that gate is the
sigmoid's: what depends on a gradient of the network has a gradient through the activation pattern.
"""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn


class _SoftGate(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, sharpness: float) -> Tensor:
        return z.relu()

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.sharpness = inputs[1]

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        return gradients[0] * torch.sigmoid(ctx.sharpness * z), None


def soft_relu(z: Float[Tensor, "*any"], sharpness: float) -> Float[Tensor, "*any"]:
    """max(z, 0), with the derivative sigmoid(sharpness z).

    >>> z = torch.zeros(1, requires_grad=True)
    >>> torch.autograd.grad(soft_relu(z, 8.0).sum(), z, create_graph=True)[0].tolist()
    [0.5]
    """
    return _SoftGate.apply(z, sharpness)


class SmoothedReLU(nn.Module):
    """`soft_relu` as a module; `alpha` is its sharpness."""

    def __init__(self, alpha: float):
        super().__init__()
        self.alpha = alpha

    def forward(self, z: Tensor) -> Tensor:
        return soft_relu(z, self.alpha)


def smoothed(model: nn.Module, alpha: float) -> nn.Module:
    """A copy of the model with `SmoothedReLU` for each nn.ReLU: same outputs, gradients through the gates.

    Args:
        model: built from nn.ReLU modules; a functional relu is not seen.
        alpha: sharpness; published searches lie in [10, 500].

    Raises:
        ValueError: alpha is not positive, or the model has no nn.ReLU.
    """
    if not alpha > 0:
        raise ValueError(
            f"smoothing={alpha} given; it must be positive, such as 50. For the plain derivative give None."
        )
    net = copy.deepcopy(model)
    found = [(m, k) for m in net.modules() for k, child in m._modules.items() if isinstance(child, nn.ReLU)]
    if not found:
        raise ValueError(
            "smoothing was asked for, but the model has no nn.ReLU module; is F.relu used? Make it a module."
        )
    for parent, name in found:
        setattr(parent, name, SmoothedReLU(alpha))
    return net
