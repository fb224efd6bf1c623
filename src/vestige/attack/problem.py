"""What is refused before an attack begins: each mistake with what was given, what is allowed, its cause and repair."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vestige.attack.classifier import Classifier, Labels, check_mode, precision_of
from vestige.attack.methods.oracle import BATCH_SIZE, Oracle
from vestige.attack.result import AttackResult, SkipRule
from vestige.core.cite import paper
from vestige.core.outcome import Outcome
from vestige.core.space import lp_norm, per_sample
from vestige.core.threat import Norm, Threat

Given = Tensor | np.ndarray | Sequence  # samples before they were checked, of any kind
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
        """Whether these logits are a success for the samples at `rows`: a NaN is no answer, so that y is lost."""
        silent = logits.isnan().any(1)
        if self.must_reach and target is not None:
            return (logits.argmax(1) == target) & ~silent
        return (logits.argmax(1) != self.y[rows]) | silent

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
        silent = logits.isnan().any(1)
        if bool(silent.any()):
            self.warnings.append(
                f"The model returns NaN for {int(silent.sum())} of the adversarial examples. It gives no class there, "
                "which counts as fooled; check its precision and its range of inputs."
            )
        return AttackResult(
            adv=self.adv,
            success=self.success,
            clean_correct=self.correct,
            predicted=logits.argmax(1).masked_fill(silent, -1),
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


def open_case(
    model: Classifier,
    x: Given,
    y: Labels,
    threat: Threat,
    *,
    must_reach: bool = False,
    batch_size: int = BATCH_SIZE,
) -> Case:
    """Check everything that a user gave, once, and evaluate the clean samples.

    Args:
        model: module or function.
        x: clean samples.
        y: their labels.
        threat: the ball and the box.
        must_reach: only the target counts as success.
        batch_size: samples of any pass.

    Raises:
        ValueError: a model in training mode or without logits, inputs outside the box or of integers, labels out of
            range, NaN logits.
    """
    check_mode(model)
    x = read_inputs(model, x, threat)
    y, eps = read_labels(y, x), threat.radii(x)
    oracle = Oracle(model, threat.space, batch_size)
    logits = oracle.logits(x)
    check_logits(logits, len(x))
    check_probabilities(oracle, logits, x)
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
        eps=eps,
        classes=classes,
        correct=correct,
        adv=x.clone(),
        success=torch.zeros_like(correct) if must_reach else ~correct,
        target=nothing,
        rank=nothing.clone(),
        must_reach=must_reach,
        warnings=[],
    )


def read_inputs(model: Classifier, x: Given, threat: Threat) -> Tensor:
    """Clean samples inside the box, on the device of the model and in its precision, but in float32 at least.

    Raises:
        ValueError: values outside the box, not finite or not floating point.
    """
    like = precision_of(model)
    given = torch.as_tensor(x)
    threat.space.check(given)
    kind, device = (
        (given.dtype, given.device) if like is None else (torch.promote_types(like.dtype, torch.float32), like.device)
    )
    return given.detach().to(device, kind).clamp(threat.space.low, threat.space.high)


def read_labels(y: Labels, x: Tensor) -> Tensor:
    """Labels as the attacks use them.

    Raises:
        ValueError: not integers, or not one a sample.
    """
    y = torch.as_tensor(y)
    if y.is_floating_point() or y.dtype == torch.bool or y.ndim != 1 or len(y) != len(x):
        cause = " Are they one-hot? Give y.argmax(1)." if y.ndim == 2 else ""
        raise ValueError(f"y is {y.dtype} of shape {tuple(y.shape)}; {len(x)} integer class numbers are needed.{cause}")
    return y.detach().to(device=x.device, dtype=torch.long, copy=True)


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
            "needed. One output z stands for two classes: return torch.stack([-z, z], 1). Class numbers alone: return "
            "torch.nn.functional.one_hot of them, which only Square can attack."
        )
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(
            f"the model returns NaN or infinite logits for {int((~torch.isfinite(logits)).any(1).sum())} of {n} clean "
            "samples; check its weights, its normalization and its precision."
        )


def check_probabilities(oracle: Oracle, logits: Tensor, x: Tensor) -> None:
    """Refuse probabilities, but not labels alone: they have no gradients to vanish.

    Raises:
        ValueError: probabilities.
    """
    if are_probabilities(logits, oracle.rounding) and not (are_one_hot(logits) and not oracle.differentiable(x[:1])):
        raise ValueError(
            "the model returns probabilities (they lie in [0, 1] and sum to 1), whose gradients vanish; return the "
            "logits before the softmax. evaluate_robustness takes their logarithm instead, and warns."
        )


def are_probabilities(outputs: Tensor, rounding: float = 0.0) -> bool:
    """Whether every row lies in [0, 1] and sums to 1, up to 1e-4 or the rounding of the model.

    >>> p = torch.tensor([[0.25, 0.7495]])
    >>> are_probabilities(p), are_probabilities(p, torch.finfo(torch.float16).eps)
    (False, True)
    """
    inside = (outputs >= 0) & (outputs <= 1)
    return bool(inside.all()) and bool(((outputs.double().sum(1) - 1).abs() <= max(1e-4, rounding)).all())


def are_one_hot(outputs: Tensor) -> bool:
    """Whether every row is 1 at one class and 0 at all others: a label, and nothing about its certainty."""
    return bool(((outputs == 0) | (outputs == 1)).all()) and bool((outputs.sum(1) == 1).all())
