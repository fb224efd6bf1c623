"""Minima that gradient descent ends in although the teacher's own weights are better, each with its proof."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.cite import Paper
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn
from vestige.landscape.neurons import Neurons
from vestige.landscape.teacher_student.certify import PAPERS, MinimumCertificate, PointKind, certify_minimum
from vestige.landscape.teacher_student.descent import Descent, descend

SAME = 1e-7  # two minima are one if losses and sorted lengths of neurons agree to this


@dataclass(frozen=True, eq=False, kw_only=True)
class SpuriousMinimum:
    """One minimum, up to the order of neurons and the symmetries of the teacher.

    Attributes:
        weight: of one of the runs that ended there.
        loss: the population loss.
        hits: runs that ended in it or in a copy of it.
        blocks: numbers of neurons of equal length, smallest first; (1, k - 1) is the most frequent kind.
        certificate: that it is a minimum, and not a global one.
    """

    weight: Float[Tensor, "n d"]
    loss: float
    hits: int
    blocks: tuple[int, ...]
    certificate: MinimumCertificate

    @property
    def student(self) -> Neurons:
        """The network."""
        return Neurons(self.weight)


@dataclass(frozen=True, eq=False, kw_only=True)
class MinimaSearch:
    """What many runs of gradient descent ended in.

    Attributes:
        minima: proved to be minima and not global, lowest loss first.
        restarts: runs.
        solved: runs whose loss fell below the bound, or that ended in a minimum whose loss may be 0.
        uncertified: runs that ended in a point without gradient that no proof covers.
        unfinished: runs that used all their steps, or one of whose neurons shrank to 0.
        outcome: CONVERGED where no run is unfinished.
        warnings: what a reader must know.
        source: the papers.
    """

    minima: tuple[SpuriousMinimum, ...]
    restarts: int
    solved: int
    uncertified: int
    unfinished: int
    outcome: Outcome
    warnings: tuple[str, ...]
    source: tuple[Paper, ...] = PAPERS

    @property
    def spurious(self) -> int:
        """Runs that ended in a minimum which is not global."""
        return sum(minimum.hits for minimum in self.minima)

    @property
    def share(self) -> float:
        """Their share of all runs; those that did not finish count as not spurious."""
        return self.spurious / self.restarts


def find_spurious_minima(
    teacher: Neurons | int,
    *,
    n: int | None = None,
    restarts: int = 100,
    steps: int = 20_000,
    init_scale: float = 1.0,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> MinimaSearch:
    """Run gradient descent on the exact loss from many starts at once, and prove what it ended in.

    Args:
        teacher: weights (k, d) of ReLU neurons; a number k for k orthonormal ones.
        n: neurons of the student, at least k; None for k.
        restarts: starts with entries from N(0, init_scale^2 / d).
        steps: of gradient descent at most, for each.
        init_scale: of the starts.
        generator: of the starts; None for seed 0.
        on_step: called after every round of all runs.

    Returns:
        The distinct minima with their certificates and frequencies.

    Raises:
        ValueError: n < k, a teacher with biases or output weights, restarts below 1, a scale that is not positive.

    >>> find_spurious_minima(2, restarts=4).minima  # two orthogonal neurons are always found
    ()
    """
    if isinstance(teacher, int):
        if teacher < 1:
            raise ValueError(f"teacher={teacher} given; at least one neuron is needed.")
        teacher = Neurons(torch.eye(teacher, dtype=torch.float64))
    k, d = teacher.weight.shape
    n = k if n is None else n
    if not (n >= k and restarts >= 1 and init_scale > 0):
        raise ValueError(
            f"n={n}, restarts={restarts}, init_scale={init_scale} given; n >= {k}, restarts >= 1 and a positive scale "
            "are needed: fewer students than teachers cannot reach a loss of 0."
        )
    draw = spawn(generator, "minima", str(n), str(d))
    start = torch.randn(restarts, n, d, generator=draw, dtype=torch.float64) * (init_scale / d**0.5)
    found = descend(Neurons(start), teacher, steps=steps, on_step=on_step)
    return _sorted_out(found, teacher)


def _sorted_out(found: Descent, teacher: Neurons) -> MinimaSearch:
    groups: dict[int, list[int]] = {}
    keys: list[Tensor] = []
    for run in found.stationary.nonzero().flatten().tolist():
        lengths = found.student.weight[run].norm(dim=1).sort().values
        key = torch.cat([found.loss[run][None], lengths])
        place = next((i for i, other in enumerate(keys) if bool((key - other).abs().max() < SAME)), len(keys))
        if place == len(keys):
            keys.append(key)
        groups.setdefault(place, []).append(run)
    minima, solved, uncertified = [], int((found.solved & ~found.stationary).sum()), 0
    for runs in groups.values():
        certificate = certify_minimum(Neurons(found.student.weight[runs[0]]), teacher)
        if certificate.kind is PointKind.SPURIOUS:
            minima.append(_minimum(found.student.weight[runs[0]], float(found.loss[runs[0]]), len(runs), certificate))
        elif certificate.kind is PointKind.MINIMUM:
            solved += len(runs)
        else:
            uncertified += len(runs)
    unfinished = int((~found.solved & ~found.stationary).sum())
    warnings = [
        f"{unfinished} runs used all their steps, or a neuron shrank to 0; they are neither solved nor spurious."
    ] * (unfinished > 0)
    return MinimaSearch(
        minima=tuple(sorted(minima, key=lambda minimum: minimum.loss)),
        restarts=len(found.loss),
        solved=solved,
        uncertified=uncertified,
        unfinished=unfinished,
        outcome=found.outcome,
        warnings=tuple(warnings),
    )


def _minimum(weight: Tensor, loss: float, hits: int, certificate: MinimumCertificate) -> SpuriousMinimum:
    return SpuriousMinimum(weight=weight, loss=loss, hits=hits, blocks=blocks_of(weight), certificate=certificate)


def blocks_of(weight: Float[Tensor, "n d"]) -> tuple[int, ...]:
    """Numbers of neurons of equal length, smallest first."""
    lengths = weight.norm(dim=1).sort().values
    edges = (lengths.diff() > 1e-6).nonzero().flatten().tolist()
    ends = [-1, *edges, len(lengths) - 1]
    return tuple(sorted(b - a for a, b in pairwise(ends)))
