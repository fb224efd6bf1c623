"""One chunk of an evaluation as tensors, so that it can be saved and read back with nothing lost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vestige.attack.result import AttackResult
from vestige.attack.suite import StageRecord

FIELDS = ("adv", "success", "clean_correct", "predicted", "target", "rank", "distance")


@dataclass(frozen=True, eq=False)
class Chunk:
    """Results of one chunk.

    Attributes:
        tensors: the fields of `AttackResult`, the stage that fooled the model on each sample, a row of costs a stage.
    """

    tensors: dict[str, Tensor]

    @property
    def costs(self) -> Tensor:
        """(stages, 4): samples before, after, gradients, forwards; zeros where a stage had nothing left to attack."""
        return self.tensors["costs"]

    @property
    def warnings(self) -> list[str]:
        """Warnings of the attacks."""
        return json.loads(bytes(self.tensors["warnings"].tolist()))


def pack(
    result: AttackResult, records: Sequence[StageRecord], stage: Tensor, n_stages: int, *, seconds: float
) -> Chunk:
    """The tensors of one chunk."""
    costs = torch.zeros((n_stages, 4), dtype=torch.long)
    for place, record in enumerate(records):
        costs[place] = torch.tensor(
            [record.before, record.after, record.gradient_evaluations, record.forward_evaluations]
        )
    words = torch.tensor(list(json.dumps(list(result.warnings)).encode()), dtype=torch.uint8)
    fields = {name: getattr(result, name) for name in FIELDS}
    extra = {"stage": stage, "costs": costs, "warnings": words, "seconds": torch.tensor(seconds, dtype=torch.float64)}
    total = torch.tensor([result.gradient_evaluations, result.forward_evaluations])
    return Chunk({**fields, **extra, "total": total})


def saved_chunk(saved: Mapping[str, Tensor], start: int) -> Chunk | None:
    """The chunk that begins at this sample, if it was saved."""
    prefix = f"{start}."
    found = {name.removeprefix(prefix): value for name, value in saved.items() if name.startswith(prefix)}
    return Chunk(found) if found else None


def concatenated(chunks: Sequence[Chunk], name: str, device: torch.device) -> Tensor:
    """One field of all chunks."""
    return torch.cat([chunk.tensors[name].to(device) for chunk in chunks])
