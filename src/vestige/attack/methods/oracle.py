"""The model as an attack sees it: logits and gradients with respect to inputs in data space, counted."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from vestige.attack.classifier import Classifier, precision_of, pure_call
from vestige.core.outputs import logits_of
from vestige.core.space import InputSpace

Objective = Callable[[Tensor], Tensor]
BATCH_SIZE = 256
NO_GRADIENTS = (
    "the model has no gradients: its outputs are detached, are labels, or were computed outside torch. Square needs "
    "none: attacks='square' (--preset square), or vg.attack.square."
)


class Oracle:
    """Evaluates a model on data-space inputs and counts what it cost: samples forwarded, and samples differentiated.

    Only the model computes in its own precision: inputs are cast to it, and its logits to the precision of the inputs.
    """

    def __init__(self, model: Classifier, space: InputSpace, batch_size: int = BATCH_SIZE):
        self.space, self.batch_size = space, batch_size
        self._call, self._like = pure_call(model), precision_of(model)
        self.forwards = self.gradients = 0

    @property
    def box(self) -> tuple[float, float]:
        """Smallest and largest valid value of the data."""
        return self.space.low, self.space.high

    @property
    def rounding(self) -> float:
        """Relative error of one number that the model computes; 0 where its precision is unknown."""
        return 0.0 if self._like is None else torch.finfo(self._like.dtype).eps

    def _logits(self, x: Tensor) -> Tensor:
        given = self.space.to_model(x)
        outputs = self._call(given if self._like is None else given.to(self._like.dtype))
        return logits_of(outputs, len(x)).to(x.dtype)

    def logits(self, x: Tensor) -> Tensor:
        """Logits, without a graph; `batch_size` samples at a time."""
        self.forwards += len(x)
        with torch.no_grad():
            return torch.cat([self._logits(part) for part in x.split(self.batch_size)])

    def in_inference_mode(self, x: Tensor) -> Tensor:
        """Logits where no graph can be made at all; a model that differentiates to answer raises RuntimeError."""
        with torch.inference_mode():
            return self._logits(x.clone())

    def differentiable(self, x: Tensor) -> bool:
        """Whether torch can differentiate the outputs with respect to the inputs."""
        with torch.enable_grad():
            return self._logits(x.detach().requires_grad_()).requires_grad

    def _graph(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        logits = self._logits(x)
        if not logits.requires_grad:
            raise ValueError(NO_GRADIENTS)
        return x, logits

    def gradient(self, x: Tensor, objective: Objective) -> tuple[Tensor, Tensor, Tensor]:
        """Objective of each sample, logits and the gradient of the objective with respect to the sample."""
        self.gradients += len(x)
        with torch.enable_grad():
            x, logits = self._graph(x)
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
            x, logits = self._graph(x)
            sign = one_hot(classes.T, logits.shape[1]) - one_hot(y, logits.shape[1])  # (k, n, C)
            sign = sign.to(logits)
            if logits.is_cuda:  # on a CPU one pass after the other was as fast
                slopes = torch.autograd.grad(logits, x, sign, is_grads_batched=True)[0]
            else:
                slopes = torch.stack([torch.autograd.grad(logits, x, each, retain_graph=True)[0] for each in sign])
        return logits.detach(), slopes.movedim(0, 1)
