"""How near an unlearned network is to one trained without the forgotten samples; retraining is always the reference.

Low accuracy on the forgotten samples is no goal in itself, and neither is a membership attack at chance: the network
that was never trained on them has some accuracy and some membership score there, and those are the values to reach.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from vestige.core.cite import Paper, paper
from vestige.core.kkt import working_copy
from vestige.core.margins import as_rows, check_labels, margin, predict, signs
from vestige.unlearning.request import Forget, forgotten_and_retained


@dataclass(frozen=True)
class Against:
    """One number of the unlearned network, of the retrained one, and of the untouched one where it was given."""

    unlearned: float
    retrained: float
    untouched: float | None

    @property
    def gap(self) -> float:
        """|unlearned - retrained|; 0 is ideal."""
        return abs(self.unlearned - self.retrained)


@dataclass(frozen=True, kw_only=True)
class UnlearningReport:
    """An unlearned network against a retrained one.

    Attributes:
        forget_accuracy: on the forgotten samples; its gap is best at 0.
        retain_accuracy: on the retained samples; likewise.
        test_accuracy: on the held-out samples; likewise.
        membership: AUC of the attack that calls a sample a member where its loss is low, forgotten against
            held-out samples; the value to reach is the retrained network's, not 1/2.
        tug_of_war: product of 1 - gap over forget, retain and test accuracy; 1 is ideal.
        agreement: share of held-out samples on which both networks predict the same; 1 is ideal.
        forget_agreement: the same on the forgotten samples.
        weight_cosine: between all weights of the two; 1 for equal directions. Networks of several layers have many
            stationary points, and there it is no pass or fail.
        forget_margin: mean margin of the forgotten samples over the mean of the retained ones.
        output_distance: |f - f_r| / |f_r| over all samples, training and held out, with outputs divided by the mean
            margin of the retained ones; 0 for the retrained network itself.
        cost: seconds of unlearning over seconds of retraining, where both were given.
        warnings: what the reader should know.
        source: the paper.
    """

    forget_accuracy: Against
    retain_accuracy: Against
    test_accuracy: Against
    membership: Against
    tug_of_war: float
    agreement: float
    forget_agreement: float
    weight_cosine: float
    forget_margin: Against
    output_distance: Against
    cost: float | None
    warnings: tuple[str, ...]
    source: tuple[Paper, ...] = (paper("2510.14844"),)

    @property
    def harmful(self) -> bool | None:
        """Whether doing nothing has outputs at least as near to the retrained network's; None without the original."""
        if self.output_distance.untouched is None:
            return None
        return not self.output_distance.unlearned < self.output_distance.untouched


@torch.no_grad()
def evaluate_unlearning(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    forget: Forget,
    *,
    retrained: nn.Module,
    held_out: tuple[Float[Tensor, "t ..."], Shaped[Tensor, " t"]],
    original: nn.Module | None = None,
    seconds: tuple[float, float] | None = None,
) -> UnlearningReport:
    """Compare an unlearned network with one retrained from scratch on the retained samples.

    Args:
        model: the unlearned network.
        x: all training samples, model space.
        y: their labels.
        forget: positions of the forgotten samples, or a mask.
        retrained: trained the same way on the retained samples only.
        held_out: samples that no network saw, and their labels.
        original: the network before unlearning; with it each number has the value of doing nothing.
        seconds: of unlearning and of retraining.

    Raises:
        ValueError: no held-out samples, labels that do not fit, weights of different shapes.
    """
    index, kept = forgotten_and_retained(forget, len(x))
    unseen, labels = held_out
    if len(unseen) == 0 or len(unseen) != len(labels):
        raise ValueError(f"{len(unseen)} held-out samples with {len(labels)} labels given; each sample needs a label.")
    parts = ((x[index], y[index]), (x[kept], y[kept]), held_out)
    ours, theirs = (_outputs(m, [part for part, _ in parts]) for m in (model, retrained))
    old = None if original is None else _outputs(original, [part for part, _ in parts])

    def judged(score: Callable[[list[Tensor]], float]) -> Against:
        return Against(score(ours), score(theirs), None if old is None else score(old))

    forget_accuracy, retain_accuracy, test_accuracy = (
        judged(partial(_part_accuracy, i, parts[i][1])) for i in range(3)
    )
    return UnlearningReport(
        forget_accuracy=forget_accuracy,
        retain_accuracy=retain_accuracy,
        test_accuracy=test_accuracy,
        membership=judged(lambda o: _auc(-_losses(o[0], y[index]), -_losses(o[2], labels))),
        tug_of_war=math.prod(1 - accuracy.gap for accuracy in (forget_accuracy, retain_accuracy, test_accuracy)),
        agreement=_agreement(ours[2], theirs[2]),
        forget_agreement=_agreement(ours[0], theirs[0]),
        weight_cosine=_weight_cosine(model, retrained),
        forget_margin=judged(lambda o: _relative_margin(o, y[index], y[kept])),
        output_distance=judged(lambda o: _off(_scaled(o, y[kept]), _scaled(theirs, y[kept]))),
        cost=None if seconds is None else seconds[0] / seconds[1],
        warnings=tuple(_notes(len(index))),
    )


def _outputs(model: nn.Module, parts: list[Tensor]) -> list[Tensor]:
    net = working_copy(model)
    return [as_rows(net(x.to(next(net.parameters())))) for x in parts]


def _part_accuracy(part: int, y: Tensor, outputs: list[Tensor]) -> float:
    return _accuracy(outputs[part], y)


def _accuracy(outputs: Tensor, y: Tensor) -> float:
    check_labels(y, *outputs.shape)
    truth = (signs(y) > 0).long() if outputs.shape[1] == 1 else y.long()
    return (predict(outputs) == truth).double().mean().item()


def _losses(outputs: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each sample."""
    if outputs.shape[1] == 1:
        return F.softplus(-margin(outputs, y))
    return F.cross_entropy(outputs, y.long(), reduction="none")


def _auc(members: Tensor, others: Tensor) -> float:
    """P(a member's score is above another's), ties counting half."""
    truth = torch.cat([torch.ones_like(members), torch.zeros_like(others)])
    return float(roc_auc_score(truth.numpy(force=True), torch.cat([members, others]).numpy(force=True)))


def _agreement(ours: Tensor, theirs: Tensor) -> float:
    return (predict(ours) == predict(theirs)).double().mean().item()


def _relative_margin(outputs: list[Tensor], forgotten: Tensor, kept: Tensor) -> float:
    return (margin(outputs[0], forgotten).mean() / margin(outputs[1], kept).mean()).item()


def _scaled(outputs: list[Tensor], kept: Tensor) -> Tensor:
    return torch.cat(outputs) / margin(outputs[1], kept).mean()


def _off(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def _weight_cosine(model: nn.Module, other: nn.Module) -> float:
    ours, theirs = list(model.parameters()), list(other.parameters())
    if [p.shape for p in ours] != [p.shape for p in theirs]:
        raise ValueError("the networks have weights of different shapes; retrain the same architecture.")
    a, b = (torch.cat([p.detach().double().reshape(-1) for p in params]) for params in (ours, theirs))
    return (a @ b / (a.norm() * b.norm())).item()


def _notes(count: int) -> list[str]:
    if count >= 10:
        return []
    return [
        f"{count} forgotten samples: accuracy on them moves in steps of 1/{count}, and membership is a rough number."
    ]
