"""How robust is it? Attacks on survivors only, in pieces that are saved, with intervals and warnings."""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import save
from scipy.stats import binomtest
from torch import Tensor, nn

from vestige.attack.chunks import FIELDS, Piece, joined, piece_of, stored_piece
from vestige.attack.problem import check_eps, open_case, read_labels
from vestige.attack.reliability import LogProbabilities, after, reliability
from vestige.attack.suite import Stage, StageRecord, read_stage, run_stages, sources_of
from vestige.core.cite import Paper
from vestige.core.descent import Checkpoint
from vestige.core.files import write_atomically
from vestige.core.outcome import OnStep, Step
from vestige.core.rng import spawn
from vestige.core.space import InputSpace
from vestige.core.threat import Norm

CHUNK = 500  # samples between two saves; they also share the fast preset's calibration


@dataclass(frozen=True, eq=False)
class RobustnessReport:
    """Robust accuracy and all that stands behind it.

    Args:
        clean_accuracy: on the clean samples.
        robust_accuracy: share that stands against every stage: the pointwise worst case.
        clean_interval: 95 % Wilson interval.
        robust_interval: 95 % Wilson interval over the drawing of samples, for these attacks.
        adv: adversarial examples in data space and in the order of x; the clean sample where none was found.
        success: the model fails on `adv`.
        clean_correct: the model was right on the clean sample.
        predicted: class of `adv`.
        stage: place of the stage that broke the sample; -1 for none.
        target: whose search succeeded; -1 for none.
        rank: place of that target in its order; -1 for none.
        distance: norm of adv - x.
        stages: what each stage did and cost.
        gradient_evaluations: of all stages, one for each sample in each backward pass.
        forward_evaluations: without gradient, likewise.
        seconds: of the stages in this process.
        eps: radius.
        norm: "linf", "l2" or "l1".
        warnings: reliability, and what the attacks say.
        source: the papers.
    """

    clean_accuracy: float
    robust_accuracy: float
    clean_interval: tuple[float, float]
    robust_interval: tuple[float, float]
    adv: Float[Tensor, " n *feature"]
    success: Bool[Tensor, " n"]
    clean_correct: Bool[Tensor, " n"]
    predicted: Int[Tensor, " n"]
    stage: Int[Tensor, " n"]
    target: Int[Tensor, " n"]
    rank: Int[Tensor, " n"]
    distance: Float[Tensor, " n"]
    stages: tuple[StageRecord, ...]
    gradient_evaluations: int
    forward_evaluations: int
    seconds: float
    eps: float
    norm: str
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]

    def export(self, path: Path | str) -> None:
        """Write the adversarial examples in order: a bare tensor as .pt, as RobustBench asks, or .safetensors.

        Raises:
            ValueError: another suffix.
        """
        path = Path(path)
        if path.suffix == ".pt":
            buffer = io.BytesIO()
            torch.save(self.adv.detach().cpu(), buffer)
            write_atomically(path, buffer.getvalue(), private=True)
        elif path.suffix == ".safetensors":
            write_atomically(path, save({"adv": self.adv.detach().cpu().contiguous()}), private=True)
        else:
            raise ValueError(f"{path} given; name a .pt or a .safetensors file.")


def evaluate_robustness(
    model: nn.Module,
    x: Float[Tensor, " n *feature"],
    y: Int[Tensor, " labels"],
    *,
    eps: float | int,
    norm: Norm | str | float | int = Norm.LINF,
    space: InputSpace | None = None,
    attacks: Sequence[Stage | str] = (Stage.FAST,),
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> RobustnessReport:
    """Robust accuracy under one attack or several, each on what the ones before it left.

    Args:
        model: in evaluation mode; returns logits (n, classes). Probabilities are turned into logits, with a warning.
        x: clean inputs in data space.
        y: true classes.
        eps: radius, in units of the data.
        norm: "linf", "l2" or "l1".
        space: box and normalisation of the inputs; None for [0, 1] and none.
        attacks: in order: "fast", "standard" (MALT), "apgd-ce", "apgd-t", "fab-t", "square";
            `vestige.attack.suite.AUTOATTACK` is the last four.
        batch_size: samples that are evaluated together.
        generator: of all random choices; None for seed 0.
        on_step: told how many samples are finished; its value is the robust accuracy so far.
        checkpoint: where to save after every 500 samples and to go on from. It must belong to the same model, data and
            options, which `vestige.runs.RunFolder` sees to.

    Raises:
        ValueError: see `vestige.attack.problem`, or an unknown attack.

    >>> linear = nn.Linear(2, 2, bias=False)
    >>> _ = linear.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
    >>> found = evaluate_robustness(linear.eval(), x, y, eps=0.101)
    >>> found.clean_accuracy, found.robust_accuracy
    (1.0, 0.5)
    """
    space, norm = space or InputSpace(), Norm(norm)
    stages = [read_stage(attack) for attack in attacks]
    if not stages:
        raise ValueError(f"no attack given; allowed are {', '.join(Stage)}.")
    check_eps(eps, norm, space)
    space.check(x)
    like = next((p for p in model.parameters() if p.is_floating_point()), x)
    x = x.detach().to(like)
    y = read_labels(y, x)
    signs = reliability(model, x, y, eps=eps, norm=norm, space=space)
    attacked = LogProbabilities(model).eval() if signs.probabilities else model
    open_case(attacked, x, y, eps=eps, norm=norm, space=space)  # refuses what is wrong before any work
    attack = partial(run_stages, stages, attacked, eps=eps, norm=norm, space=space, batch_size=batch_size)
    pieces, saved = [], (checkpoint.load() if checkpoint is not None else None) or {}
    for start in range(0, len(x), CHUNK):
        piece = stored_piece(saved, start)
        if piece is None:
            rows, begun = slice(start, start + CHUNK), time.perf_counter()
            found = attack(
                x=x[rows],
                y=y[rows],
                generator=spawn(generator, "evaluate", str(start)),
                on_step=_shifted(on_step, start, len(x)),
            )
            piece = piece_of(*found, len(stages), time.perf_counter() - begun)
            saved |= {f"{start}.{name}": value for name, value in piece.tensors.items()}
            if checkpoint is not None:
                checkpoint.save(saved)
        pieces.append(piece)
    return _report(pieces, stages, signs.warnings, eps=float(eps), norm=norm, device=x.device)


def _shifted(on_step: OnStep | None, start: int, total: int) -> OnStep | None:
    """Steps of one piece as steps of the whole."""
    if on_step is None:
        return None

    def shifted(step: Step) -> None:
        size = min(CHUNK, total - start)
        on_step(Step(start + round(size * step.index / max(1, step.total)), total, step.value, step.note))

    return shifted


def _report(
    pieces: Sequence[Piece],
    stages: Sequence[Stage],
    signs: tuple[str, ...],
    *,
    eps: float,
    norm: Norm,
    device: torch.device,
) -> RobustnessReport:
    fields = {name: joined(pieces, name, device) for name in (*FIELDS, "stage")}
    costs = torch.stack([piece.costs for piece in pieces]).sum(0).tolist()
    records = tuple(StageRecord(str(stage), *row) for stage, row in zip(stages, costs, strict=True))
    n, right = len(fields["success"]), int(fields["clean_correct"].sum())
    standing = n - int(fields["success"].sum())
    said = [sentence for piece in pieces for sentence in piece.warnings]
    names = tuple(str(stage) for stage in stages)
    gradients, forwards = torch.stack([piece.tensors["total"] for piece in pieces]).sum(0).tolist()
    return RobustnessReport(
        clean_accuracy=right / n,
        robust_accuracy=standing / n,
        clean_interval=_interval(right, n),
        robust_interval=_interval(standing, n),
        **fields,
        stages=records,
        gradient_evaluations=gradients,
        forward_evaluations=forwards,
        seconds=sum(float(piece.tensors["seconds"]) for piece in pieces),
        eps=eps,
        norm=str(norm),
        warnings=tuple(dict.fromkeys((*signs, *after(names, fields["stage"]), *said))),
        source=sources_of(stages),
    )


def _interval(successes: int, n: int) -> tuple[float, float]:
    interval = binomtest(successes, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
