"""What is asked for scores: a kernel machine in a file, or a callable of the user's own."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vestige.audit.inputs import Audited
from vestige.audit.target import Space, input_space
from vestige.core.space import InputSpace
from vestige.nets.architecture import imported, is_factory
from vestige.reconstruct.kernels.black_box import Scores
from vestige.reconstruct.kernels.machine import load_kernel_model

Machine = Path | str | Callable[[Any], Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class BlackBoxModel(Audited):
    """A callable that scores inputs, and what is known beside its answers.

    Attributes:
        predict: from (m, d) to scores.
        kernel: as text.
        scores: what the answers are.
        sha256: of the file, or of the callable's name.
        parameters: how many numbers the file holds; 0 for a callable.
        metadata: untrusted text.
    """

    predict: Callable[[Any], Any]
    kernel: str
    scores: Scores
    sha256: str
    parameters: int
    metadata: dict[str, str]

    def flat(self, x: Tensor) -> Tensor:
        """Samples as rows of numbers that the model takes, in float64."""
        return self.inputs(x.double()).flatten(1)

    @property
    def center(self) -> Tensor:
        """Where the inputs lie, from what a user of the model knows: the mean that is subtracted, or mid-range."""
        space = self.shown_space
        middle = torch.as_tensor(space.mean, dtype=torch.float64)
        if not bool(middle.any()) and math.isfinite(space.low + space.high):
            middle = torch.tensor((space.low + space.high) / 2, dtype=torch.float64)
        shape = (1, *self.input_shape)
        grown = middle.reshape(-1, *(1,) * (len(shape) - 2)) if middle.ndim == 1 and len(shape) > 2 else middle
        return space.to_model(grown.expand(shape).clone()).flatten()


def read_machine(
    model: Machine,
    kernel: str,
    *,
    scores: Scores | str | None = None,
    input_shape: tuple[int, ...] | None = None,
    space: Space | None = None,
) -> BlackBoxModel:
    """A kernel model file, or a callable of the user's own; see `audit_queries` for the arguments.

    Raises:
        ValueError: a model that cannot be loaded, or facts that are missing.
    """
    if not callable(model) and not isinstance(model, str | Path):
        raise ValueError(
            f"a {type(model).__name__} given; give its function from inputs to scores, such as model.decision_function "
            "or model.predict, or the file that vestige.kernels.save_kernel_model writes."
        )
    if callable(model) or (is_factory(str(model)) and not Path(model).exists()):
        return _answering(model, kernel, Scores(scores or "raw"), input_shape, input_space(space, None))
    stored = load_kernel_model(model)
    shape = tuple(input_shape or stored.input_shape)
    if math.prod(shape) != stored.n_features:
        raise ValueError(
            f"inputs of shape {'x'.join(map(str, shape))} given; {model} takes {stored.n_features} numbers."
        )
    return BlackBoxModel(
        name=Path(model).name,
        predict=stored.predict,
        kernel=stored.kernel if kernel == "auto" else kernel,
        scores=Scores(scores or stored.scores),
        input_shape=shape,
        space=input_space(space, stored.space),
        sha256=stored.sha256,
        parameters=stored.numbers,
        metadata=stored.metadata,
    )


def _answering(
    model: Machine, kernel: str, scores: Scores, input_shape: tuple[int, ...] | None, space: InputSpace | None
) -> BlackBoxModel:
    """A callable, or the name of one: nothing is known but what is given."""
    name = str(model) if isinstance(model, str | Path) else f"{getattr(model, '__module__', '')}:{_name_of(model)}"
    if kernel == "auto" or input_shape is None:
        raise ValueError(f"{name} is a callable: give its kernel, such as rbf:gamma=..., and its input_shape too.")
    return BlackBoxModel(
        name=name,
        predict=model if callable(model) else _imported(name),
        kernel=kernel,
        scores=scores,
        input_shape=tuple(input_shape),
        space=space,
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        parameters=0,
        metadata={},
    )


def _name_of(function: Callable[[Any], Any]) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)


def _imported(text: str) -> Callable[[Any], Any]:
    try:
        found = imported(text)
    except Exception as error:
        raise ValueError(f"{text!r} did not load ({type(error).__name__}: {error}); is it importable here?") from error
    if not callable(found):
        raise ValueError(f"{text!r} is a {type(found).__name__}; a function from (m, d) to scores is needed.")
    return found
