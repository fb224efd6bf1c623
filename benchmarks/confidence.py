"""How far the confidence of a group of candidates can be believed, and the fit behind its constants.

    python benchmarks/confidence.py --data digits npz:mnist.npz npz:cifar10.npz --cache pools     an hour on one core
    python benchmarks/confidence.py --data digits --quick                                         minutes

Networks are trained on each data set with several numbers of samples, depths and seeds, and attacked by
`vg.reconstruct_from_weights`. Every group of candidates that was not verified by itself is right or wrong: right where
it is within similarity 0.8 of a training sample and nearer to it than each of 2,000 held-out images. The first table
sets what `cluster_candidates` says against that; the second fits the logistic model anew and says how far the fit
without a data set is off on it; at the end stand the constants for `vestige/reconstruct/clusters.py`. With --cache the
attacks are kept and taken up again.
"""

import argparse
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor

import vestige as vg
from vestige.core.rng import child
from vestige.reconstruct.scoring.similarity import Comparison
from vestige.reconstruct.weights.clusters import cluster_candidates, features

NEAR = 0.8  # similarity from which a group may count as a training sample
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0001)
CASES = {  # number of samples and hidden layers, by what a data set is large enough for
    "digits": [(20, 1), (40, 1), (20, 2), (100, 1)],
    "mnist": [(20, 1), (20, 2), (100, 1)],
    "cifar10": [(20, 1), (20, 2), (100, 1)],
}


@dataclass(frozen=True)
class Case:
    """One network to attack."""

    data: str
    n: int
    depth: int
    seed: int

    @property
    def family(self) -> str:
        return next((name for name in CASES if name in self.data), self.data)

    def __str__(self) -> str:
        return f"{self.family}-{self.n}-{self.depth}-{self.seed}"


def attacked(case: Case) -> dict[str, Tensor]:
    """Everything that the attack returned, and the truth it is to be judged by; model space."""
    chosen, rest = vg.data.sample(vg.load_data(case.data), case.n, generator=child(case.seed, "data"))
    space = vg.InputSpace(mean=chosen.x.float().mean(0))
    x, held_out = space.to_model(chosen.x.float()), space.to_model(rest.x[:2000].float())
    width = 1000 if case.depth == 1 else 500
    widths = [x[0].numel(), *[width] * case.depth, int(chosen.y.max()) + 1]
    start = vg.nets.mlp(widths, first_init=1e-3, generator=child(case.seed, "init"), dtype=torch.float32)
    trained = vg.train_to_margin(start, x, chosen.y, loss="cross_entropy", weight_decay=1e-3)
    found = vg.reconstruct_from_weights(
        trained.model, tuple(x.shape[1:]), weight_decay=1e-3, space=space, generator=child(case.seed, "attack")
    )
    score = vg.score_reconstruction(found, x, held_out=held_out, space=space)
    kept = {
        "candidates": found.candidates, "multipliers": found.candidate_cotangents, "restart": found.restart,
        "cluster": found.cluster, "residual": found.residual, "truth": x, "threshold": torch.tensor(score.threshold),
        "verified": found.samples[found.verified], "recovered": torch.tensor(score.n_recovered),
        "unrelated": unrelated(x, held_out),
    }  # fmt: skip
    return {name: tensor.detach().cpu().contiguous() for name, tensor in kept.items()}


def pools(cases: list[Case], cache: Path | None) -> dict[Case, dict[str, Tensor]]:
    """Attack what is not in the cache yet."""
    found = {}
    for case in cases:
        path = None if cache is None else cache / f"{case}.safetensors"
        begun = time.perf_counter()
        if path is not None and path.exists():
            found[case] = load_file(path)
            continue
        found[case] = attacked(case)
        print(f"{case}: {int(found[case]['recovered'])} recovered, {time.perf_counter() - begun:.0f} s", flush=True)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(found[case], path)
    return found


@dataclass(frozen=True)
class Judged:
    """Groups that two restarts or more share, all cases together."""

    family: np.ndarray
    features: np.ndarray
    stated: np.ndarray
    right: np.ndarray
    strict: np.ndarray


def unrelated(truth: Tensor, held_out: Tensor) -> Tensor:
    """Of every true sample the similarity to the nearest image that the model never saw."""
    return Comparison(truth.double(), None).similarity(held_out.double()).amax(1)


def right(samples: Tensor, truth: Tensor, bar: Tensor) -> tuple[Tensor, Tensor]:
    """Which samples are as near to a true one as they should be, and how near the nearest is."""
    if not len(samples):
        return torch.zeros(0, dtype=torch.bool), torch.zeros(0)
    table = Comparison(truth.double(), None).similarity(samples.double().reshape(-1, *truth.shape[1:]))
    return (table >= bar[:, None].clamp(min=NEAR)).any(0), table.amax(0)


def judged(found: dict[Case, dict[str, Tensor]]) -> tuple[Judged, tuple[int, int, int, int]]:
    """Every group beside the truth; and of single groups and verified samples how many were right, of how many."""
    rows, single, sure = [], [], []
    for case, pool in found.items():
        judge = pool["truth"], pool["unrelated"]
        sure.append(right(pool["verified"], *judge)[0])
        free = (pool["cluster"] < 0) | (pool["cluster"] >= len(pool["verified"]))
        restart = pool["restart"][free]
        groups = cluster_candidates(
            pool["candidates"][free].flatten(1).double(), restart, pool["multipliers"][free].double().norm(dim=1)
        )
        hit, similarity = right(groups.representative, *judge)
        single.append(hit[groups.support == 1])
        columns = features(groups.representative, groups.support, groups.agreement, len(restart.unique()))
        shared = groups.support > 1
        values = (columns, groups.confidence, hit, similarity >= float(pool["threshold"]))
        rows.append((case.family, *(value[shared].double().numpy() for value in values)))
    family = np.concatenate([[name] * len(hit) for name, _, _, hit, _ in rows])
    alone, verified = torch.cat(single), torch.cat(sure)
    counts = (int(alone.sum()), len(alone), int(verified.sum()), len(verified))
    return Judged(family, *(np.concatenate(part) for part in list(zip(*rows, strict=True))[1:])), counts


def reliability(title: str, stated: np.ndarray, groups: Judged) -> Table:
    """What is said against what is true, by bins of what is said."""
    families = sorted(set(groups.family))
    table = Table("stated", "groups", "mean", "right", "past the score's bar", *families, title=title)
    for low, high in pairwise(BINS):
        chosen = (stated >= low) & (stated < high)
        if chosen.any():
            parts = [chosen & (groups.family == name) for name in families]
            shares = [f"{groups.right[p].mean():.2f} of {p.sum()}" if p.any() else "-" for p in parts]
            numbers = [f"{part[chosen].mean():.2f}" for part in (stated, groups.right, groups.strict)]
            table.add_row(f"{low:.1f} to {min(high, 1):.1f}", str(chosen.sum()), *numbers, *shares)
    return table


def left_out(groups: Judged) -> np.ndarray:
    """Probabilities for each data set from a fit on the others; all NaN for a single data set."""
    stated = np.full(len(groups.right), np.nan)
    for name in set(groups.family):
        out = groups.family == name
        if not out.all():
            stated[out] = fitted(groups.features[~out], groups.right[~out]).predict_proba(groups.features[out])[:, 1]
    return stated


def fitted(columns: np.ndarray, right: np.ndarray) -> LogisticRegression:
    """Logistic regression, hardly penalized."""
    return LogisticRegression(C=10).fit(columns, right)


def report(found: dict[Case, dict[str, Tensor]]) -> None:
    """Both tables and the constants."""
    groups, (alone, singles, sure, verified) = judged(found)
    show = Console(width=140).print
    show(f"{len(groups.right)} groups of two restarts or more, {len(found)} networks; torch {torch.__version__}")
    show(f"groups of one restart: {alone} of {singles} right; verified samples: {sure} of {verified} right")
    for title, stated in (("as released", groups.stated), ("fitted without the data set", left_out(groups))):
        if np.isnan(stated).any():
            continue
        show(reliability(title, stated, groups))
        parts = {name: groups.family == name for name in sorted(set(groups.family))}
        bias = ", ".join(f"{name} {(stated[p] - groups.right[p]).mean():+.3f}" for name, p in parts.items())
        show(f"stated minus right: {bias}; Brier score {((stated - groups.right) ** 2).mean():.3f}")
    model = fitted(groups.features, groups.right)
    show(f"INTERCEPT, COEFFICIENTS = {model.intercept_[0]:.2f}, {tuple(round(float(c), 2) for c in model.coef_[0])}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--cached-only", action="store_true", help="leave out what the cache does not hold")
    parser.add_argument("--quick", action="store_true", help="20 samples, one seed")
    args = parser.parse_args()
    sizes = {d: next((c for name, c in CASES.items() if name in d), [(20, 1), (20, 2)]) for d in args.data}
    cases = [
        Case(data, n, depth, seed)
        for seed in range(1 if args.quick else args.seeds)
        for data in args.data
        for n, depth in (sizes[data][:1] if args.quick else sizes[data])
    ]
    cases.sort(key=lambda case: (case.n, case.seed))
    if args.cached_only and args.cache:
        cases = [case for case in cases if (args.cache / f"{case}.safetensors").exists()]
    report(pools(cases, args.cache))


if __name__ == "__main__":
    main()
