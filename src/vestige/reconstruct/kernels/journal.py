"""The answers of a model that is asked, kept: an attack that goes on never pays for a query twice.

An attack is settled by its generator and the answers it gets. One that goes on asks its questions again from the start;
those that the journal knows are answered by it, in their order, and only the others reach the model. A question that
differs from the one saved at its place ends the reading: answers to other questions are not used.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vestige.core import descent
from vestige.core.descent import Checkpoint

OWN = ("questions", "rows", "answers")


@dataclass(eq=False)
class Journal:
    """Questions by their digests, and the answers to them.

    Attributes:
        checkpoint: where they are saved; None: nothing is kept.
        questions: digest of each batch of queries.
        answers: to each batch.
        parts: states of other searches, saved beside the answers.
        read: batches that were answered from the journal.
    """

    checkpoint: Checkpoint | None = None
    questions: list[int] = field(default_factory=list)
    answers: list[Tensor] = field(default_factory=list)
    parts: dict[str, Tensor] = field(default_factory=dict)
    read: int = 0
    _saved: float = field(default_factory=time.monotonic)

    @classmethod
    def load(cls, checkpoint: Checkpoint | None) -> "Journal":
        """What an earlier attack saved; empty where there was none."""
        state = {} if checkpoint is None else checkpoint.load() or {}
        if not set(OWN) <= set(state):
            return cls(checkpoint)
        answers = list(state["answers"].cpu().split(state["rows"].tolist()))
        parts = {name: value for name, value in state.items() if name not in OWN}
        return cls(checkpoint, state["questions"].tolist(), answers, parts)

    def recall(self, z: Tensor) -> Tensor | None:
        """The answer to the next batch of queries, if it is known."""
        if self.read == len(self.questions):
            return None
        if self.questions[self.read] != question(z):
            self.forget()
            return None
        self.read += 1
        return self.answers[self.read - 1]

    def add(self, z: Tensor, answer: Tensor) -> None:
        """Keep a new answer, and save unless the last time was a moment ago."""
        if self.checkpoint is None:
            return
        self.questions.append(question(z))
        self.answers.append(answer)
        self.read += 1
        if time.monotonic() - self._saved >= descent.SECONDS:
            self.save()

    def forget(self) -> None:
        """Drop what was not read: it answers other questions, or another model gave it."""
        del self.questions[self.read :], self.answers[self.read :]
        self.parts.clear()

    def save(self) -> None:
        """Write everything; called at the end of each stage, and when the attack is interrupted."""
        if self.checkpoint is None or not self.answers:
            return
        rows = torch.tensor([len(answer) for answer in self.answers])
        state = {"questions": torch.tensor(self.questions), "rows": rows, "answers": torch.cat(self.answers)}
        self.checkpoint.save({**self.parts, **state})
        self._saved = time.monotonic()

    def part(self, name: str) -> "Part | None":
        """A checkpoint for a search between queries."""
        return None if self.checkpoint is None else Part(self, f"{name}/")


@dataclass(frozen=True)
class Part:
    """The checkpoint of a search between queries: its state is saved beside the answers."""

    journal: Journal
    prefix: str

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace the search's state."""
        self.journal.parts = {self.prefix + name: value.clone() for name, value in tensors.items()}
        self.journal.save()

    def load(self) -> dict[str, Tensor] | None:
        """Its state, or None at its start."""
        parts = self.journal.parts.items()
        return {k.removeprefix(self.prefix): v for k, v in parts if k.startswith(self.prefix)} or None


def question(z: Tensor) -> int:
    """Digest of a batch of queries."""
    content = z.contiguous().numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big", signed=True)
