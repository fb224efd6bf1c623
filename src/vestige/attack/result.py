"""What attacks return."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from vestige.core.cite import Paper
from vestige.core.outcome import Outcome


@dataclass(frozen=True)
class SkipRule:
    """Targets left out because their first-order distance was out of reach.

    Attributes:
        limit: largest score / eps that was still tried.
        skipped: pairs of a sample and a target that were left out.
        tried: pairs outside the calibration samples that were tried.
        calibrated_on: successes among the calibration samples, on which nothing was left out.
        wrong: how many of those the limit would have missed.
        bound: upper end of the 95 % Wilson interval of that share; None without a success among them.
    """

    limit: float
    skipped: int
    tried: int
    calibrated_on: int
    wrong: int
    bound: float | None


@dataclass(frozen=True, eq=False, kw_only=True)
class AttackResult:
    """Adversarial examples and what they cost.

    Attributes:
        adv: in data space, inside the ball and the box; the clean sample where none was found.
        success: the model fails on `adv`: in any class other than y, or in the target where only that counts.
        clean_correct: the model is right on the clean sample; an already misclassified sample is not attacked and
            counts as a success at distance 0, unless a target must be reached.
        predicted: class of `adv`.
        target: the target whose search succeeded; -1 for none.
        rank: its place in the order in which targets were tried, from 0; -1 for none.
        distance: norm of adv - x.
        gradient_evaluations: samples differentiated, one for each backward pass of one sample.
        forward_evaluations: samples evaluated without a gradient.
        outcome: BUDGET_SPENT where some samples remain robust, CONVERGED where the model is fooled on all.
        warnings: what a reader must know.
        source: the papers.
        skip: what the fast preset of `malt` left out.
    """

    adv: Float[Tensor, " n *feature"]
    success: Bool[Tensor, " n"]
    clean_correct: Bool[Tensor, " n"]
    predicted: Int[Tensor, " n"]
    target: Int[Tensor, " n"]
    rank: Int[Tensor, " n"]
    distance: Float[Tensor, " n"]
    gradient_evaluations: int
    forward_evaluations: int
    outcome: Outcome
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]
    skip: SkipRule | None = None

    @property
    def robust_accuracy(self) -> float:
        """Share of samples that are right and stay so under this attack: the pointwise worst case."""
        return 1 - float(self.success.double().mean())


@dataclass(frozen=True, eq=False)
class TargetRanking:
    """Classes in the order in which to try them.

    Attributes:
        classes: best first; never the label.
        scores: first-order estimate of the distance to the boundary with each class, inf where its gradient is zero;
            for the logit order z_y - z_c.
        logits: of the clean samples.
        gradient_evaluations: samples differentiated.
        source: the papers.
    """

    classes: Int[Tensor, "n k"]
    scores: Float[Tensor, "n k"]
    logits: Float[Tensor, "n classes"]
    gradient_evaluations: int
    source: tuple[Paper, ...]
