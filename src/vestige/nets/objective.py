"""What training minimizes: the data and options checked once, then a closure without checks for the inner loop."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vestige.core.margins import Loss, as_rows, loss_value, signs, targets


def loss_of_outputs(
    outputs: Float[Tensor, " n *out"], y: Shaped[Tensor, " *target"], loss: Loss
) -> Callable[[Tensor], Tensor]:
    """Mean loss as a function of outputs of this shape, in double precision.

    Single precision would end at 1e-7: cross-entropy there is a difference of numbers near the largest logit.

    Raises:
        ValueError: labels or targets that do not fit the outputs or the loss.
    """
    loss_value(outputs, y, loss)
    rows = as_rows(outputs)
    n, single = len(rows), rows.shape[1] == 1
    if loss in (Loss.MSE, Loss.HUBER):
        goal, measure = targets(y, rows).double(), F.mse_loss if loss is Loss.MSE else F.huber_loss
        return lambda out: measure(out.reshape(n, -1).double(), goal)
    if not single:
        labels = y.long()
        return lambda out: F.cross_entropy(out.double(), labels)
    sign = signs(y).double()
    if loss is Loss.EXPONENTIAL:
        return lambda out: torch.exp(-sign * out.reshape(n).double()).mean()
    return lambda out: F.softplus(-sign * out.reshape(n).double()).mean()


def checked_data(model: nn.Module, x: Float[Tensor, " n *feature"]) -> tuple[Tensor, Tensor]:
    """The samples in the model's precision and place, and its outputs on them.

    Raises:
        ValueError: nothing to train, samples that are empty or not finite, a forward pass that fails or is random.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("the model has no trainable parameters; set requires_grad on those that are to be trained")
    if x.numel() == 0 or not bool(torch.isfinite(x).all()):
        raise ValueError(f"x of shape {tuple(x.shape)} is empty or holds NaN or infinite values; remove those samples")
    x = x.detach().to(parameters[0])
    twin = copy.deepcopy(model)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            first, second = twin(x), twin(x)
    except RuntimeError as error:
        raise ValueError(f"the model does not accept samples of shape {tuple(x.shape[1:])}: {error}") from error
    if not torch.equal(first, second):
        raise ValueError("two forward passes differ; full-batch training needs a model without noise: call eval()")
    return x, first
