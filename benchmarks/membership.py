"""Which samples does a network hold: the weights' answer beside thresholds, LiRA and RMIA, on the same networks.

    python benchmarks/membership.py --data npz:mnist.npz --cases mlp --seeds 5            minutes on two cores
    python benchmarks/membership.py --data npz:cifar10.npz --seeds 5                      hours: shadow networks
    python benchmarks/membership.py --data digits --quick                                 a minute

A network is trained by Adam on half of a pool. Every method scores the pool; a reference of the same size, which the
network never saw, weighs layers and is what offline shadow networks are trained on. Online shadow networks are trained
on random halves of the pool. Shadow networks have the target's architecture, recipe and number of samples. `both` is
the sum of our standardized scores and those of online LiRA. Given are medians over seeds of the members above the
threshold that 1 % and 0.1 % of the others pass, and the seconds of each method, shadow networks included. Under `null`
the same scores are those of a network trained on other samples.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import vestige as vg
from vestige.core.rng import child
from vestige.membership import (
    evaluate_membership,
    lira_scores,
    membership_scores,
    rmia_scores,
    shadow_models,
    threshold_scores,
)
from vestige.report import figures

RATES = (0.01, 0.001)
GRID = tuple(10 ** (-3 + k / 4) for k in range(12))


class Block(nn.Module):
    """Two convolutions with BatchNorm, added to their input."""

    def __init__(self, width: int):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.inner(x))


def mlp(shape: tuple[int, ...], outputs: int, dropout: float) -> nn.Module:
    size = torch.Size(shape).numel()
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 256), nn.ReLU(), nn.Dropout(dropout), nn.Linear(256, outputs))


def cnn(shape: tuple[int, ...], outputs: int, dropout: float) -> nn.Module:
    side = shape[1] // 4
    return nn.Sequential(
        nn.Conv2d(shape[0], 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * side * side, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, outputs),
    )  # fmt: skip


def resnet(shape: tuple[int, ...], outputs: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(shape[0], 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        Block(32), nn.MaxPool2d(2), Block(32), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(dropout),
        nn.Linear(512, outputs),
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """How the target is trained."""

    build: Callable[[tuple[int, ...], int, float], nn.Module]
    epochs: int = 40
    decay: float = 0.0
    dropout: float = 0.0
    flips: bool = False


CASES = {
    "mlp": Case(mlp),
    "mlp, decay": Case(mlp, decay=0.5),
    "mlp, dropout": Case(mlp, dropout=0.5),
    "mlp, early": Case(mlp, epochs=3),
    "cnn": Case(cnn, epochs=30),
    "cnn, flips": Case(cnn, epochs=30, flips=True),
    "resnet": Case(resnet, epochs=30),
}


def both_ways(x: Tensor) -> list[Tensor]:
    return [x, x.flip(-1)]


def train(case: Case, outputs: int, x: Tensor, y: Tensor, generator: torch.Generator) -> nn.Module:
    """Adam with decoupled weight decay, batches of 64."""
    with torch.random.fork_rng():
        torch.manual_seed(generator.initial_seed() % 2**31)
        net = case.build(tuple(x.shape[1:]), outputs, case.dropout)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=case.decay)
        for _ in range(case.epochs):
            for batch in torch.randperm(len(x)).split(64):
                given = x[batch]
                if case.flips:
                    given = torch.where(torch.rand(len(batch), 1, 1, 1) < 0.5, given, given.flip(-1))
                optimizer.zero_grad()
                F.cross_entropy(net(given), y[batch]).backward()
                optimizer.step()
    return net.eval()


def methods(
    case: Case, outputs: int, data: dict[str, tuple[Tensor, Tensor]], online: int, offline: int, seed: int
) -> tuple[dict[str, tuple[Tensor, float]], tuple[float, float]]:
    """Scores and seconds of each method on one target, and its accuracy on members and others."""
    (x, y), reference = data["pool"], data["reference"]
    recipe, half = partial(train, case, outputs), len(x) // 2
    model = recipe(x[:half], y[:half], child(seed, "target"))
    found: dict[str, tuple[Tensor, float]] = {}

    def timed(name: str, score: Callable[[], Tensor], before: float = 0.0) -> None:
        begun = time.perf_counter()
        found[name] = (score().double(), before + time.perf_counter() - begun)

    known = {"loss": "cross_entropy"}
    for kind in ("loss", "entropy", "modified_entropy"):
        timed(kind.replace("_", " "), partial(threshold_scores, model, x, y, kind=kind, **known))
    views = both_ways if case.flips else None
    ours = partial(membership_scores, model, x, y, reference=reference, augment=views, **known)
    timed("weights", lambda: ours().scores)
    timed("weights, no reference", lambda: membership_scores(model, x, y, augment=views, **known).scores)
    begun = time.perf_counter()
    others, _ = shadow_models(recipe, *reference, count=offline, generator=child(seed, "offline"))
    spent = time.perf_counter() - begun
    timed(f"LiRA offline {offline}", partial(lira_scores, model, x, y, shadows=others), spent)
    timed(f"RMIA offline {offline}", partial(rmia_scores, model, x, y, shadows=others, reference=reference), spent)
    begun = time.perf_counter()
    shadows, inside = shadow_models(recipe, x, y, count=online, generator=child(seed, "online"))
    spent = time.perf_counter() - begun
    name = f"LiRA online {online}"
    timed(name, partial(lira_scores, model, x, y, shadows=shadows, inside=inside), spent)
    timed("both", lambda: sum((s - s.mean()) / s.std() for s in (found["weights"][0], found[name][0])), spent)
    stranger = recipe(*(part[:half] for part in reference), child(seed, "stranger"))
    timed("null", lambda: membership_scores(stranger, x, y, augment=views, **known).scores)
    with torch.no_grad():
        right = (model(x).argmax(1) == y).double()
    return found, (right[:half].mean().item(), right[half:].mean().item())


def draw_data(spec: str, members: int, seed: int) -> tuple[dict[str, tuple[Tensor, Tensor]], int]:
    """A pool of twice the members and a reference as large, standardized."""
    data = vg.load_data(spec)
    order = torch.randperm(len(data), generator=child(seed, "data"))
    x = data.x.float()
    x = (x - x.mean()) / x.std()
    parts = {"pool": order[: 2 * members], "reference": order[2 * members : 4 * members]}
    return {name: (x[index], data.y[index]) for name, index in parts.items()}, len(data.classes)


def main() -> None:
    """Print a table for each case, and draw the last one's first seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--cases", nargs="+", choices=[*CASES], default=[*CASES])
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--online", type=int, default=32)
    parser.add_argument("--offline", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="an SVG of the curves")
    parser.add_argument("--quick", action="store_true", help="one small network")
    args = parser.parse_args()
    if args.quick:
        args.cases, args.members, args.online, args.offline, args.seeds = ["mlp"], 200, 4, 4, 1
    console = Console()
    for name in args.cases:
        rows: dict[str, list[tuple[list[float], float]]] = {}
        accuracy, curves = [], {}
        for seed in range(args.seeds):
            data, outputs = draw_data(args.data, args.members, seed)
            found, right = methods(CASES[name], outputs, data, args.online, args.offline, seed)
            accuracy.append(right)
            member = torch.arange(2 * args.members) < args.members
            for method, (scores, seconds) in found.items():
                curve = evaluate_membership(scores, member, rates=(*RATES, *GRID))
                rows.setdefault(method, []).append(([rate.true for rate in curve.rates], seconds))
                curves.setdefault(method, [rate.true for rate in curve.rates[2:]])
        inside, outside = (statistics.median(side) for side in zip(*accuracy, strict=True))
        title = (
            f"{args.data}, {name}: {args.members} members of {2 * args.members}, accuracy {inside:.3f} / {outside:.3f}"
        )
        table = Table("method", *(f"at {rate:.1%}" for rate in RATES), "seconds", title=title)
        for method, runs in rows.items():
            medians = (statistics.median(true[k] for true, _ in runs) for k in range(2))
            table.add_row(method, *(f"{m:.3f}" for m in medians), f"{statistics.median(s for _, s in runs):.1f}")
        console.print(table)
        if args.out is not None:
            shown = {k: v for k, v in curves.items() if k in ("weights", "loss") or k.startswith("LiRA")}
            drawn = figures.curves(
                GRID, shown, xlabel="false positive rate", ylabel="members that are named", logarithmic=True
            )
            args.out.write_bytes(drawn.replace(b"currentColor", b"#444"))
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
