"""Reading and changing what flows inside any module, by hooks that are gone afterwards."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.choices import ChoiceEnum
from vestige.core.modes import evaluating
from vestige.core.outcome import OnStep, Step

TOKENS = 512  # a text is read up to here


class Position(ChoiceEnum):
    """Which token's activation stands for a text."""

    LAST = "last"
    MEAN = "mean"


def activations(
    model: nn.Module,
    tokenizer: Any,
    texts: Sequence[str] | Tensor,
    *,
    layer: str,
    position: Position | str | int = Position.LAST,
    batch_size: int = 32,
    on_step: OnStep | None = None,
) -> Float[Tensor, "n d"]:
    """What one submodule gives out for each text, without gradients.

    Args:
        model: any module; run in evaluation mode and left as it is.
        tokenizer: called as the `transformers` library calls it, whose result the model takes by name; None where
            `texts` is what the model takes.
        texts: statements, or a tensor of inputs, batch first.
        layer: the submodule, by its name in `model.named_modules()`.
        position: "last" token that is not padding, "mean" over those, or the number of a token.
        batch_size: texts handled together.
        on_step: called after each batch, with the number of texts done.

    Returns:
        One row for each text, on the CPU, in float32 or the model's precision if that is higher.

    Raises:
        ValueError: no such submodule, or one that gives out something else than (n, d) or (n, tokens, d).

    >>> net = nn.Sequential(nn.Identity(), nn.Linear(2, 1))
    >>> activations(net, None, torch.eye(2), layer="0").tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    part = _submodule(model, layer)
    chosen = position if isinstance(position, int) else Position(position)
    if not len(texts):
        raise ValueError("no texts given; at least one is needed.")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    rows: list[Tensor] = []
    kept: list[Any] = []
    handle = part.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    try:
        with torch.no_grad(), evaluating(model):
            for start in range(0, len(texts), batch_size):
                batch = texts[start : start + batch_size]
                mask = _run(model, tokenizer, batch, device)
                rows.append(_pooled(kept[-1], len(batch), mask, chosen).cpu())
                kept.clear()
                if on_step is not None:
                    on_step(Step(start + len(batch), len(texts), float("nan"), layer))
    finally:
        handle.remove()
    return torch.cat(rows)


def _submodule(model: nn.Module, layer: str) -> nn.Module:
    parts = dict(model.named_modules())
    if layer not in parts or not layer:
        some = ", ".join(name for name in [*parts][1:9])
        raise ValueError(f"layer {layer!r} given; the submodules of this model are {some}, ...")
    return parts[layer]


def _run(model: nn.Module, tokenizer: Any, batch: Any, device: torch.device) -> Tensor | None:
    if tokenizer is None:
        model(batch.to(device) if isinstance(batch, Tensor) else batch)
        return None
    read = tokenizer(list(batch), padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
    read = {name: tensor.to(device) for name, tensor in read.items()}
    model(**read)
    return read.get("attention_mask")


def _pooled(output: Any, count: int, mask: Tensor | None, position: Position | int) -> Float[Tensor, "n d"]:
    found = output[0] if isinstance(output, tuple) else output
    if not isinstance(found, Tensor) or found.ndim not in (2, 3) or len(found) != count:
        shape = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"the layer gives out {shape} for {count} texts; (n, d) or (n, tokens, d) is needed.")
    found = found.to(torch.promote_types(found.dtype, torch.float32))  # half precision underflows in sums
    if found.ndim == 2:
        return found
    mask = torch.ones(found.shape[:2], dtype=torch.bool, device=found.device) if mask is None else mask.bool()
    if position == Position.MEAN:
        return (found * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    places = torch.arange(mask.shape[1], device=mask.device)
    if isinstance(position, int):
        return found[:, position]
    return found[torch.arange(count), (mask * places).argmax(1)]


@contextmanager
def steered(
    model: nn.Module, direction: Float[Tensor, " d"], *, layer: str, strength: float = 1.0, position: int | None = None
) -> Iterator[nn.Module]:
    """Inside the block, strength x direction is added to what one submodule gives out.

    Args:
        model: any module.
        direction: such as the mean of the true activations - that of the false.
        layer: the submodule, by its name in `model.named_modules()`.
        strength: factor; negative to steer the other way.
        position: the number of a token; None for all.

    Raises:
        ValueError: no such submodule.

    >>> net = nn.Sequential(nn.Identity())
    >>> with steered(net, torch.ones(2), layer="0", strength=3.0):
    ...     net(torch.zeros(1, 2)).tolist()
    [[3.0, 3.0]]
    """

    def add(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        found = output[0] if isinstance(output, tuple) else output
        moved = strength * direction.to(found)
        if position is None or found.ndim == 2:
            found = found + moved
        else:
            found = found.clone()
            found[:, position] += moved
        return (found, *output[1:]) if isinstance(output, tuple) else found

    handle = _submodule(model, layer).register_forward_hook(add)
    try:
        yield model
    finally:
        handle.remove()
