"""Which problem a saved state belongs to: a state of another model or other options is not gone on from."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vestige.core.descent import Checkpoint, Within


def owned(checkpoint: Checkpoint | None, **problem: Any) -> Checkpoint | None:
    """The part of a checkpoint that belongs to one problem: empty where the state saved is another problem's."""
    return None if checkpoint is None else Within(checkpoint, fingerprint(problem), {})


def fingerprint(value: Any) -> str:
    """Digest of models (modules and weights), tensors, generators (their seed), dataclasses, mappings and values.

    >>> fingerprint({"steps": 3, "x": torch.ones(2)}) == fingerprint({"steps": 3, "x": torch.ones(2)})
    True
    >>> fingerprint(torch.ones(2)) == fingerprint(torch.ones(1, 2))
    False
    """
    digest = hashlib.sha256()
    _add(digest, value)
    return digest.hexdigest()[:32]


def _add(digest: Any, value: Any) -> None:
    digest.update(f"<{type(value).__name__}>".encode())
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    elif isinstance(value, torch.Generator):
        digest.update(str(value.initial_seed()).encode())
    elif isinstance(value, nn.Module):
        _add(digest, [(name, repr(module)) for name, module in value.named_modules()])
        _add(digest, value.state_dict())
    elif isinstance(value, Mapping):
        _add(digest, [(key, value[key]) for key in sorted(value)])
    elif is_dataclass(value):
        _add(digest, {field.name: getattr(value, field.name) for field in fields(value)})
    elif isinstance(value, list | tuple):
        for part in value:
            _add(digest, part)
    else:
        digest.update(repr(value).encode())
    digest.update(b"</>")
