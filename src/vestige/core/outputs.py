"""The logits in what a model returns: a tensor, a tuple, a dictionary, or an object such as `ModelOutput`."""

from collections.abc import Mapping

from torch import Tensor


def logits_of(outputs: object, n: int) -> Tensor:
    """The table of logits in what a model returned for n samples.

    A tensor is taken as it is; of others their `logits`, or the only table of n rows that they hold.

    Raises:
        ValueError: there is none, or several without a name.

    >>> import torch
    >>> logits_of({"logits": torch.zeros(2, 3), "attention": torch.zeros(2, 5)}, 2).shape
    torch.Size([2, 3])
    """
    if isinstance(outputs, Tensor):
        return outputs
    named = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    if isinstance(named, Tensor):
        return named
    parts = outputs.values() if isinstance(outputs, Mapping) else outputs if isinstance(outputs, tuple | list) else ()
    tables = [part for part in parts if isinstance(part, Tensor) and part.ndim == 2 and len(part) == n]
    if len(tables) == 1:
        return tables[0]
    raise ValueError(
        f"the model returns a {type(outputs).__name__} that holds {len(tables) or 'no'} tables of {n} rows and nothing "
        "named 'logits'; pass a function that returns the logits alone, such as lambda x: model(x)[0]."
    )
