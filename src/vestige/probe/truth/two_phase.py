"""Train a truth model and watch: first it memorizes facts, then a truth direction emerges (arXiv 2510.15804)."""

import copy
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from vestige.core.cite import Paper
from vestige.core.descent import Descent, fit
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn
from vestige.probe.truth.cooccurrence import SOURCE, TruthCoOccurrence
from vestige.probe.truth.hooks import activations
from vestige.probe.truth.one_layer import LENGTH, LearnedTruthModel, ToyTruthModel, value_matrix_blocks
from vestige.probe.truth.probes import TruthProbe

REACHED = 0.9  # of its target: when a phase counts as reached
AT_Y, AT_X = 1, 2  # positions of the first attribute and of the second subject


@dataclass(frozen=True, eq=False, kw_only=True)
class TwoPhaseReport:
    """What was seen at each check of a training.

    Attributes:
        steps: done at each check.
        p_first: probability of g(x) after x, mean.
        p_true: of g(x') after a true fact.
        p_false: of g(x') after a false one.
        auc_before: of a linear probe for T before the norm: at y, and at x'.
        auc_after: after the norm.
        blocks: of a toy model's value matrix: b1, -a1, -b2 and a2 of `value_matrix_blocks`; else None.
        target: of p_first, the best possible: rho + (1 - rho) / n.
        ceiling: of an AUC: false facts that are right by accident look true.
        model: trained.
        outcome: of the training.
        source: the paper.
    """

    steps: tuple[int, ...]
    p_first: Float[Tensor, " checks"]
    p_true: Float[Tensor, " checks"]
    p_false: Float[Tensor, " checks"]
    auc_before: Float[Tensor, "checks 2"]
    auc_after: Float[Tensor, "checks 2"]
    blocks: Float[Tensor, "checks 4"] | None
    target: float
    ceiling: float
    model: nn.Module
    outcome: Outcome
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)

    @property
    def memorized(self) -> int | None:
        """First check with p_true at 0.9 of what memory alone reaches; None if there is none."""
        return self._first(self.p_true >= REACHED * self.target)

    @property
    def emerged(self) -> int | None:
        """First check with an AUC at x', after the norm, of 0.9 of the ceiling; None if there is none."""
        return self._first(self.auc_after[:, 1] >= REACHED * self.ceiling)

    def _first(self, reached: Tensor) -> int | None:
        return next((step for step, yes in zip(self.steps, reached.tolist(), strict=True) if yes), None)

    @property
    def verdict(self) -> str:
        """One sentence."""
        facts = "Facts are not memorized" if self.memorized is None else f"Facts are memorized at step {self.memorized}"
        if self.emerged is None:
            return f"{facts}, and no truth direction is seen at any check."
        later = self.memorized is not None and self.emerged > self.memorized
        return f"{facts}; a truth direction is seen {'later, ' if later else ''}at step {self.emerged}."


def two_phase_report(
    model: nn.Module,
    law: TruthCoOccurrence,
    *,
    steps: int | None = None,
    every: int = 250,
    batch_size: int | None = None,
    learning_rate: float | int | None = None,
    weight_decay: float | int | None = None,
    evaluated: int = 4000,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> TwoPhaseReport:
    """Train a copy on sequences that are drawn anew each step, and probe it on the way.

    Cross-entropy of y, x' and y'. The toy model: SGD, 2,000 steps of 16 at rate 1 with decay 1e-4. The learned one:
    AdamW, 5,000 steps of 128 at rate 3e-3 with decay 1e-5. Probes are logistic, fitted on one half of the evaluation
    sequences and scored on the other.

    Args:
        model: the start, a `ToyTruthModel` or a `LearnedTruthModel`; left as it is.
        law: of the sequences.
        steps: of the training.
        every: steps between two checks; the last step is one.
        batch_size: sequences of a step.
        learning_rate: of SGD or AdamW.
        weight_decay: likewise.
        evaluated: sequences of a check, drawn with rho = 1/2.
        generator: of sequences; None for seed 0.
        on_step: called with the loss of each step.

    Raises:
        ValueError: another module, or a law with another number of subjects than the model has.
    """
    if not isinstance(model, ToyTruthModel | LearnedTruthModel):
        raise ValueError(f"a {type(model).__name__} given; a ToyTruthModel or a LearnedTruthModel is needed.")
    if law.n != model.n:
        raise ValueError(f"a model of {model.n} subjects and a law of {law.n} given; both need the same.")
    toy, trained = isinstance(model, ToyTruthModel), copy.deepcopy(model)
    steps = steps or (2000 if toy else 5000)
    size, rate = batch_size or (16 if toy else 128), learning_rate or (1.0 if toy else 3e-3)
    decay = (1e-4 if toy else 1e-5) if weight_decay is None else weight_decay
    optimizer = (torch.optim.SGD if toy else torch.optim.AdamW)(trained.parameters(), lr=rate, weight_decay=decay)
    held = law.balanced().draw(evaluated, generator=spawn(generator, "evaluation"))
    checks: list[_Check] = []

    def objective(k: int) -> Tensor:
        if k % every == 0:
            checks.append(_checked(trained, law, held.tokens, held.first, k))
        tokens = law.draw(size, generator=spawn(generator, "batch", str(k))).tokens
        return F.cross_entropy(trained(tokens[:, :LENGTH]).flatten(0, 1), tokens[:, 1:].flatten())

    outcome = fit(objective, Descent(optimizer), steps=steps, on_step=on_step, note="training").outcome
    checks.append(_checked(trained, law, held.tokens, held.first, steps))
    columns = [torch.tensor([c.numbers[i] for c in checks], dtype=torch.float64) for i in range(len(checks[0].numbers))]
    return TwoPhaseReport(
        steps=tuple(c.step for c in checks), p_first=columns[0], p_true=columns[1], p_false=columns[2],
        auc_before=torch.stack(columns[3:5], 1), auc_after=torch.stack(columns[5:7], 1),
        blocks=torch.stack(columns[7:], 1) if toy else None, target=law.p_right, ceiling=law.ceiling, model=trained,
        outcome=outcome,
    )  # fmt: skip


@dataclass(frozen=True)
class _Check:
    step: int
    numbers: tuple[float, ...]


def _checked(
    model: ToyTruthModel | LearnedTruthModel,
    law: TruthCoOccurrence,
    tokens: Int[Tensor, "n 4"],
    truth: Tensor,
    step: int,
) -> _Check:
    with torch.no_grad():
        chance = model(tokens[:, :LENGTH]).float().log_softmax(-1).exp()
    rows, right = torch.arange(len(tokens)), law.n + law.g
    first, second = chance[rows, 0, right[tokens[:, 0]]], chance[rows, 2, right[tokens[:, 2]]]
    numbers = [float(first.mean()), float(second[truth].mean()), float(second[~truth].mean())]
    for layer in ("stream", "norm"):
        for place in (AT_Y, AT_X):
            numbers.append(
                _auc(activations(model, None, tokens[:, :LENGTH], layer=layer, position=place, batch_size=4096), truth)
            )
    if isinstance(model, ToyTruthModel):
        numbers += value_matrix_blocks(model.w.detach(), law).values()
    return _Check(step, tuple(numbers))


def _auc(x: Float[Tensor, "n d"], truth: Tensor) -> float:
    """Of a logistic probe, on the half that it was not fitted on."""
    half = len(x) // 2
    probe = TruthProbe("logistic").fit(x[:half].numpy(), truth[:half].numpy())
    return float(roc_auc_score(truth[half:].numpy(), probe.decision_function(x[half:].numpy())))
