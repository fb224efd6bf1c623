"""A small network that is trained to recall facts, with its embeddings learned or frozen."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional

from vestige.construct.transformer.recall.facts import check_facts, questions
from vestige.core.cite import Paper, paper
from vestige.core.descent import Checkpoint, Descent, fit
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn


class RecallNetwork(nn.Module):
    """Uniform attention to a relation and a subject, an MLP, and a logit for each attribute.

        logits = U (W_2 relu(W_1 (e_s + e_r) + b_1) + b_2)

    Attributes:
        subject: e_s, (n, dim).
        relation: e_r, (relations, dim).
        mlp: a hidden layer.
        attribute: U, (n, dim).
    """

    def __init__(
        self, n: int, relations: int, dim: int, hidden: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.subject, self.relation, self.attribute = (nn.Parameter(torch.empty(k, dim)) for k in (n, relations, n))
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden, device="meta"), nn.ReLU(), nn.Linear(hidden, dim, device="meta")
        ).to_empty(device="cpu")
        draw = spawn(generator, "recall network")
        with torch.no_grad():
            for p in self.parameters():
                scale = p.shape[-1] ** -0.5 if p.ndim == 2 else 0.0
                p.copy_(scale * torch.randn(p.shape, generator=draw))

    def forward(self, x: Int[Tensor, "batch 2"]) -> Tensor:
        """(batch, 2), relations as ids from n on, then subjects -> (batch, n) logits."""
        return self.from_stream(self.stream(x))

    def stream(self, x: Int[Tensor, "batch 2"]) -> Tensor:
        """e_s + e_r."""
        return self.subject[x[:, 1]] + self.relation[x[:, 0] - len(self.subject)]

    def from_stream(self, stream: Tensor) -> Tensor:
        """Logits of e_s + e_r."""
        return self.mlp(stream) @ self.attribute.T


def recall_network(model: nn.Module) -> RecallNetwork:
    """The module itself.

    Raises:
        ValueError: it is of another class.
    """
    if not isinstance(model, RecallNetwork):
        raise ValueError(f"a {type(model).__name__} given; a RecallNetwork is needed, such as `train_recall` makes.")
    return model


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedRecall:
    """A network after training.

    Attributes:
        model: in evaluation mode, its gradients switched off.
        accuracy: share of facts that it recalls.
        frozen: whether the embeddings were left as they were drawn.
        loss: of the last step.
        outcome: of the training.
    """

    model: RecallNetwork
    accuracy: float
    frozen: bool
    loss: float
    outcome: Outcome
    source: tuple[Paper, ...] = field(default=(paper("2605.12426"),), repr=False)


def recall_accuracy(model: nn.Module, facts: Int[Tensor, "n relations"]) -> float:
    """Share of facts whose logit is the largest.

    Args:
        model: from ids (batch, 2), relation and subject, to logits, such as a constructed or a trained one.
        facts: a table.
    """
    asked = questions(facts, 1)
    with torch.no_grad():
        found = model(asked).argmax(1)
    return float((found == facts.flatten()).double().mean())


def train_recall(
    facts: Int[Tensor, "n relations"],
    dim: int,
    hidden: int,
    *,
    weight_decay: float | int = 0.3,
    noise: float | int = 0.0,
    frozen: bool = False,
    steps: int = 1500,
    learning_rate: float | int = 3e-3,
    generator: torch.Generator | None = None,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep | None = None,
) -> TrainedRecall:
    """Train a network on all facts at once, by cross-entropy, AdamW and a cosine.

    With weight decay the embeddings become superpositions of attribute vectors, see `fit_superposition`. With frozen
    embeddings, the control, the MLP has to hold the facts itself.

    Args:
        facts: a table.
        dim: of the stream.
        hidden: neurons of the MLP.
        weight_decay: of all that is trained.
        noise: added to the stream in training, as a multiple of the present spread of the subjects' embeddings: it
            drowns what is no superposition.
        frozen: whether subjects and attributes stay random.
        steps: each on all facts.
        learning_rate: at the start; it falls to 0.
        generator: of the start; None for seed 0.
        checkpoint: where the training is saved now and then, and read from.
        on_step: told the loss.

    Raises:
        ValueError: no table of facts, or sizes below 1.
    """
    check_facts(facts)
    if min(dim, hidden, steps) < 1 or not 0 <= noise < torch.inf:
        raise ValueError(
            f"dim={dim}, hidden={hidden}, steps={steps}, noise={noise} given; at least 1 each, noise at least 0."
        )
    n, relations = facts.shape
    model = RecallNetwork(n, relations, dim, hidden, generator=generator)
    trained = [p for name, p in model.named_parameters() if not (frozen and name in ("subject", "attribute"))]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=weight_decay)
    fitted = fit(
        _objective(model, facts, noise, spawn(generator, "noise")),
        Descent(optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)),
        steps=steps,
        checkpoint=checkpoint,
        on_step=on_step,
        note="frozen embeddings" if frozen else "learned embeddings",
    )
    model.eval().requires_grad_(False)
    accuracy = recall_accuracy(model, facts)
    loss = float(fitted.values[-1]) if len(fitted.values) else torch.nan
    return TrainedRecall(model=model, accuracy=accuracy, frozen=frozen, loss=loss, outcome=fitted.outcome)


def _objective(
    model: RecallNetwork, facts: Tensor, noise: float | int, draw: torch.Generator
) -> Callable[[int], Tensor]:
    asked, right = questions(facts, 1), facts.flatten()

    def objective(k: int) -> Tensor:
        stream = model.stream(asked)
        if noise:
            drawn = torch.randn(stream.shape, generator=spawn(draw, str(k)))
            stream = stream + noise * model.subject.detach().std() * drawn
        return functional.cross_entropy(model.from_stream(stream), right)

    return objective
