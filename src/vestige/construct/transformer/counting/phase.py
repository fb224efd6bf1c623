"""Where trained transformers stop counting: vocabulary against dimension, and sequences of another length."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from vestige.construct.transformer.counting.capacity import check_sizes
from vestige.construct.transformer.counting.sequences import random_counts
from vestige.core.cite import Paper, paper
from vestige.core.descent import Checkpoint, Descent, Within, fit
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn

HELD_OUT, HIDDEN = 1024, 64


class SmallCounter(nn.Module):
    """One attention head of the last token, an MLP, and a class for each count; all of it is trained.

    Attributes:
        classes: counts from 0 to classes - 1.
    """

    def __init__(self, vocab: int, dim: int, classes: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.classes = classes
        with torch.random.fork_rng(devices=[]):  # torch's own start is drawn from the global generator
            self.token = nn.Embedding(vocab, dim)
            self.last = nn.Parameter(torch.zeros(dim))
            self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
            self.mlp = nn.Sequential(nn.Linear(dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, dim))
            self.readout = nn.Linear(dim, classes)
        draw = spawn(generator, "counter")
        with torch.no_grad():
            for p in self.parameters():
                scale = 1.0 if p is self.token.weight else dim**-0.5
                p.copy_(scale * torch.randn(p.shape, generator=draw))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n) ids -> (batch, classes) logits."""
        tokens = self.token(x)
        tokens = torch.cat([tokens[:, :-1], tokens[:, -1:] + self.last], 1)
        scores = self.query(tokens[:, -1:]) @ self.key(tokens).transpose(1, 2) * tokens.shape[2] ** -0.5
        after = tokens[:, -1] + self.out((scores.softmax(-1) @ self.value(tokens))[:, 0])
        return self.readout(after + self.mlp(after))


@dataclass(frozen=True, kw_only=True)
class CountingPhase:
    """How well one trained network counts.

    Attributes:
        dim: of its embeddings.
        vocab: different tokens.
        length: of the sequences that it was trained on.
        accuracy: share of exact counts on new sequences of that length.
        constant: the same of the best constant answer.
        longer: share of exact counts on sequences of twice the length with the same counts.
        outcome: of the training.
    """

    dim: int
    vocab: int
    length: int
    accuracy: float
    constant: float
    longer: float
    outcome: Outcome
    source: tuple[Paper, ...] = field(default=(paper("2407.15160"),), repr=False)


def counting_phase(
    dims: Sequence[int],
    vocabs: Sequence[int],
    *,
    largest_count: int = 8,
    length: int = 32,
    steps: int = 2000,
    batch_size: int = 64,
    learning_rate: float | int = 1e-2,
    restarts: int = 1,
    generator: torch.Generator | None = None,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep | None = None,
) -> tuple[CountingPhase, ...]:
    """Train a small transformer for each dimension and vocabulary to count how often the last token occurs.

    Counts are uniform in 1..largest_count among random other tokens, so that a constant answer is right one time in
    largest_count at any vocabulary. The best of the restarts, by training loss, is reported.

    Args:
        dims: of the embeddings, each at least 2.
        vocabs: numbers of tokens, each at least 2.
        largest_count: at most `length`.
        length: of the sequences.
        steps: of Adam, with fresh sequences and a cosine schedule.
        batch_size: sequences of a step.
        learning_rate: at the start; it falls to 0.
        restarts: random starts of each.
        generator: None for seed 0.
        checkpoint: where trainings are saved now and then, and read from.
        on_step: told the loss.

    Raises:
        ValueError: sizes below 2, or counts above the length.
    """
    if not 2 <= largest_count <= length or restarts < 1:
        raise ValueError(
            f"largest_count={largest_count}, length={length}, restarts={restarts} given; counts from 2 to the length "
            "and one start at least are needed."
        )
    found = []
    for dim in dims:
        for vocab in vocabs:
            check_sizes(vocab, dim, length)
            tries = [
                _trained(
                    SmallCounter(vocab, dim, largest_count + 1, generator=spawn(generator, f"{dim}.{vocab}.{start}")),
                    length,
                    (steps, batch_size, learning_rate),
                    spawn(generator, "train", f"{dim}.{vocab}.{start}"),
                    None if checkpoint is None else Within(checkpoint, f"{dim}.{vocab}.{start}", {}),
                    on_step,
                )
                for start in range(restarts)
            ]
            _, model, outcome = min(tries, key=lambda one: one[0])
            found.append(_judged(model, length, outcome, spawn(generator, "test", f"{dim}.{vocab}")))
    return tuple(found)


def _trained(
    model: SmallCounter,
    length: int,
    options: tuple[int, int, float | int],
    draw: torch.Generator,
    checkpoint: Checkpoint | None,
    on_step: OnStep | None,
) -> tuple[float, SmallCounter, Outcome]:
    steps, batch_size, learning_rate = options
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    vocab, most = model.token.num_embeddings, model.classes - 1

    def objective(k: int) -> Tensor:
        x, y = _sequences(vocab, length, most, batch_size, spawn(draw, str(k)))
        return functional.cross_entropy(model(x), y)

    descent = Descent(optimizer, schedule)
    fitted = fit(
        objective,
        descent,
        steps=steps,
        checkpoint=checkpoint,
        on_step=on_step,
        note=f"d = {model.last.numel()}, m = {vocab}",
    )
    last = fitted.values[-50:]
    return float(last.mean()) if len(last) else torch.inf, model, fitted.outcome


def _sequences(vocab: int, length: int, most: int, n: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    x = random_counts(vocab, length, n, largest=most, generator=draw)
    return x, (x == x[:, -1:]).sum(1)


def _judged(model: SmallCounter, length: int, outcome: Outcome, draw: torch.Generator) -> CountingPhase:
    vocab, most = model.token.num_embeddings, model.classes - 1
    shares = []
    for n in (length, 2 * length):
        x, y = _sequences(vocab, n, most, HELD_OUT, spawn(draw, str(n)))
        with torch.no_grad():
            shares.append(float((model(x).argmax(1) == y).double().mean()))
    return CountingPhase(
        dim=model.last.numel(),
        vocab=vocab,
        length=length,
        accuracy=shares[0],
        constant=1 / most,
        longer=shares[1],
        outcome=outcome,
    )
