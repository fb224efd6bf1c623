"""What is refused before an attack begins: each mistake with what was given, what is allowed, its cause and repair."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vestige.attack.methods.oracle import Oracle
from vestige.attack.result import AttackResult, SkipRule
from vestige.core.cite import paper
from vestige.core.outcome import Outcome
from vestige.core.space import lp_norm, per_sample
from vestige.core.threat import Norm, Threat

AUTOATTACK, FAB, SQUARE, L1_APGD, MALT = "2003.01690", "1907.02044", "1912.00049", "2103.01208", "2407.02240"


@dataclass(kw_only=True)
class Case:
    """One attack on checked inputs: the oracle, the samples in the model's precision, and the best found so far.

    Attributes:
        oracle: the model.
        x: clean samples in data space.
        y: true classes.
        threat: the ball and the box.
        eps: radius of the ball, once a sample.
        classes: how many the model has.
        correct: the model is right on the clean sample.
        adv: adversarial examples found so far, else the clean samples.
        success: whether one was found.
        target: whose search found it; -1 for none.
        rank: place of that target in its order; -1 for none.
        must_reach: only the target counts as success.
        warnings: what a reader must know.
    """

    oracle: Oracle
    x: Tensor
    y: Tensor
    threat: Threat
    eps: Tensor
    classes: int
    correct: Tensor
    adv: Tensor
    success: Tensor
    target: Tensor
    rank: Tensor
    must_reach: bool
    warnings: list[str]

    @property
    def norm(self) -> Norm:
        """Norm of the ball."""
        return self.threat.norm

    def to_attack(self) -> Tensor:
        """Positions of the samples without an adversarial example."""
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
                f"{int(lost.sum())} of {int(moved.sum())} successes did not repeat when they were evaluated again and "
                "were dropped: the model is random, or its outputs depend on the other samples of the batch."
            )
            self.adv, self.success = torch.where(per_sample(lost, self.x), self.x, self.adv), self.success & ~lost
            logits = self.oracle.logits(self.adv)
        return AttackResult(
            adv=self.adv,
            success=self.success,
            clean_correct=self.correct,
            predicted=logits.argmax(1),
            target=self.target.masked_fill(~self.success, -1),
            rank=self.rank.masked_fill(~self.success, -1),
            distance=lp_norm(self.adv - self.x, self.norm.p),
            gradient_evaluations=self.oracle.gradients,
            forward_evaluations=self.oracle.forwards,
            outcome=Outcome.CONVERGED if bool(self.success.all()) else Outcome.BUDGET_SPENT,
            warnings=tuple(dict.fromkeys(self.warnings)),
            source=tuple(paper(number) for number in sources),
            skip=skip,
        )


def open_case(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, must_reach: bool = False) -> Case:
    """Check everything that a user gave, once, and evaluate the clean samples.

    Raises:
        ValueError: a model in training mode or without logits, inputs outside the box or of integers, labels out of
            range, NaN logits.
    """
    check_mode(model)
    x = read_inputs(model, x, threat)
    y = read_labels(y, x)
    oracle = Oracle(model, threat.space)
    logits = oracle.logits(x)
    check_logits(logits, len(x))
    classes = logits.shape[1]
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise ValueError(
            f"labels run from {int(y.min())} to {int(y.max())}, the model's outputs allow 0 to {classes - 1}; "
            "do the labels start at 1, or belong to another model?"
        )
    correct, nothing = logits.argmax(1) == y, torch.full_like(y, -1)
    return Case(
        oracle=oracle,
        x=x,
        y=y,
        threat=threat,
        eps=torch.full((len(x),), float(threat.eps), dtype=x.dtype, device=x.device),
        classes=classes,
        correct=correct,
        adv=x.clone(),
        success=torch.zeros_like(correct) if must_reach else ~correct,
        target=nothing,
        rank=nothing.clone(),
        must_reach=must_reach,
        warnings=[],
    )


def check_mode(model: nn.Module) -> None:
    """Refuse a model in training mode.

    Raises:
        ValueError: it is.
    """
    if model.training:
        raise ValueError(
            "the model is in training mode, where dropout and BatchNorm change its outputs; call model.eval() first."
        )


def read_inputs(model: nn.Module, x: Tensor, threat: Threat) -> Tensor:
    """Clean samples inside the box, in the precision and on the device of the model.

    Raises:
        ValueError: values outside the box, not finite or not floating point.
    """
    threat.space.check(x)
    like = next((p for p in model.parameters() if p.is_floating_point()), x)
    return x.detach().to(like).clamp(threat.space.low, threat.space.high)


def read_labels(y: Tensor, x: Tensor) -> Tensor:
    """Labels as the attacks use them.

    Raises:
        ValueError: not integers, or not one a sample.
    """
    if y.is_floating_point() or y.dtype == torch.bool or y.ndim != 1 or len(y) != len(x):
        raise ValueError(f"y is {y.dtype} of shape {tuple(y.shape)}; {len(x)} integer class numbers are needed.")
    return y.detach().to(device=x.device, dtype=torch.long)


def read_targets(targets: Tensor | None, case: Case) -> Tensor | None:
    """Targets as (n, k), none of them the label; None for an untargeted attack.

    Raises:
        ValueError: another shape, a class out of range, the label itself, or none where one must be reached.
    """
    if targets is None:
        if case.must_reach:
            raise ValueError(
                "must_reach=True given without targets; name the classes to reach, one or several a sample."
            )
        return None
    y, found = case.y, targets.to(device=case.y.device, dtype=torch.long)
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or len(found) != len(y) or found.shape[1] < 1:
        raise ValueError(f"targets have shape {tuple(targets.shape)}; ({len(y)},) or ({len(y)}, k) is needed.")
    if int(found.min()) < 0 or int(found.max()) >= case.classes or bool((found == y[:, None]).any()):
        raise ValueError(
            f"a target is outside 0 to {case.classes - 1}, or is the sample's own label; name other classes."
        )
    return found


def check_counts(**counts: int) -> None:
    """Refuse numbers of steps, restarts and the like below 1.

    Raises:
        ValueError: one is.
    """
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count} given; it must be at least 1.")


def check_logits(logits: Tensor, n: int) -> None:
    """Refuse outputs that are not a finite table of logits.

    Raises:
        ValueError: they are not.
    """
    if logits.ndim != 2 or len(logits) != n or logits.shape[1] < 2:
        raise ValueError(
            f"the model returns shape {tuple(logits.shape)} for {n} samples; (n, classes) with two classes or more is "
            "needed. One output z stands for two classes: return torch.stack([-z, z], 1)."
        )
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(
            f"the model returns NaN or infinite logits for {int((~torch.isfinite(logits)).any(1).sum())} of {n} clean "
            "samples; check its weights, its normalization and its precision."
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
