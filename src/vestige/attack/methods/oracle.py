"""The model as an attack sees it: logits and gradients with respect to inputs in data space, counted."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import one_hot

from vestige.core.space import InputSpace

Objective = Callable[[Tensor], Tensor]


class Oracle:
    """Evaluates a model on data-space inputs and counts what it cost: samples forwarded, and samples differentiated."""

    def __init__(self, model: nn.Module, space: InputSpace):
        self.space = space
        self._model = model
        # Buffers are copied: a BatchNorm in training mode would write into the user's.
        self._state = {name: p.detach() for name, p in model.named_parameters()}
        self._state |= {name: b.detach().clone() for name, b in model.named_buffers()}
        self.forwards = self.gradients = 0

    @property
    def box(self) -> tuple[float, float]:
        """Smallest and largest valid value of the data."""
        return self.space.low, self.space.high

    def _logits(self, x: Tensor) -> Tensor:
        return functional_call(self._model, self._state, (self.space.to_model(x),))

    def logits(self, x: Tensor) -> Tensor:
        """Logits, without a graph."""
        self.forwards += len(x)
        with torch.no_grad():
            return self._logits(x)

    def in_inference_mode(self, x: Tensor) -> Tensor:
        """Logits where no graph can be made at all; a model that differentiates to answer raises RuntimeError."""
        with torch.inference_mode():
            return self._logits(x.clone())

    def gradient(self, x: Tensor, objective: Objective) -> tuple[Tensor, Tensor, Tensor]:
        """Objective of each sample, logits and the gradient of the objective with respect to the sample."""
        self.gradients += len(x)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            logits = self._logits(x)
            value = objective(logits)
            (slope,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), logits.detach(), slope

    def class_gradients(self, x: Tensor, y: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of z_c - z_y for the classes asked of each sample, from one forward pass.

        Args:
            x: inputs, (n, ...).
            y: reference class of each sample.
            classes: (n, k).

        Returns:
            Logits (n, C) and gradients (n, k, ...).
        """
        self.gradients += classes.numel()
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            logits = self._logits(x)
            sign = one_hot(classes.T, logits.shape[1]) - one_hot(y, logits.shape[1])  # (k, n, C)
            sign = sign.to(logits)
            if logits.is_cuda:  # on a CPU one pass after the other was as fast
                slopes = torch.autograd.grad(logits, x, sign, is_grads_batched=True)[0]
            else:
                slopes = torch.stack([torch.autograd.grad(logits, x, each, retain_graph=True)[0] for each in sign])
        return logits.detach(), slopes.movedim(0, 1)
