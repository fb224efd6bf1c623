"""The attacks by name, and AutoAttack assembled from them (arXiv 2003.01690): each stage attacks only the survivors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from vestige.attack.classifier import Classifier, Inputs, Labels, check_mode
from vestige.attack.methods._apgd import apgd
from vestige.attack.methods._fab import fab
from vestige.attack.methods._malt import malt
from vestige.attack.methods._square import square
from vestige.attack.methods.targets import rank_targets
from vestige.attack.problem import AUTOATTACK as AUTOATTACK_PAPER
from vestige.attack.problem import FAB, MALT, SQUARE, open_case, read_inputs, read_labels
from vestige.attack.result import AttackResult
from vestige.core.choices import ChoiceEnum
from vestige.core.cite import Paper, paper
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn
from vestige.core.space import InputSpace
from vestige.core.threat import Norm, Radius, Threat

TARGETS, TARGETS_L1, RESTARTS_L1 = 9, 5, 5


class Stage(ChoiceEnum):
    """One attack at the settings of its paper."""

    FAST = "fast"
    STANDARD = "standard"
    PUBLISHED = "published"
    APGD_CE = "apgd-ce"
    APGD_T = "apgd-t"
    FAB_T = "fab-t"
    SQUARE = "square"


AUTOATTACK = (Stage.APGD_CE, Stage.APGD_T, Stage.FAB_T, Stage.SQUARE)


@dataclass(frozen=True)
class StageRecord:
    """What one stage did: how many samples were robust before it and after it, and what it cost."""

    name: str
    before: int
    after: int
    gradient_evaluations: int
    forward_evaluations: int


def read_stages(attacks: Sequence[Stage | str] | str) -> tuple[Stage, ...]:
    """Stages in order; "autoattack" stands for its four. In one string there are commas between them.

    Raises:
        ValueError: none, or an unknown one, with the list of those allowed.
    """
    names = [name.strip() for name in attacks.split(",")] if isinstance(attacks, str) else attacks
    stages = tuple(s for name in names for s in (AUTOATTACK if name == "autoattack" else (Stage(name),)))
    if not stages:
        raise ValueError(f"no attack given; allowed are {', '.join(Stage)}.")
    return stages


def sources_of(stages: Sequence[Stage]) -> tuple[Paper, ...]:
    """The papers behind these stages, each once."""
    papers = {
        Stage.FAST: (MALT, AUTOATTACK_PAPER),
        Stage.STANDARD: (MALT, AUTOATTACK_PAPER),
        Stage.PUBLISHED: (MALT, AUTOATTACK_PAPER),
        Stage.FAB_T: (FAB,),
        Stage.SQUARE: (SQUARE,),
    }
    found = {number for stage in stages for number in papers.get(stage, (AUTOATTACK_PAPER,))}
    return tuple(paper(number) for number in sorted(found, reverse=True))


def run_stage(
    stage: Stage,
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    *,
    batch_size: int,
    generator: torch.Generator | None,
    on_step: OnStep | None,
) -> AttackResult:
    """One attack at the settings that AutoAttack, or MALT's preset, gives it."""
    norm, space, sparse = threat.norm, threat.space, threat.norm is Norm.L1
    common = {"eps": threat.given, "norm": norm, "space": space, "batch_size": batch_size}
    begin = partial(_call, model, x, y, {**common, "generator": generator, "on_step": on_step})
    match stage:
        case Stage.FAST | Stage.STANDARD | Stage.PUBLISHED:
            return begin(malt, preset=str(stage))
        case Stage.APGD_CE:
            return begin(apgd, loss="ce", restarts=RESTARTS_L1 if sparse else 1)
        case Stage.SQUARE:
            return begin(square)
        case Stage.APGD_T:
            return begin(malt, preset="published", order="logit", n_targets=TARGETS_L1 if sparse else TARGETS)
        case Stage.FAB_T:
            ranked = rank_targets(
                model, x, y, norm=norm, space=space, order="logit", n_targets=TARGETS, batch_size=batch_size
            )
            return begin(fab, targets=ranked.classes)


def _call(
    model: Classifier, x: Tensor, y: Tensor, common: dict, attack: Callable[..., AttackResult], **own
) -> AttackResult:
    return attack(model, x, y, **common, **own)


@torch.inference_mode(False)
def autoattack(
    model: Classifier,
    x: Inputs,
    y: Labels,
    *,
    eps: Radius,
    norm: Norm | str | float | int = Norm.LINF,
    space: InputSpace | None = None,
    attacks: Sequence[Stage | str] | str = AUTOATTACK,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> AttackResult:
    """The standard suite: APGD on the cross-entropy, targeted APGD, targeted FAB, Square; each on the survivors.

    Every attack starts at the clean samples; a sample counts as robust only if the model withstands all of them.

    Args:
        model: in evaluation mode; returns logits (n, classes).
        x: clean inputs in data space.
        y: true classes.
        eps, norm, space: the threat model, see `vestige.core.threat.Threat`; one eps, or one a sample.
        attacks: in order, in a list or with commas; see `Stage`.
        batch_size: samples of any pass through the model.
        generator: of all random choices; None for seed 0.
        on_step: told how many samples of the current search are done.

    Returns:
        Adversarial examples; `target` and `rank` are those of the attack that found them.

    Raises:
        ValueError: as for `apgd`, or an unknown attack.
    """
    threat, stages = Threat(eps, norm, space), read_stages(attacks)
    check_mode(model)
    x = read_inputs(model, x, threat)
    common = {"batch_size": batch_size, "generator": generator, "on_step": on_step}
    return run_stages(stages, model, x, read_labels(y, x), threat, **common)[0]


def run_stages(
    stages: Sequence[Stage],
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    *,
    batch_size: int,
    generator: torch.Generator | None,
    on_step: OnStep | None,
) -> tuple[AttackResult, tuple[StageRecord, ...], Tensor]:
    """The stages in order; returns the result, a record of each and which stage fooled the model on each sample."""
    total = open_case(model, x, y, threat, batch_size=batch_size).result()
    first, records = torch.full_like(total.target, -1), []
    for number, stage in enumerate(stages):
        rows = (~total.success).nonzero().flatten()
        if not len(rows):
            break
        rows_x, draw = rows.to(x.device), spawn(generator, str(stage))
        common = {"batch_size": batch_size, "generator": draw, "on_step": on_step}
        found = run_stage(stage, model, x[rows_x], y[rows_x], threat.at(rows.cpu()), **common)
        first[rows[found.success]] = number
        total = _merged(total, rows, found)
        survivors = len(rows) - int(found.success.sum())
        cost = found.gradient_evaluations, found.forward_evaluations
        records.append(StageRecord(str(stage), len(rows), survivors, *cost))
    outcome = Outcome.CONVERGED if bool(total.success.all()) else Outcome.BUDGET_SPENT
    return replace(total, outcome=outcome), tuple(records), first


def _merged(total: AttackResult, rows: Tensor, found: AttackResult) -> AttackResult:
    """The result so far with what one stage found at `rows`."""
    values = {}
    for name in ("adv", "success", "predicted", "target", "rank", "distance"):
        values[name] = getattr(total, name).clone()
        values[name][rows] = getattr(found, name)
    sources = {paper.arxiv: paper for paper in (*total.source, *found.source)}
    return replace(
        total,
        **values,
        gradient_evaluations=total.gradient_evaluations + found.gradient_evaluations,
        forward_evaluations=total.forward_evaluations + found.forward_evaluations,
        warnings=tuple(dict.fromkeys((*total.warnings, *found.warnings))),
        source=tuple(sources.values()),
        skip=found.skip or total.skip,
    )
