"""What vestige states of models it did not choose, against what is right, by family; and the fit of its confidence.

    python benchmarks/false_claims.py --quick                                       two seeds of every fast family
    python benchmarks/false_claims.py --data npz:mnist.npz npz:cifar10.npz --sentences --cache claims       an hour
    python benchmarks/false_claims.py ... --cache claims --first-seed 2000 --split 2003 --fit   the constants

Small networks of each family (`model_families`) are trained and attacked without their data, as `vestige audit` does
it. A sample is right where its cosine to a training sample is above 0.8 and above that to each of 2,000 held-out
inputs of the same kind. The table has a row for each family: samples verified and how many of them are wrong, with the
interval of Clopper and Pearson for all; samples stated at a confidence of 0.9 and of 0.5 or more and how many of them
are right; and the expected calibration error of what is stated above 0. With --cache finished models are kept, one file
each, and a killed run goes on after the last one. --fit says how far seeds below
--split are off with constants from those above and the other way round, and prints the constants from both.
"""

import argparse
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from model_families import Case, families
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from torch import Tensor

import vestige as vg
from vestige.core.rng import child
from vestige.reconstruct.stored import from_tensors, to_tensors
from vestige.reconstruct.weights.belief import LEAST, STEEP, Grounds, explained, fall_of
from vestige.reconstruct.weights.clusters import cluster_candidates
from vestige.reconstruct.weights.ranking import CUT

NEAR = 0.8  # similarity from which a sample may be right
MEAN = 1 - 1e-6  # cosine from which a sample is the mean of its candidates
MEASURED = 100  # first seed of the measurement
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


@dataclass(frozen=True)
class Judged:
    """A reconstruction, and which of its samples are right."""

    family: str
    seed: int
    found: vg.reconstruct.Reconstruction
    own: Tensor  # cosine of each sample to its nearest training sample
    other: Tensor  # and to the nearest held-out one

    @property
    def right(self) -> Tensor:
        return (self.own > NEAR) & (self.own > self.other)


def attacked(case: Case, seed: int) -> dict[str, Tensor]:
    """The reconstruction as tensors, and how near its samples are."""
    found = vg.reconstruct_from_weights(
        case.model,
        tuple(case.x.shape[1:]),
        loss=case.loss,
        weight_decay=case.weight_decay,
        space=case.space,
        generator=child(seed, "attack"),
    )
    unit = F.normalize(found.samples.flatten(1).double(), dim=1)
    own, other = (unit @ F.normalize(part.flatten(1).double(), dim=1).T for part in (case.x, case.held_out))
    return to_tensors(found) | {"own": own.amax(1), "other": other.amax(1)}


def path_of(cache: Path, name: str, seed: int) -> Path:
    return cache / f"{name.replace(', ', '-').replace(' ', '_')}-{seed}.safetensors"


def judged(name: str, make: Callable[[int], Case], seed: int, cache: Path | None) -> Judged:
    """One model of a family, from the cache if it is there."""
    path = None if cache is None else path_of(cache, name, seed)
    if path is not None and path.exists():
        kept = load_file(path)
    else:
        begun = time.perf_counter()
        kept = attacked(make(seed), seed)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(kept, path)
        print(f"{name}, seed {seed}: {time.perf_counter() - begun:.0f} s", flush=True)
    own, other = kept.pop("own"), kept.pop("other")
    return Judged(name, seed, from_tensors(kept, own), own, other)


def calibration_error(stated: Tensor, right: Tensor) -> float:
    """Mean over bins of what is stated, weighted by how much is, of |mean stated - share right|; NaN for nothing."""
    inside = [(stated > low) & (stated <= high) for low, high in itertools.pairwise(BINS)]
    gaps = [abs(float(stated[b].sum() - right[b].double().sum())) for b in inside]
    return sum(gaps) / max(1, int((stated > 0).sum())) if (stated > 0).any() else float("nan")


def table_of(models: list[Judged]) -> Table:
    """One row a family and one for all."""
    columns = "family", "models", "verified", "wrong", ">= .9", "right", ">= .5", "right", "> 0", "error"
    table = Table(*columns)
    names = dict.fromkeys(m.family for m in models)
    for name in [*names, "all"]:
        rows = [m for m in models if name in (m.family, "all")]
        stated, hit = torch.cat([m.found.confidence.double() for m in rows]), torch.cat([m.right for m in rows])
        sure = torch.cat([m.found.verified for m in rows])
        cells = [int(sure.sum()), int((sure & ~hit).sum())]
        for part in (stated >= 0.9, stated >= 0.5):
            cells += [int(part.sum()), int((part & hit).sum())]
        counts = map(str, [len(rows), *cells, int((stated > 0).sum())])
        table.add_row(name, *counts, f"{calibration_error(stated, hit):.2f}")
        if name == "all" and cells[0]:
            bounds = binomtest(cells[1], cells[0]).proportion_ci(0.95, "exact")
            table.caption = f"verified and wrong: {cells[1]} of {cells[0]}, 95 %: {bounds.low:.3f} to {bounds.high:.3f}"
    return table


def groups_of(model: Judged) -> tuple[Tensor, Tensor]:
    """Rows for the fit, one for each group of two restarts or more: log odds, more than two classes, log of the
    different neurons a sample, -log of what is left open of the first layer, the fall of its singular values, and the
    factor that `belief` gives; and which of them are right."""
    found = model.found
    of_group = torch.cat([in_a_group(found), found.cluster.new_ones(1, dtype=torch.bool)])  # the last: in no group
    free = of_group[found.cluster]
    if not free.any():
        return torch.zeros(0, 6), torch.zeros(0, dtype=torch.bool)
    size = found.candidate_cotangents[free].double().norm(dim=1)
    groups = cluster_candidates(found.candidates[free].flatten(1).double(), found.restart[free], size, cut=CUT)
    grounds = Grounds(
        explained=explained(found.residual_per_layer),
        samples=found.identifiable,
        directions=found.directions,
        classes=max(2, found.candidate_cotangents.shape[1]),
        fall=fall_of(found.singular_values, found.identifiable),
        collapse=found.collapse,
    )
    sample = torch.stack([found.cluster[free][members[0]] for members in groups.members])
    shown = (groups.support > 1) & (sample >= 0) & (grounds.factor > 0)
    p = groups.confidence[shown].double()
    left = -math.log(max(1 - grounds.explained, LEAST))
    each = math.log(grounds.directions / grounds.samples) if grounds.samples and grounds.directions else 0.0
    of_model = p.new_tensor([grounds.classes > 2, each, left, min(grounds.fall, STEEP), grounds.factor])
    return torch.cat([p.logit(1e-6)[:, None], of_model.expand(len(p), -1)], 1), model.right[sample[shown]]


def in_a_group(found: vg.reconstruct.Reconstruction) -> Tensor:
    """Which samples are the mean of their candidates; those with a column of their own are not."""
    unit = F.normalize(found.candidates.flatten(1).double(), dim=1)
    members = found.cluster[:, None] == torch.arange(len(found.samples))
    mean = F.normalize(members.double().T @ unit, dim=1)
    return (mean * F.normalize(found.samples.flatten(1).double(), dim=1)).sum(1) > MEAN


def fitted(models: list[Judged], split: int) -> None:
    """Print the constants of `belief`, and how far each half of the seeds is off with those of the other."""
    every = [groups_of(model) for model in models]

    def fit(kept: list[bool]) -> LogisticRegression:
        rows, right = (torch.cat(part) for part in zip(*itertools.compress(every, kept), strict=True))
        return LogisticRegression(C=10).fit(rows[:, :5].numpy(), right.numpy())

    for name, half in (("below", [m.seed < split for m in models]), ("from", [m.seed >= split for m in models])):
        if any(half) and not all(half):
            rows, right = (torch.cat(part) for part in zip(*itertools.compress(every, half), strict=True))
            other = fit([not inside for inside in half]).predict_proba(rows[:, :5].numpy())[:, 1]
            off = calibration_error(torch.from_numpy(other) * rows[:, 5], right)
            print(f"seeds {name} {split}, fitted to the others: {len(rows)} groups, calibration error {off:.3f}")
    found = fit([True] * len(models))
    two, (slope, several, room, stationary, fall) = found.intercept_[0], found.coef_[0]
    print(f"{sum(len(right) for _, right in every)} groups of {len(models)} models")
    constants = slope, two, two + several, room, stationary, fall
    print(f"SLOPE, TWO, MORE, ROOM, STATIONARY, FALL = ({', '.join(f'{value:.2f}' for value in constants)})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=[], help="image sets beside digits, as load_data takes them")
    parser.add_argument("--sentences", action="store_true", help="heads on embeddings too; needs the extra text")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first-seed", type=int, nargs="+", default=[MEASURED], help="of each run of --seeds seeds")
    parser.add_argument("--only", nargs="*", default=[], help="families whose name contains one of these")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--cached-only", action="store_true", help="leave out what the cache does not hold")
    parser.add_argument("--fit", action="store_true", help="print the constants of confidence that these models give")
    parser.add_argument("--split", type=int, default=MEASURED, help="seeds from here on are the other half of the fit")
    parser.add_argument("--quick", action="store_true", help="two seeds")
    args = parser.parse_args()
    chosen = families(args.data, with_sentences=args.sentences)
    wanted = {n: make for n, make in chosen.items() if not args.only or any(part in n for part in args.only)}
    models: list[Judged] = []
    count = 2 if args.quick else args.seeds
    for seed in (first + k for first in args.first_seed for k in range(count)):
        kept = (
            wanted
            if not args.cached_only
            else {n: m for n, m in wanted.items() if path_of(args.cache, n, seed).exists()}
        )
        models += [judged(name, make, seed, args.cache) for name, make in kept.items()]
    if args.fit:
        fitted(models, args.split)
    Console(width=140).print(table_of(sorted(models, key=lambda m: list(wanted).index(m.family))))


if __name__ == "__main__":
    main()
