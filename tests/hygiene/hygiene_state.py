"""What a call must leave as it was: everything reachable from its arguments, and the state of the process.

The generator of `random` is left out, because beartype draws from it to check containers; that nothing of ours imports
`random` is a rule in tests/architecture.
"""

import dataclasses
import inspect
import logging
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import nn

SCALARS = (str, bytes, int, float, complex, bool, type(None), Path, torch.dtype, torch.device)


def fingerprint(thing, name="", seen=None):
    """Every tensor, array, module and generator below `thing`, by the path to it, in a form that compares by ==."""
    seen = set() if seen is None else seen
    if isinstance(thing, SCALARS) or id(thing) in seen:
        return {}
    seen.add(id(thing))
    if isinstance(thing, nn.Module):
        return _module(thing, name)
    if isinstance(thing, torch.Tensor):
        return {name: _tensor(thing)}
    if isinstance(thing, np.ndarray):
        return {name: (str(thing.dtype), thing.shape, thing.flags.writeable, thing.tobytes())}
    if isinstance(thing, torch.Generator):
        return {name: _tensor(thing.get_state())}
    if isinstance(thing, Mapping):
        parts = [(f"{name}[{key!r}]", value) for key, value in thing.items()]
    elif isinstance(thing, list | tuple | set):
        parts = [(f"{name}[{i}]", value) for i, value in enumerate(thing)]
    elif dataclasses.is_dataclass(thing):
        parts = [(f"{name}.{field.name}", getattr(thing, field.name)) for field in dataclasses.fields(thing)]
    elif hasattr(thing, "__dict__") and not isinstance(thing, type) and not inspect.isroutine(thing):
        parts = [(f"{name}.{key}", value) for key, value in vars(thing).items()]
    else:
        parts = []
    return {key: value for path, part in parts for key, value in fingerprint(part, path, seen).items()} | {
        f"{name}.keys": [path for path, _ in parts]
    }


def _tensor(t):
    grad = None if not t.is_leaf or t.grad is None else _bytes(t.grad)
    return str(t.dtype), tuple(t.shape), t.requires_grad, grad, _bytes(t)


def _bytes(t):
    return t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""


def _module(module, name):
    found = {}
    for key, part in module.named_modules():
        hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
        found[f"{name}.{key}.training"] = (type(part).__name__, part.training, [len(h) for h in hooks])
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return found | {f"{name}.{key}": _tensor(t) for key, t in tensors}


def generators():
    """The global ones."""
    numbers = np.random.get_state()  # noqa: NPY002
    return {
        "torch's generator": torch.get_rng_state().numpy().tobytes(),
        "numpy's generator": (numbers[0], numbers[1].tobytes(), *numbers[2:]),
    }


def settings():
    """What changes what other code computes, draws or says."""
    return {
        "default dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradients are on": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "default device": str(torch.get_default_device()),
        "numpy's errors": np.geterr(),
        "folder": Path.cwd(),
        "logging": (logging.root.level, list(logging.root.handlers)),
        "figures": matplotlib.rcParams.copy(),
    }


def files_in(folder):
    """Every file below a folder, by its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def difference(before, after):
    """What is not the same, by name."""
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
