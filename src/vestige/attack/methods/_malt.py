"""MALT: targeted APGD in the order of the first-order distance to each class (arXiv 2407.02240), and less of it.

`published` is the paper's procedure. The other presets spend gradients where they decide something:

1. a short untargeted search of every sample, which breaks most that can be broken;
2. only the samples that remain are ranked, among their likeliest classes, and only few targets are tried;
3. `fast` skips targets whose score says that they are out of reach. How far the score can be trusted is learned from
   calibration samples, on which nothing is skipped; the result says how often the rule would have been wrong there.

In l_1 APGD ends in many local optima, and short searches from several starts find more than a long one.
"""

from dataclasses import dataclass, replace

import torch
from scipy.stats import binomtest
from torch import Tensor

from vestige.attack.classifier import Classifier, Inputs, Labels
from vestige.attack.methods.losses import AttackLoss, usable_loss
from vestige.attack.methods.search import Plan, search
from vestige.attack.methods.targets import Order, rank_classes
from vestige.attack.problem import AUTOATTACK, MALT, Case, check_counts, open_case
from vestige.attack.result import AttackResult, SkipRule
from vestige.core.choices import ChoiceEnum
from vestige.core.outcome import OnStep
from vestige.core.space import InputSpace
from vestige.core.threat import Norm, Radius, Threat

MARGIN_OF_SAFETY = 1.5  # on the largest score / eps at which a calibration sample's target was reached
LEAST_LIMIT = 2.0  # of score / eps: closer targets are never skipped
LEAST_CALIBRATION, CALIBRATION_SHARE = 50, 5  # samples, and one in so many


class Preset(ChoiceEnum):
    """How much is spent."""

    STANDARD = "standard"
    FAST = "fast"
    PUBLISHED = "published"


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Classes that are differentiated, targets tried, steps and starts of each, and the first search of every sample.

    AutoAttack costs 1,900 gradients a sample that stays robust; `standard` up to a fourth of it, `fast` a tenth.
    """

    top_k: int
    n_targets: int
    steps: int
    restarts: int = 1
    first_loss: AttackLoss = AttackLoss.PM
    first_steps: int = 0
    first_restarts: int = 1
    skip: bool = False

    @property
    def gradients(self) -> int:
        """Of one sample, at most."""
        searches = self.n_targets * self.restarts * (self.steps + 1)
        return (self.first_restarts * (self.first_steps + 1) if self.first_steps else 0) + self.top_k + searches


PUBLISHED = Effort(top_k=100, n_targets=9, steps=100)
EFFORT = {
    Preset.PUBLISHED: PUBLISHED,
    Preset.STANDARD: Effort(top_k=30, n_targets=4, steps=75, first_steps=40),
    Preset.FAST: Effort(top_k=20, n_targets=3, steps=40, first_steps=20, skip=True),
}
SPARSE = {"first_loss": AttackLoss.CE, "restarts": 2}
EFFORT_L1 = {
    Preset.PUBLISHED: PUBLISHED,
    Preset.STANDARD: Effort(top_k=30, n_targets=4, steps=30, first_steps=50, first_restarts=3, **SPARSE),
    Preset.FAST: Effort(top_k=20, n_targets=2, steps=20, first_steps=28, first_restarts=3, skip=True, **SPARSE),
}


WEAK_L1 = (
    "The fast preset is less certain in l_1 than in l_inf and l_2: AutoAttack and 'standard' break some more samples."
)


@torch.inference_mode(False)
def malt(
    model: Classifier,
    x: Inputs,
    y: Labels,
    *,
    eps: Radius,
    norm: Norm | str | float | int = Norm.LINF,
    space: InputSpace | None = None,
    preset: Preset | str = Preset.STANDARD,
    order: Order | str = Order.MALT,
    n_targets: int | None = None,
    steps: int | None = None,
    loss: AttackLoss | str = AttackLoss.DLR,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> AttackResult:
    """Attack each sample with targeted APGD, nearest class first; any misclassification is a success.

    Args:
        model: in evaluation mode; returns logits (n, classes), see `vestige.attack.evaluate_robustness`.
        x: clean inputs in data space.
        y: true classes.
        eps, norm, space: the threat model, see `vestige.core.threat.Threat`; one eps, or one a sample.
        preset: "published" (9 targets out of 100 classes, 100 steps each), "standard" or "fast".
        order: "malt", or "logit" for naive targeting.
        n_targets: tried at most; None: the preset's.
        steps: of each targeted search; None: the preset's.
        loss: of the targeted searches.
        batch_size: samples of any pass through the model.
        generator: of the random starts; None for seed 0.
        on_step: told how many samples of the current search are done; its value is the robust accuracy so far.

    Returns:
        Adversarial examples; `skip` says what the fast preset left out.

    Raises:
        ValueError: as for `apgd`.

    >>> linear = torch.nn.Linear(2, 2, bias=False)
    >>> _ = linear.weight.data.copy_(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    >>> x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
    >>> malt(linear.eval(), x, y, eps=0.101, preset="fast").success.tolist()
    [True, False]
    """
    threat = Threat(eps, norm, space)
    effort = (EFFORT_L1 if threat.norm is Norm.L1 else EFFORT)[Preset(preset)]
    n_targets, steps = effort.n_targets if n_targets is None else n_targets, effort.steps if steps is None else steps
    check_counts(n_targets=n_targets, steps=steps, batch_size=batch_size)
    case = open_case(model, x, y, threat, batch_size=batch_size)
    if effort.first_steps:
        plan = Plan(effort.first_loss, effort.first_steps, effort.first_restarts, batch_size=batch_size)
        search(case, plan, name="first pass", generator=generator, on_step=on_step)
    rows = case.to_attack()
    classes, scores, _ = rank_classes(case, rows, Order(order), effort.top_k, n_targets)
    picked, warning = usable_loss(loss, case.classes, targeted=True)
    case.warnings += [warning] if warning else []
    case.warnings += [WEAK_L1] if effort is EFFORT_L1[Preset.FAST] else []
    plan = Plan(picked, steps, effort.restarts, batch_size=batch_size)
    tried = Trial(case, plan, rows, classes, scores, generator, on_step)
    skip = _skipping(tried) if effort.skip and Order(order) is Order.MALT else tried.run(torch.ones_like(scores) > 0)
    return case.result(MALT, AUTOATTACK, skip=skip)


@dataclass(frozen=True)
class Trial:
    """The ranked targets of the samples at `rows`, and how they are searched."""

    case: Case
    plan: Plan
    rows: Tensor
    classes: Tensor
    scores: Tensor
    generator: torch.Generator | None
    on_step: OnStep | None

    def run(self, allowed: Tensor) -> None:
        """Search the targets that are allowed."""
        shape = (len(self.case.x), self.classes.shape[1])
        targets = self.classes.new_zeros(shape)
        mask = torch.zeros(shape, dtype=torch.bool, device=targets.device)
        targets[self.rows], mask[self.rows] = self.classes, allowed
        plan = replace(self.plan, targets=targets, allowed=mask)
        search(self.case, plan, name="targets", generator=self.generator, on_step=self.on_step)


def _skipping(trial: Trial) -> SkipRule:
    """Learn from calibration samples up to which score targets are reached, then skip those of the others beyond it."""
    case, rows = trial.case, trial.rows
    size = min(len(rows), max(LEAST_CALIBRATION, len(rows) // CALIBRATION_SHARE))
    calibrating = (torch.arange(len(rows), device=rows.device) < size)[:, None]
    everything = torch.ones_like(trial.scores, dtype=torch.bool)
    trial.run(everything & calibrating)
    ratio = trial.scores / case.eps[rows, None]
    won = case.success[rows] & calibrating[:, 0]
    place = case.rank[rows].clamp(min=0)
    reached = ratio.gather(1, place[:, None])[:, 0][won]
    limit = max(LEAST_LIMIT, MARGIN_OF_SAFETY * float(reached.max())) if len(reached) else LEAST_LIMIT
    within = ratio <= limit
    trial.run(~calibrating & within)
    wrong = int((reached > limit).sum())
    return SkipRule(
        limit=limit,
        skipped=int((~calibrating & ~within).sum()),
        tried=int((~calibrating & within).sum()),
        calibrated_on=len(reached),
        wrong=wrong,
        bound=float(binomtest(wrong, len(reached)).proportion_ci(method="wilson").high) if len(reached) else None,
    )
