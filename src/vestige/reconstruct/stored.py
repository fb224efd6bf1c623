"""A finished reconstruction as named tensors and back: an attack of several runs saves each of them whole."""

import json
from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor

from vestige.core.cite import paper
from vestige.core.outcome import Outcome, Step
from vestige.reconstruct.result import Reconstruction

REST = "rest"  # everything that is no tensor, as JSON bytes


def to_tensors(found: Reconstruction) -> dict[str, Tensor]:
    """Tensors that share no memory, as files need them."""
    given = {field.name: getattr(found, field.name) for field in fields(found)}
    tensors = {name: value.clone() for name, value in given.items() if isinstance(value, Tensor)}
    rest = {name: value for name, value in given.items() if name not in tensors}
    rest["history"] = [[step.index, step.total, step.value, step.note] for step in found.history]
    rest["source"] = [each.arxiv for each in found.source]
    return tensors | {REST: torch.frombuffer(bytearray(json.dumps(rest).encode()), dtype=torch.uint8)}


def from_tensors(tensors: Mapping[str, Tensor], like: Tensor) -> Reconstruction:
    """The reconstruction that `to_tensors` was given, on the device of `like`."""
    rest = json.loads(tensors[REST].cpu().numpy().tobytes())
    rest["history"] = tuple(Step(*step) for step in rest["history"])
    rest["source"] = tuple(paper(arxiv) for arxiv in rest["source"])
    rest["outcome"], rest["warnings"] = Outcome(rest["outcome"]), tuple(rest["warnings"])
    return Reconstruction(**{k: v.to(like.device) for k, v in tensors.items() if k != REST}, **rest)
