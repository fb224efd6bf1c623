"""One piece of an evaluation as tensors, so that it can be saved and read back with nothing lost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vestige.attack.result import AttackResult
from vestige.attack.suite import StageRecord

FIELDS = ("adv", "success", "clean_correct", "predicted", "target", "rank", "distance")


@dataclass(frozen=True, eq=False)
class Piece:
    """Results of one piece: the fields of `AttackResult`, the stage that broke each sample, a row of costs a stage."""

    tensors: dict[str, Tensor]

    @property
    def costs(self) -> Tensor:
        """(stages, 4): before, after, gradients, forwards; zeros where a stage had nothing left to do."""
        return self.tensors["costs"]

    @property
    def warnings(self) -> list[str]:
        """What the attacks said."""
        return json.loads(bytes(self.tensors["warnings"].tolist()))


def piece_of(
    result: AttackResult, records: Sequence[StageRecord], broken: Tensor, stages: int, seconds: float
) -> Piece:
    """The tensors of one piece."""
    costs = torch.zeros((stages, 4), dtype=torch.long)
    for place, record in enumerate(records):
        costs[place] = torch.tensor(
            [record.before, record.after, record.gradient_evaluations, record.forward_evaluations]
        )
    words = torch.tensor(list(json.dumps(list(result.warnings)).encode()), dtype=torch.uint8)
    fields = {name: getattr(result, name) for name in FIELDS}
    extra = {"stage": broken, "costs": costs, "warnings": words, "seconds": torch.tensor(seconds, dtype=torch.float64)}
    total = torch.tensor([result.gradient_evaluations, result.forward_evaluations])
    return Piece({**fields, **extra, "total": total})


def stored_piece(saved: Mapping[str, Tensor], start: int) -> Piece | None:
    """The piece that begins at this sample, if it was saved."""
    prefix = f"{start}."
    found = {name.removeprefix(prefix): value for name, value in saved.items() if name.startswith(prefix)}
    return Piece(found) if found else None


def joined(pieces: Sequence[Piece], name: str, device: torch.device) -> Tensor:
    """One field of all pieces."""
    return torch.cat([piece.tensors[name].to(device) for piece in pieces])
