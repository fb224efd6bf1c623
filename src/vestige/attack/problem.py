"""What is refused before an attack begins: each mistake with what was given, what is allowed, its cause and repair."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vestige.attack.methods.oracle import Oracle
from vestige.attack.result import AttackResult, SkipRule
from vestige.core.cite import paper
from vestige.core.outcome import Outcome
from vestige.core.space import InputSpace, lp_norm, per_sample
from vestige.core.threat import Norm

AUTOATTACK, FAB, SQUARE, L1_APGD, MALT = "2003.01690", "1907.02044", "1912.00049", "2103.01208", "2407.02240"


@dataclass
class Case:
    """One attack on checked inputs: the oracle, the samples in the model's precision, and the best found so far."""

    oracle: Oracle
    x: Tensor
    y: Tensor
    eps: Tensor
    norm: Norm
    classes: int
    correct: Tensor
    adv: Tensor
    success: Tensor
    target: Tensor
    rank: Tensor
    must_reach: bool
    warnings: list[str]

    def to_attack(self) -> Tensor:
        """Positions of the samples that still stand."""
        return (~self.success).nonzero().flatten()

    def fooled(self, logits: Tensor, rows: Tensor, target: Tensor | None) -> Tensor:
        """Whether these logits are a success for the samples at `rows`; NaN never is."""
        wrong = (
            logits.argmax(1) != self.y[rows] if not self.must_reach or target is None else logits.argmax(1) == target
        )
        return wrong & torch.isfinite(logits).all(1)

    def record(self, rows: Tensor, adv: Tensor, target: Tensor | None, rank: Tensor | None) -> None:
        """Keep successes."""
        self.adv[rows], self.success[rows] = adv, True
        self.target[rows] = -1 if target is None else target
        self.rank[rows] = -1 if rank is None else rank

    def result(self, *sources: str, skip: SkipRule | None = None) -> AttackResult:
        """What was found, with every claimed success checked once more on what is returned."""
        moved = self.success & (self.adv != self.x).flatten(1).any(1)
        logits = self.oracle.logits(self.adv)
        wanted = self.target if self.must_reach else None
        holds = self.fooled(logits, torch.arange(len(self.x), device=self.x.device), wanted)
        lost = moved & ~holds
        if bool(lost.any()):
            self.warnings.append(
                f"{int(lost.sum())} of {int(moved.sum())} successes did not repeat when evaluated again and were "
                "dropped: the model is random, or its answers depend on the batch."
            )
            self.adv, self.success = torch.where(per_sample(lost, self.x), self.x, self.adv), self.success & ~lost
            logits = self.oracle.logits(self.adv)
        done = bool(self.success.all())
        return AttackResult(
            self.adv,
            self.success,
            self.correct,
            logits.argmax(1),
            self.target.masked_fill(~self.success, -1),
            self.rank.masked_fill(~self.success, -1),
            lp_norm(self.adv - self.x, self.norm.p),
            self.oracle.gradients,
            self.oracle.forwards,
            Outcome.CONVERGED if done else Outcome.BUDGET_SPENT,
            tuple(dict.fromkeys(self.warnings)),
            tuple(paper(source) for source in sources),
            skip,
        )


def open_case(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float | int,
    norm: Norm | str | float | int,
    space: InputSpace | None,
    must_reach: bool = False,
) -> Case:
    """Check everything that a user gave, once, and evaluate the clean samples.

    Raises:
        ValueError: a model in training mode or without logits, inputs outside the box or of integers, labels out of
            range, NaN logits, eps <= 0 or in units of 0-255.
    """
    space, norm = space or InputSpace(), Norm(norm)
    check_eps(eps, norm, space)
    if model.training:
        raise ValueError(
            "the model is in training mode, where dropout and BatchNorm change its answers; call model.eval() first."
        )
    space.check(x)
    like = next((p for p in model.parameters() if p.is_floating_point()), x)
    x = x.detach().to(like).clamp(space.low, space.high)
    y = read_labels(y, x)
    oracle = Oracle(model, space)
    logits = oracle.logits(x)
    check_logits(logits, len(x))
    classes = logits.shape[1]
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise ValueError(
            f"labels run from {int(y.min())} to {int(y.max())}, the model's outputs allow 0 to {classes - 1}; "
            "do the labels start at 1, or belong to another model?"
        )
    correct = logits.argmax(1) == y
    nothing = torch.full_like(y, -1)
    success = torch.zeros_like(correct) if must_reach else ~correct
    radius = torch.full((len(x),), float(eps), dtype=x.dtype, device=x.device)
    return Case(
        oracle, x, y, radius, norm, classes, correct, x.clone(), success, nothing, nothing.clone(), must_reach, []
    )


def read_labels(y: Tensor, x: Tensor) -> Tensor:
    """Labels as the attacks use them.

    Raises:
        ValueError: no integers, or not one a sample.
    """
    if y.is_floating_point() or y.dtype == torch.bool or y.ndim != 1 or len(y) != len(x):
        raise ValueError(f"y is {y.dtype} of shape {tuple(y.shape)}; {len(x)} integer class numbers are needed.")
    return y.detach().to(device=x.device, dtype=torch.long)


def check_eps(eps: float | int, norm: Norm, space: InputSpace) -> None:
    """Refuse a radius that is no radius, or that is in other units than the data."""
    if not 0 < eps < math.inf:
        raise ValueError(f"eps={eps} given; a positive finite radius in units of the data is needed, such as 8/255.")
    width = space.high - space.low
    if norm is Norm.LINF and eps >= width:
        raise ValueError(
            f"eps={eps:g} given for data in [{space.low:g}, {space.high:g}]: every input is allowed then. "
            f"Is it in units of 0-255? Write {eps:g}/255."
        )


def check_logits(logits: Tensor, n: int) -> None:
    """Refuse what is no table of logits."""
    if logits.ndim != 2 or len(logits) != n or logits.shape[1] < 2:
        raise ValueError(
            f"the model returns shape {tuple(logits.shape)} for {n} samples; (n, classes) with two classes or more is "
            "needed. One output z stands for two classes: return torch.stack([-z, z], 1)."
        )
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(
            f"the model returns NaN or infinite logits for {int((~torch.isfinite(logits)).any(1).sum())} of {n} clean "
            "samples; check its weights, its normalisation and its precision."
        )
    if are_probabilities(logits):
        raise ValueError(
            "the model returns probabilities (they lie in [0, 1] and sum to 1), whose gradients vanish; return the "
            "logits before the softmax. evaluate_robustness takes their logarithm instead, and warns."
        )


def are_probabilities(outputs: Tensor) -> bool:
    """Whether every row lies in [0, 1] and sums to 1."""
    inside = (outputs >= 0) & (outputs <= 1)
    return bool(inside.all()) and bool(((outputs.sum(1) - 1).abs() <= 1e-4).all())
