"""Running a user's model in evaluation mode and giving it back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every submodule has its own mode again, also after an error.

    `model.train(mode)` would set all submodules to one mode, and a user may have frozen some of them.

    >>> net = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    >>> with evaluating(net):
    ...     inside = [module.training for module in net]
    >>> inside, [module.training for module in net]
    ([False, False], [True, False])
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
