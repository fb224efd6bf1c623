"""How far the confidence of a group of candidates can be believed, and the fit behind its constants.

    python benchmarks/confidence.py --data digits npz:mnist.npz npz:cifar10.npz --cache pools     an hour on one core
    python benchmarks/confidence.py --data digits --quick                                         minutes

Networks are trained on each data set with several numbers of samples, depths and seeds, and attacked by
`vg.reconstruct_from_weights`. Every group of candidates that was not verified by itself is right or wrong: right where it
is nearer to a training sample than 0.1 % of best-of-as-many held-out images come. The table sets what
`cluster_candidates` says against that; the last part fits the logistic model anew, with one data set left out in turn,
and prints the constants for `vestige/reconstruct/clusters.py`. With --cache the attacks are kept and taken up again.
"""

import argparse
import itertools
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import vestige as vg
from vestige.core.rng import child

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


def attacked(case: Case) -> dict[str, torch.Tensor]:
    """Everything that the attack returned, and the truth it is to be judged by; model space."""
    chosen, rest = vg.sample(vg.load_data(case.data), case.n, generator=child(case.seed, "data"))
    space = vg.InputSpace(mean=chosen.x.float().mean(0))
    x, held_out = space.to_model(chosen.x.float()), space.to_model(rest.x[:2000].float())
    width = 1000 if case.depth == 1 else 500
    widths = [x[0].numel(), *[width] * case.depth, int(chosen.y.max()) + 1]
    start = vg.mlp(widths, first_init=1e-3, generator=child(case.seed, "init"), dtype=torch.float32)
    trained = vg.train_to_margin(start, x, chosen.y, loss="cross_entropy", weight_decay=1e-3)
    found = vg.reconstruct_from_weights(
        trained.model, tuple(x.shape[1:]), weight_decay=1e-3, space=space, generator=child(case.seed, "attack")
    )
    score = vg.score_reconstruction(found, x, held_out=held_out, space=space)
    kept = {
        "candidates": found.candidates, "multipliers": found.candidate_cotangents, "restart": found.restart,
        "cluster": found.cluster, "residual": found.residual, "truth": x, "threshold": torch.tensor(score.threshold),
        "verified": found.samples[found.verified], "recovered": torch.tensor(score.n_recovered),
        "exact": found.confidence[found.verified], "right": score.sample_similarity[found.verified.cpu()],
    }  # fmt: skip
    return {name: tensor.detach().cpu().contiguous() for name, tensor in kept.items()}


def pools(cases: list[Case], cache: Path | None) -> dict[Case, dict[str, torch.Tensor]]:
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


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path)
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
    pools(cases, args.cache)


if __name__ == "__main__":
    main()
