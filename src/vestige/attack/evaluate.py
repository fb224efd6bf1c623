"""How robust is the model? Attacks on survivors only, in chunks that are saved, with intervals and warnings."""

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
from torch import Tensor

from vestige.attack.chunks import FIELDS, Chunk, concatenated, pack, saved_chunk
from vestige.attack.classifier import Classifier, Inputs, Labels, LogProbabilities, check_mode
from vestige.attack.methods.oracle import NO_GRADIENTS
from vestige.attack.problem import check_counts, open_case, read_inputs, read_labels
from vestige.attack.reliability import black_box_wins, reliability
from vestige.attack.suite import Stage, StageRecord, read_stages, run_stages, sources_of
from vestige.core.cite import Paper
from vestige.core.descent import Checkpoint
from vestige.core.files import write_atomically
from vestige.core.outcome import OnStep, Step
from vestige.core.rng import spawn
from vestige.core.space import InputSpace
from vestige.core.threat import Norm, Radius, Threat

CHUNK_SIZE = 500  # samples between two saves; they also share the fast preset's calibration


@dataclass(frozen=True, eq=False, kw_only=True)
class RobustnessReport:
    """Robust accuracy and what it was computed from.

    Attributes:
        clean_accuracy: on the clean samples.
        robust_accuracy: share of samples that are right under every stage: the pointwise worst case.
        clean_interval: 95 % Wilson interval.
        robust_interval: 95 % Wilson interval over the sampling of the data, for these attacks.
        adv: adversarial examples in data space and in the order of x; the clean sample where none was found.
        success: the model fails on `adv`.
        clean_correct: the model is right on the clean sample.
        predicted: class of `adv`.
        stage: place of the stage that fooled the model on the sample; -1 for none.
        target: class whose search succeeded; -1 for none.
        rank: place of that target in its order; -1 for none.
        distance: norm of adv - x.
        stages: what each stage did and cost.
        gradient_evaluations: of all stages, one a sample and backward pass.
        forward_evaluations: likewise, of passes without a gradient.
        seconds: of the stages in this process.
        eps: radius, the largest where each sample has its own.
        norm: "linf", "l2" or "l1".
        warnings: on reliability, and those of the attacks.
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


@torch.inference_mode(False)  # gradients are taken wherever it is called
def evaluate_robustness(
    model: Classifier,
    x: Inputs,
    y: Labels,
    *,
    eps: Radius,
    norm: Norm | str | float | int = Norm.LINF,
    space: InputSpace | None = None,
    attacks: Sequence[Stage | str] | str = Stage.FAST,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> RobustnessReport:
    """Robust accuracy under one attack or several, each on the samples that the ones before it left.

    Args:
        model: a module, every part of it in evaluation mode, or a function of a batch; returns logits (n, classes),
            alone or in a tuple, a dictionary or an object with `logits`. Probabilities are turned into logits, with a
            warning.
        x: clean inputs in data space.
        y: true classes.
        eps, norm, space: the threat model, see `vestige.core.threat.Threat`; one eps, or one a sample.
        attacks: in order, in a list or with commas: "fast", "standard" (MALT), "apgd-ce", "apgd-t", "fab-t", "square";
            "autoattack" stands for the last four.
        batch_size: samples of any pass through the model.
        generator: of all random choices; None for seed 0.
        on_step: told how many samples are done; its value is the robust accuracy so far.
        checkpoint: where to save after every 500 samples and to go on from. It must belong to the same model, data and
            options, which `vestige.runs.RunFolder` checks.

    Raises:
        ValueError: as for `apgd`, an unknown attack, or a model without gradients and another attack than "square".

    >>> linear = torch.nn.Linear(2, 2, bias=False)
    >>> _ = linear.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
    >>> found = evaluate_robustness(linear.eval(), x, y, eps=0.101)
    >>> found.clean_accuracy, found.robust_accuracy
    (1.0, 0.5)
    """
    threat, stages = Threat(eps, norm, space), read_stages(attacks)
    check_counts(batch_size=batch_size)
    check_mode(model)
    x = read_inputs(model, x, threat)
    y = read_labels(y, x)
    signs = reliability(model, x, y, threat, batch_size=batch_size)
    attacked = LogProbabilities(model) if signs.probabilities else model
    open_case(attacked, x, y, threat, batch_size=batch_size)  # refuses before any work
    if not signs.differentiable and set(stages) != {Stage.SQUARE}:
        raise ValueError(NO_GRADIENTS)
    attack = partial(run_stages, stages, attacked, batch_size=batch_size)
    chunks, saved = [], (checkpoint.load() if checkpoint is not None else None) or {}
    for start in range(0, len(x), CHUNK_SIZE):
        chunk = saved_chunk(saved, start)
        if chunk is None:
            rows, begun = slice(start, start + CHUNK_SIZE), time.perf_counter()
            draw, told = spawn(generator, "evaluate", str(start)), _shifted(on_step, start, len(x))
            found = attack(x=x[rows], y=y[rows], threat=threat.at(rows), generator=draw, on_step=told)
            chunk = pack(*found, len(stages), seconds=time.perf_counter() - begun)
            saved |= {f"{start}.{name}": value for name, value in chunk.tensors.items()}
            if checkpoint is not None:
                checkpoint.save(saved)
        chunks.append(chunk)
    return _report(chunks, stages, signs.warnings, threat, x.device)


def _shifted(on_step: OnStep | None, start: int, total: int) -> OnStep | None:
    """Steps of one chunk as steps of the whole."""
    if on_step is None:
        return None

    def shifted(step: Step) -> None:
        size = min(CHUNK_SIZE, total - start)
        on_step(Step(start + round(size * step.index / max(1, step.total)), total, step.value, step.note))

    return shifted


def _report(
    chunks: Sequence[Chunk], stages: Sequence[Stage], signs: tuple[str, ...], threat: Threat, device: torch.device
) -> RobustnessReport:
    fields = {name: concatenated(chunks, name, device) for name in (*FIELDS, "stage")}
    costs = torch.stack([chunk.costs for chunk in chunks]).sum(0).tolist()
    names = tuple(str(stage) for stage in stages)
    n, right = len(fields["success"]), int(fields["clean_correct"].sum())
    robust = n - int(fields["success"].sum())
    warnings = [*signs, *black_box_wins(names, fields["stage"]), *(w for chunk in chunks for w in chunk.warnings)]
    gradients, forwards = torch.stack([chunk.tensors["total"] for chunk in chunks]).sum(0).tolist()
    return RobustnessReport(
        clean_accuracy=right / n,
        robust_accuracy=robust / n,
        clean_interval=_interval(right, n),
        robust_interval=_interval(robust, n),
        **fields,
        stages=tuple(StageRecord(name, *row) for name, row in zip(names, costs, strict=True)),
        gradient_evaluations=gradients,
        forward_evaluations=forwards,
        seconds=sum(float(chunk.tensors["seconds"]) for chunk in chunks),
        eps=threat.eps,
        norm=str(threat.norm),
        warnings=tuple(dict.fromkeys(warnings)),
        source=sources_of(stages),
    )


def _interval(successes: int, n: int) -> tuple[float, float]:
    interval = binomtest(successes, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
