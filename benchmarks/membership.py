"""Which samples does a network hold: the weights' answer beside thresholds, LiRA and RMIA, on the same networks.

    python benchmarks/membership.py --data digits --cases mlp --members 400                      minutes
    python benchmarks/membership.py --data npz:cifar10.npz --cases cnn resnet --shadows 0        no LiRA: minutes
    python benchmarks/membership.py --data statements.csv --cases head --encoder minilm          the extra `text`
    python benchmarks/membership.py --data digits --quick                                        a minute

A network is trained by Adam on half of a pool. Every method scores the pool; a reference that the network never saw
weighs layers. Shadow networks have the target's architecture, recipe and number of samples, and are trained on random
halves of the pool: each sample is in half of them. LiRA online looks at all of them, LiRA and RMIA offline at the half
without the sample, and pay for that half. `both` adds our scores and those of online LiRA, standardized, and in other
ways. Under `null` the same scores are those of a network trained on other samples.

`head` is a network on frozen embeddings that was first trained on samples of its own and then fine-tuned on the
members; `base` knows it as it was before. Where the target saw both ways of an image, `one way` does not know it.

Given are medians over seeds of the members above the threshold that 1 % and 0.1 % of the others pass, with the interval
of the median's run, the area under the curve, and CPU seconds of one thread, shadow networks included. --keep FOLDER
keeps what LiRA and RMIA say in each seed, so that only the rest is done again.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import vestige as vg
from vestige.core.rng import child
from vestige.membership import (
    MembershipCurve,
    evaluate_membership,
    lira_scores,
    membership_scores,
    rmia_scores,
    shadow_models,
    threshold_scores,
)
from vestige.nets.backbones import load_backbone
from vestige.report import figures
from vestige.report.document import save_figure

RATES = (0.01, 0.001)
GRID = tuple(10 ** (-3 + k / 4) for k in range(12))
CE, KINDS = {"loss": "cross_entropy"}, ("loss", "entropy", "modified_entropy")
Samples = tuple[Tensor, Tensor]
Found = dict[str, tuple[Tensor, float]]  # scores and seconds of each method


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
    """How the target is trained; `tuned`: on samples of its own first."""

    build: Callable[[tuple[int, ...], int, float], nn.Module]
    epochs: int = 40
    decay: float = 0.0
    dropout: float = 0.0
    flips: bool = False
    tuned: bool = False


CASES = {
    "mlp": Case(mlp),
    "mlp, decay": Case(mlp, decay=0.5),
    "mlp, dropout": Case(mlp, dropout=0.5),
    "mlp, early": Case(mlp, epochs=3),
    "mlp, flips": Case(mlp, flips=True),
    "cnn": Case(cnn, epochs=30),
    "cnn, early": Case(cnn, epochs=6),
    "cnn, flips": Case(cnn, epochs=30, flips=True),
    "resnet": Case(resnet, epochs=30),
    "head": Case(mlp, tuned=True),
}


def both_ways(x: Tensor) -> list[Tensor]:
    return [x, x.flip(-1)]


def train(
    case: Case, outputs: int, base: nn.Module | None, x: Tensor, y: Tensor, generator: torch.Generator
) -> nn.Module:
    """Adam with decoupled weight decay, batches of 64."""
    with torch.random.fork_rng():
        torch.manual_seed(generator.initial_seed() % 2**31)
        net = case.build(tuple(x.shape[1:]), outputs, case.dropout) if base is None else copy.deepcopy(base).train()
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


def timed(score: Callable[[], Tensor], before: float = 0.0) -> tuple[Tensor, float]:
    begun = time.process_time()
    return score().double(), before + time.process_time() - begun


def measure(
    case: Case, outputs: int, data: dict[str, Samples], shadows: int, seed: int, kept: Path | None
) -> tuple[Found, list[float]]:
    """Scores and seconds of each method on one target, and its accuracy on members and others."""
    (x, y), reference, half = data["pool"], data["reference"], len(data["pool"][0]) // 2
    base = train(case, outputs, None, *data["before"], child(seed, "base")) if case.tuned else None
    recipe = partial(train, case, outputs, base)
    model = recipe(x[:half], y[:half], child(seed, "target"))
    stranger = recipe(*(part[:half] for part in data["others"]), child(seed, "stranger"))
    asked = partial(membership_scores, model, x, y, **CE)
    seen = {"base": base, "augment": both_ways if case.flips else None}
    thresholds = {kind: partial(threshold_scores, model, x, y, kind=kind, **CE) for kind in KINDS}
    found: Found = {kind.replace("_", " "): timed(score) for kind, score in thresholds.items()}
    found["weights"] = timed(lambda: asked(reference=reference, **seen).scores)
    found["weights, no reference"] = timed(lambda: asked(**seen).scores)
    if case.flips:
        found["weights, one way"] = timed(lambda: asked(reference=reference).scores)
    if case.tuned:
        found["weights, no base"] = timed(lambda: asked(reference=reference).scores)
    if shadows:
        rivals = partial(peers, recipe, model, (x, y), reference, shadows, seed)
        found |= once(rivals, kept, found["loss"][0])
        (ours, seconds), (theirs, more) = found["weights"], found[f"LiRA online {shadows}"]
        found |= {name: (scores, seconds + more) for name, scores in together(ours, theirs).items()}
    found["null"] = timed(lambda: membership_scores(stranger, x, y, **seen, **CE).scores)
    with torch.no_grad():
        right = (torch.cat([model(part) for part in x.split(500)]).argmax(1) == y).double()
    return found, [right[:half].mean().item(), right[half:].mean().item()]


def together(ours: Tensor, theirs: Tensor) -> dict[str, Tensor]:
    """Sums in standard deviations, in normal quantiles of ranks, and of both as logarithms of odds."""
    each = torch.stack([ours, theirs], 1)
    ranks, standard = (each.argsort(0).argsort(0) + 0.5) / len(each), (each - each.mean(0)) / each.std(0)
    return {"both": standard.sum(1), "both, by ranks": torch.special.ndtri(ranks).sum(1), "both, as odds": each.sum(1)}


def peers(
    recipe: Callable[..., nn.Module], model: nn.Module, pool: Samples, reference: Samples, shadows: int, seed: int
) -> Found:
    """LiRA and RMIA. Networks without a sample are half of all, and so is their time."""
    begun = time.process_time()
    networks, inside = shadow_models(recipe, *pool, count=shadows, generator=child(seed, "online"))
    spent = time.process_time() - begun
    given = {"shadows": networks, "inside": inside}
    return {
        f"LiRA offline {shadows // 2}": timed(partial(lira_scores, model, *pool, offline=True, **given), spent / 2),
        f"RMIA offline {shadows // 2}": timed(
            partial(rmia_scores, model, *pool, reference=reference, offline=True, **given), spent / 2
        ),
        f"LiRA online {shadows}": timed(partial(lira_scores, model, *pool, **given), spent),
    }


def read(spec: str, encoder: str | None) -> tuple[Tensor, Tensor]:
    """Samples and labels: images, or embeddings of images and of a CSV file's statements."""
    if spec.endswith(".csv"):
        statements = vg.probe.read_statements(spec)
        x, y = list(statements.texts), statements.y
    else:
        data = vg.load_data(spec)
        x, y = data.x.float(), data.y
    if encoder is not None:
        x = vg.nets.embed(load_backbone(encoder), x).float()
    assert isinstance(x, Tensor), "statements need an encoder"
    return (x - x.mean()) / x.std(), y


def drawn(x: Tensor, y: Tensor, members: int, unseen: int, seed: int) -> dict[str, Samples]:
    """A pool of twice the members, a reference, and samples for another network or an earlier one."""
    order = torch.randperm(len(x), generator=child(seed, "data"))
    sizes = [2 * members, unseen, len(x) - 2 * members - unseen]
    parts = dict(zip(("pool", "reference", "before"), order.split(sizes), strict=True))
    parts["others"] = order[2 * members :]
    return {name: (x[index], y[index]) for name, index in parts.items()}


def once(rivals: Callable[[], Found], kept: Path | None, losses: Tensor) -> Found:
    """What was kept, if it is of a network with these losses."""
    if kept is not None and kept.exists():
        stored = {k: (torch.from_numpy(v[:-1]), float(v[-1])) for k, v in np.load(kept).items()}
        if torch.allclose(stored.pop("loss")[0], losses):
            return stored
    found = rivals()
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        rows = {
            k: np.append(scores.numpy(), seconds) for k, (scores, seconds) in {**found, "loss": (losses, 0.0)}.items()
        }
        np.savez_compressed(kept, **rows)
    return found


def shown(curves: list[MembershipCurve], rate: float) -> str:
    """The median run's share and its interval."""
    middle = sorted((curve.at(rate) for curve in curves), key=lambda each: each.true)[(len(curves) - 1) // 2]
    return f"{middle.true:.3f} ({middle.low:.3f} to {middle.high:.3f})"


def contests(curves: dict[str, list[MembershipCurve]]) -> Table:
    """Runs in which a method names as many members as every other beside it, or more, and with as large an area."""
    online = next(name for name in curves if name.startswith("LiRA online"))
    table = Table("method", "beside", *(f"at {rate:.1%}" for rate in RATES), "area", title="as many or more")
    for method, others in (("weights", ["loss"]), ("weights", [online]), ("both", ["weights", online])):
        ours, best = measures(curves[method]), torch.stack([measures(curves[name]) for name in others]).amax(0)
        table.add_row(
            method, ", ".join(others), *(f"{count} of {len(ours)}" for count in (ours >= best).sum(0).tolist())
        )
    return table


def measures(curves: list[MembershipCurve]) -> Tensor:
    return torch.tensor([[*(curve.at(rate).true for rate in RATES), curve.auc] for curve in curves])


def main() -> None:
    """Print a table for each case, and draw the last one's first seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--encoder", help="minilm, or efficientnet-lite0@96")
    parser.add_argument("--cases", nargs="+", choices=[*CASES], default=["mlp"])
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--reference", type=int, help="samples; as many as members if not given")
    parser.add_argument("--shadows", type=int, default=32, help="of online LiRA; 0: no LiRA and no RMIA")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="a folder for what LiRA and RMIA say in each seed")
    parser.add_argument("--out", type=Path, help="an SVG of the curves")
    parser.add_argument("--quick", action="store_true", help="one small network")
    args = parser.parse_args()
    if args.quick:
        args.cases, args.members, args.shadows, args.seeds = ["mlp"], 200, 4, 1
    args.reference = args.reference or args.members
    data = read(args.data, args.encoder)
    console = Console(width=130)
    member = torch.arange(2 * args.members) < args.members
    for name in args.cases:
        curves: dict[str, list[MembershipCurve]] = {}
        seconds: dict[str, list[float]] = {}
        accuracy = []
        for seed in range(args.seeds):
            kept = None if args.keep is None else args.keep / f"{name.replace(', ', '-')}-{seed}.npz"
            parts = drawn(*data, args.members, args.reference, seed)
            found, right = measure(CASES[name], int(data[1].max()) + 1, parts, args.shadows, seed, kept)
            accuracy.append(right)
            for method, (scores, spent) in found.items():
                curves.setdefault(method, []).append(evaluate_membership(scores, member, rates=(*RATES, *GRID)))
                seconds.setdefault(method, []).append(spent)
        inside, outside = (statistics.median(side) for side in zip(*accuracy, strict=True))
        title = f"{args.data}, {name}: {args.members} of {2 * args.members}, accuracy {inside:.3f} / {outside:.3f}"
        table = Table("method", *(f"at {rate:.1%}" for rate in RATES), "area", "CPU seconds", title=title)
        for method, each in curves.items():
            rest = statistics.median(curve.auc for curve in each), statistics.median(seconds[method])
            table.add_row(method, *(shown(each, rate) for rate in RATES), f"{rest[0]:.3f}", f"{rest[1]:.1f}")
        console.print(table)
        if args.shadows:
            console.print(contests(curves))
        if args.out is not None:
            image = picture({method: each[0] for method, each in curves.items()})
            save_figure(args.out, image, title="Members named at each false positive rate")
    console.print(f"{args.seeds} seeds, {torch.get_num_threads()} threads, torch {torch.__version__}")


def picture(curves: dict[str, MembershipCurve]) -> bytes:
    kept = [k for k in curves if k in ("weights", "loss") or k.startswith("LiRA online")]
    drawn = {k: [rate.true for rate in curves[k].rates[len(RATES) :]] for k in kept}
    labels = {"xlabel": "false positive rate", "ylabel": "members that are named"}
    return figures.curves(GRID, drawn, **labels, logarithmic=True)


if __name__ == "__main__":
    main()
