"""A network without some of its samples, and how the step that made it ended."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from vestige.core.choices import ChoiceEnum
from vestige.core.cite import Paper, paper
from vestige.core.kkt import working_copy
from vestige.core.margins import Loss, as_rows, margin
from vestige.unlearning.certificate import UnlearningCertificate, unlearning_certificate

SOURCE = (paper("2510.14844"),)


class StepRule(ChoiceEnum):
    """What is subtracted: the difference of solutions with and without the samples, or their terms alone, with the best
    derivatives at ReLU kinks ("clarke") or with autograd's 0 and 1 as published ("kkt")."""

    RESOLVE = "resolve"
    CLARKE = "clarke"
    KKT = "kkt"


class Erasure(ChoiceEnum):
    """How an unlearning step ended."""

    ERASED = "erased"
    NOTHING_TO_DO = "nothing_to_do"
    TRAINING_ERRORS = "training_errors"
    HARMFUL = "harmful"

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return {
            Erasure.ERASED: "What the forgotten samples had put into the weights was taken out.",
            Erasure.NOTHING_TO_DO: "There is nothing to take out, by the multipliers or by the step that was asked "
            "for; the network is returned unchanged.",
            Erasure.TRAINING_ERRORS: "The new network misclassifies retained samples that the old one had right.",
            Erasure.HARMFUL: "Doing nothing is nearer than the new network to what the retained samples alone give.",
        }[self]


@dataclass(frozen=True, eq=False, kw_only=True)
class Unlearned:
    """A copy of the network without some of its samples.

    Attributes:
        model: the new network, in the precision and mode of the one given.
        forgotten: positions of the forgotten samples.
        layers: names of the layers that were changed.
        multipliers: of each of them, for weights scaled to a smallest margin of 1, or with weight decay as they are; 0
            where it never mattered.
        step_sizes: beta of each in ascent on its loss; infinite where l' underflows.
        before: margin of every sample before the step.
        after: margin of every sample after it.
        residual: relative distance |theta - sum_i c_i grad f(x_i)| / |theta| before the step, over the changed layers.
        shared: before the step, the share of |sum of the forgotten terms|^2 that lies in the span of the retained ones;
            above 1/2 taking out the whole terms does harm, and step="resolve" does not.
        nearest: for each forgotten sample the retained one at the largest cosine.
        nearest_cosine: that cosine.
        heuristic: reasons why no theorem covers this step; empty where one does.
        certificate: how near the network is to one of the retained samples alone; None where certify=False.
        outcome: how it ended; harm is seen by the certificate only.
        warnings: what the reader should know.
        source: the paper.
    """

    model: nn.Module
    forgotten: Int[Tensor, " k"]
    layers: tuple[str, ...]
    multipliers: Float[Tensor, " k"]
    step_sizes: Float[Tensor, " k"]
    before: Float[Tensor, " n"]
    after: Float[Tensor, " n"]
    residual: float
    shared: float
    nearest: Int[Tensor, " k"]
    nearest_cosine: Float[Tensor, " k"]
    heuristic: tuple[str, ...]
    certificate: UnlearningCertificate | None
    outcome: Erasure
    warnings: tuple[str, ...]
    source: tuple[Paper, ...] = SOURCE


def errors_of(before: Float[Tensor, " m"], after: Float[Tensor, " m"]) -> tuple[str, ...]:
    """What is to be said of retained samples that were right and are wrong, from their margins."""
    broken = int(((after <= 0) & (before > 0)).sum())
    note = f"{broken} of {len(after)} retained samples are misclassified by the new network. Forget fewer at a time."
    return (note,) if broken else ()


def outcome_of(
    before: Float[Tensor, " m"],
    after: Float[Tensor, " m"],
    certificate: UnlearningCertificate | None,
    *,
    changed: bool,
) -> Erasure:
    """The one outcome of a new network, from the margins of retained samples and its certificate."""
    if not changed:
        return Erasure.NOTHING_TO_DO
    if errors_of(before, after):
        return Erasure.TRAINING_ERRORS
    return Erasure.HARMFUL if certificate is not None and certificate.harmful else Erasure.ERASED


def judged(
    result: Unlearned,
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    *,
    original: nn.Module,
    loss: Loss | str,
    weight_decay: float | None,
    kink_tolerance: float = 1e-2,
) -> Unlearned:
    """The result with this network for its own: its margins, certificate, outcome and the certificate's warnings.

    Args:
        result: of `unlearn`.
        model: the network that is kept: the result's, or that one after some training.
        x: all training samples of the original network, model space.
        y: their labels.
        original: the network before the step.
        loss: of the training.
        weight_decay: of the training; None (unknown) is taken as none.
        kink_tolerance: a pair is at a kink when |pre-activation| is at most this times its layer's largest.
    """
    certificate = unlearning_certificate(
        model,
        x,
        y,
        result.forgotten,
        original=original,
        layers=result.layers,
        loss=loss,
        weight_decay=weight_decay,
        kink_tolerance=kink_tolerance,
    )
    with torch.no_grad():
        after = margin(as_rows(working_copy(model)(x.double())), y)
    kept = torch.ones(len(x), dtype=torch.bool, device=after.device).index_fill(0, result.forgotten, False)
    changed = any(not torch.equal(a, b) for a, b in zip(model.parameters(), original.parameters(), strict=True))
    stale = errors_of(result.before[kept], result.after[kept])
    said = [note for note in result.warnings if note not in stale]
    return replace(
        result,
        model=model,
        after=after,
        certificate=certificate,
        outcome=outcome_of(result.before[kept], after[kept], certificate, changed=changed),
        warnings=(*said, *errors_of(result.before[kept], after[kept]), *certificate.warnings),
    )
