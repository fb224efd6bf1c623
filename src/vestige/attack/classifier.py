"""What an attack takes for a classifier: a module or a function, and whatever holds its logits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from vestige.core.outputs import logits_of

# A module in evaluation mode, also TorchScript and `nn.DataParallel`, or a function of a batch.
Classifier = nn.Module | Callable[..., Any]
Inputs = Float[Tensor, " n *feature"] | np.ndarray | Sequence
Labels = Int[Tensor, " labels"] | np.ndarray | Sequence


@dataclass(frozen=True, eq=False)
class LogProbabilities:
    """A model of probabilities as one of logits: logarithms of probabilities are logits up to a constant.

    Attributes:
        model: returns probabilities.
    """

    model: Classifier

    def __call__(self, x: Tensor) -> Tensor:
        """Logarithms of the probabilities, at least log(1e-30)."""
        return log_probabilities(logits_of(self.model(x), len(x)))


def log_probabilities(p: Tensor) -> Tensor:
    """Logarithms, at least log(1e-30); taken in float32 or more, since half precision cannot hold that."""
    return p.to(torch.promote_types(p.dtype, torch.float32)).clamp(min=1e-30).log()


def module_of(model: Classifier) -> nn.Module | None:
    """The module behind a model; None for a function."""
    while isinstance(model, LogProbabilities):
        model = model.model
    return model if isinstance(model, nn.Module) else None


def precision_of(model: Classifier) -> Tensor | None:
    """A parameter whose precision and device are the model's; None where it has none, or is a function."""
    module = module_of(model)
    return None if module is None else next((p for p in module.parameters() if p.is_floating_point()), None)


def pure_call(model: Classifier) -> Callable[[Tensor], object]:
    """The model with its weights outside of every graph and with copies of its buffers, where torch can do that."""
    if isinstance(model, LogProbabilities):
        inner = pure_call(model.model)
        return lambda x: log_probabilities(logits_of(inner(x), len(x)))
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule | nn.DataParallel):
        return model
    state = {name: p.detach().clone() if p.is_inference() else p.detach() for name, p in model.named_parameters()}
    state |= {name: b.detach().clone() for name, b in model.named_buffers()}
    return lambda x: functional_call(model, state, (x,))


def check_mode(model: Classifier) -> None:
    """Refuse a model of which a part is in training mode.

    Raises:
        ValueError: it is, with the name of the first one.
    """
    module = module_of(model)
    for name, part in () if module is None else module.named_modules():
        if part.training:
            where = f"its part {name!r} ({type(part).__name__})" if name else "it"
            raise ValueError(
                f"the model is not in evaluation mode: {where} is in training mode, where dropout and BatchNorm change "
                "the outputs; call model.eval() first."
            )
