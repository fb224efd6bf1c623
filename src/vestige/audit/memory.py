"""Whether a search fits into the memory of this machine, asked before it begins."""

import math
import os
from pathlib import Path

import torch
from torch import nn

from vestige.audit.target import Target

# Of inputs and activations: value and gradient, the derivatives of both, and two moments of the optimizer. It decides
# about orders of magnitude, not about the last gigabyte.
COPIES = 6


def check_memory(target: Target, n_candidates: int | None, restarts: int | None) -> None:
    """Refuse a number of candidates whose activations, or whose distances to each other, cannot be held.

    Raises:
        ValueError: what would be needed and what is free.
    """
    if n_candidates is None:
        return  # the methods take as many as the first layer tells apart
    total = n_candidates * (restarts or 1)
    each = _numbers(target.model, target.input_shape) * next(target.model.parameters()).element_size()
    needed, free = COPIES * total * each + 8 * total**2, available()
    if needed > free:
        raise ValueError(
            f"{total:,} candidates need about {needed / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free; take fewer "
            f"(--n-candidates, --restarts), such as {_fitting(free, COPIES * each):,} in all."
        )


def available() -> float:
    """Bytes of memory that can be taken; infinite where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024.0 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, AttributeError):
        return math.inf


def _fitting(free: float, each: int) -> int:
    """The most candidates: the root of 8 n^2 + each n = free."""
    return max(1, int((math.sqrt(each**2 + 32 * free) - each) / 16))


def _numbers(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Numbers that one input leaves in the network: itself and what each layer gives."""
    sizes = [math.prod(shape)]

    def count(layer: nn.Module, given: object, out: object) -> None:
        sizes.append(out.numel() if isinstance(out, torch.Tensor) else 0)

    leaves = [layer for layer in model.modules() if next(layer.children(), None) is None]
    hooks = [layer.register_forward_hook(count) for layer in leaves]
    try:
        with torch.no_grad():
            model(torch.zeros(1, *shape).to(next(model.parameters())))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(sizes)
