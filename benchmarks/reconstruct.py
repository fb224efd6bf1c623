"""Ours against the published procedure on the same models, in one run.

    python benchmarks/reconstruct.py --quick                      digits, 20 samples: two minutes on two cores
    python benchmarks/reconstruct.py --data npz:cifar10.npz --n 100 --seeds 5 --published-steps 50000
    python benchmarks/reconstruct.py --data npz:mnist.npz --n 100 --preset binary-paper --positive 1,3,5,7,9

`--preset binary-paper` is the regime of arXiv 2206.07758: two classes (CIFAR-10: vehicles against animals, unless
`--positive` says otherwise), D-1000-1000-1, a first layer drawn with 1e-4 and no weight decay. `binary-decay` is the
same with a first layer drawn with 1e-3 and weight decay 1e-3.

Each row is one model: samples recovered at 0.1 % false positives against held-out images, samples of SSIM > 0.4,
gradient evaluations and seconds. `published` is the released setting; `published, best of k` runs k settings drawn from
the papers' own sweep ranges and is picked once by the lowest residual and once by an oracle that sees the score.
A second table sets the confidence of our verified samples against how many are right.
"""

import argparse
import statistics
import time
from itertools import pairwise

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import vestige as vg
from vestige.core.rng import child
from vestige.data.dataset import binarize, sample
from vestige.reconstruct.scoring.similarity import Comparison
from vestige.reconstruct.weights.published.search import published_search
from vestige.reconstruct.weights.published.settings import published_settings, random_settings

NEAR = 0.8  # similarity from which a sample may be right
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0001)
VEHICLES = (0, 1, 8, 9)  # of CIFAR-10
PRESETS = {
    "binary-paper": {"positive": VEHICLES, "depth": 2, "first_init": 1e-4, "weight_decay": 0.0},
    "binary-decay": {"positive": VEHICLES, "depth": 2, "first_init": 1e-3, "weight_decay": 1e-3},
}


def model_and_data(
    spec: str,
    n: int,
    width: int,
    depth: int,
    weight_decay: float,
    seed: int,
    positive: tuple[int, ...] = (),
    first_init: float = 1e-3,
):
    """A trained network, its samples and held-out ones in model space, and the space."""
    data = vg.load_data(spec)
    chosen, rest = sample(binarize(data, list(positive)) if positive else data, n, generator=child(seed, "data"))
    mean = chosen.x.float().mean(0)
    space = vg.InputSpace(mean=mean)
    x, held_out = space.to_model(chosen.x.float()), space.to_model(rest.x[:2000].float())
    widths = [x[0].numel(), *[width] * depth, 1 if positive else int(data.y.max()) + 1]
    start = vg.nets.mlp(widths, first_init=first_init, generator=child(seed, "init"), dtype=torch.float32)
    trained = vg.train_to_margin(start, x, chosen.y, loss=_loss(positive), weight_decay=weight_decay)
    return trained.model, x, held_out, space


def _loss(positive) -> str:
    return "logistic" if positive else "cross_entropy"


def ours(model, x, held_out, space, loss, weight_decay, seed):
    """Our default solver, scored; and of its verified samples the confidence, and which are right."""
    begun = time.perf_counter()
    found = vg.reconstruct_from_weights(
        model,
        tuple(x.shape[1:]),
        loss=loss,
        weight_decay=weight_decay or None,
        space=space,
        generator=child(seed, "attack"),
    )
    seconds = time.perf_counter() - begun
    score = vg.score_reconstruction(found, x, held_out=held_out, space=space)
    row = score.n_recovered, score.n_ssim, found.gradient_evaluations, seconds, float(found.residual.min())
    sure = found.verified
    return row, found.confidence[sure], right(found.samples[sure], x, held_out)


def right(samples: Tensor, x: Tensor, held_out: Tensor) -> Tensor:
    """Which samples are nearer to a true one than each unseen input is, and near."""
    if not len(samples):
        return torch.zeros(0, dtype=torch.bool)
    truth = Comparison(x.double(), None)
    bar = truth.similarity(held_out.double()).amax(1).clamp(min=NEAR)
    return (truth.similarity(samples.double().reshape(-1, *x.shape[1:])) >= bar[:, None]).any(0)


def published(model, x, space, held_out, loss, settings, steps, seed):
    """One run of the papers' procedure with one setting; its candidates are offered whole, as the papers do."""
    begun = time.perf_counter()
    run = published_search(
        model,
        tuple(x.shape[1:]),
        candidates=2 * len(x),
        loss=loss,
        steps=steps,
        objective=settings.objective,
        span=x[0].numel() > len(x),
        generator=child(seed, "attack"),
        **settings.as_options(),
    )
    seconds = time.perf_counter() - begun
    if not bool(torch.isfinite(run.candidates).all()):
        return 0, 0, run.steps, seconds, float("inf")
    score = vg.score_reconstruction(Offered(run.candidates), x, held_out=held_out, space=space)
    return score.n_recovered, score.n_ssim, run.steps, seconds, float(run.residual)


def _classes(text: str) -> tuple[int, ...]:
    return tuple(int(c) for c in text.split(","))


class Offered:
    """Candidates in the place of a Reconstruction's samples: all that a score reads."""

    def __init__(self, samples):
        self.samples = samples


def compare(args, seed: int):
    """All methods on the model of one seed; of our verified samples the confidence, and which are right."""
    model, x, held_out, space = model_and_data(
        args.data, args.n, args.width, args.depth, args.weight_decay, seed, args.positive, args.first_init
    )
    loss = _loss(args.positive)
    row, *verified = ours(model, x, held_out, space, loss, args.weight_decay, seed)
    rows = [("ours", row)]
    if not args.published_steps:
        return rows, verified
    common = (model, x, space, held_out, loss)
    for kind in ("binary" if args.positive else "multiclass", "general"):
        settings = published_settings(kind)
        rows.append((f"published ({settings.name})", published(*common, settings, args.published_steps, seed)))
    drawn = [random_settings(child(seed, "settings", str(k)), "general") for k in range(args.sweep)]
    runs = [published(*common, settings, args.published_steps, seed) for settings in drawn]
    if runs:
        cost = (sum(r[2] for r in runs), sum(r[3] for r in runs))
        for how, best in (("residual", min(runs, key=lambda r: r[4])), ("oracle", max(runs, key=lambda r: r[0]))):
            rows.append((f"published, best of {len(runs)} by {how}", (*best[:2], *cost, best[4])))
    return rows, verified


def reliability(stated, hit) -> Table:
    """Verified samples by confidence: what is said, and what is true."""
    table = Table("confidence", "verified", "mean", "right", title="verified samples of all seeds")
    for low, high in pairwise(BINS):
        chosen = (stated >= low) & (stated < high)
        if chosen.any():
            numbers = (f"{v[chosen].double().mean():.2f}" for v in (stated, hit))
            table.add_row(f"{low:.1f} to {min(high, 1):.1f}", str(int(chosen.sum())), *numbers)
    return table


def main() -> None:
    """Print the medians over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--depth", type=int, default=1, help="hidden layers")
    parser.add_argument("--positive", type=_classes, default=(), help="classes 1,3,5 against the others: two classes")
    parser.add_argument("--weight-decay", type=float, default=1e-3)
    parser.add_argument("--first-init", type=float, default=1e-3, help="standard deviation of the first layer's start")
    parser.add_argument("--preset", choices=PRESETS, help="other defaults; options given still count")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--published-steps", type=int, default=50_000, help="0: ours only")
    parser.add_argument("--sweep", type=int, default=20, help="random published settings")
    parser.add_argument("--quick", action="store_true", help="one seed, 2,000 published steps, 2 random settings")
    parser.set_defaults(**PRESETS.get(parser.parse_args().preset, {}))
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.published_steps, args.sweep = 1, 2000, 2
    results: dict[str, list[tuple]] = {}
    believed = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        rows, verified = compare(args, seed)
        believed.append(verified)
        for name, row in rows:
            results.setdefault(name, []).append(row)
            print(f"seed {seed}, {name}: {row[0]} recovered, {row[1]} by SSIM, {row[3]:.0f} s", flush=True)
        print(f"seed {seed}: {len(verified[1])} verified, {int(verified[1].sum())} of them right", flush=True)
    table = Table(
        "method", "recovered", "SSIM > 0.4", "gradient evaluations", "seconds", title=f"{args.data}, n={args.n}"
    )
    for name, rows in results.items():
        middle = [statistics.median(column) for column in zip(*rows, strict=True)]
        spread = sorted(int(r[0]) for r in rows)
        table.add_row(name, f"{middle[0]:g} {spread}", f"{middle[1]:g}", f"{middle[2]:,.0f}", f"{middle[3]:.0f}")
    Console().print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    Console().print(table)
    Console().print(reliability(*(torch.cat(part) for part in zip(*believed, strict=True))))


if __name__ == "__main__":
    main()
