"""What a weights file gave: the network, its architecture as text, and the metadata an audit reads."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from vestige.core.space import UNBOUNDED, InputSpace
from vestige.nets.architecture import acted_on
from vestige.nets.weights_file import CheckpointError


@dataclass(frozen=True)
class LoadedModel:
    """A network read from a file, and what its maker wrote beside it.

    `tensors` holds what was saved beside the weights, by short name ("mean"); `metadata` is untrusted text.
    """

    model: nn.Module
    architecture: str
    metadata: dict[str, str]
    sha256: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one input, from the metadata or from the first width; None where neither says."""
        stored = read_shape(self.metadata) or acted_on(self.architecture)
        if stored is not None or self.architecture.partition(":")[0] not in ("mlp", "cnn"):
            return stored
        first = self.architecture.split(":")[1].split("-")[0]
        return tuple(int(size) for size in first.split("x"))

    @property
    def space(self) -> InputSpace | None:
        """The input range of the metadata key "space", with the tensors "mean" and "std" where saved.

        The entry may hold "mean" and "std" too, as a number or one for each channel. None where nothing is said.
        """
        if "space" not in self.metadata:
            known = {"mean", "std"} & set(self.tensors)
            return replace(UNBOUNDED, **{name: self.tensors[name] for name in known}) if known else None
        try:
            stored = json.loads(self.metadata["space"])
            low, high = float(stored["low"]), float(stored["high"])
            said = {name: torch.tensor(stored[name], dtype=torch.float64) for name in ("mean", "std") if name in stored}
            return InputSpace(low, high, **(said | {n: t for n, t in self.tensors.items() if n in ("mean", "std")}))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise CheckpointError(
                f"the metadata entry 'space', {self.metadata['space'][:80]!r}, is unreadable"
            ) from error


def read_shape(metadata: Mapping[str, str]) -> tuple[int, ...] | None:
    """The metadata entry "input_shape", a JSON list of one to four positive integers."""
    if "input_shape" not in metadata:
        return None
    try:
        shape = json.loads(metadata["input_shape"])
    except (ValueError, RecursionError):
        shape = None
    if not (isinstance(shape, list) and 1 <= len(shape) <= 4 and all(type(s) is int and 0 < s < 10**7 for s in shape)):
        raise CheckpointError(
            f"the metadata entry 'input_shape', {metadata['input_shape'][:80]!r}, is not a list of sizes"
        )
    return tuple(shape)
