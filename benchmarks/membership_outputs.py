"""What do a network's outputs add to its layers, and what else might? The same networks, read in several ways.

    python benchmarks/membership_outputs.py --data npz:cifar10.npz --cases resnet --members 500    minutes
    python benchmarks/membership_outputs.py --data digits --members 400 --reference 400            a minute
    python benchmarks/membership_outputs.py --data digits --quick                                  seconds

Each way is weighed on a third of the reference, as `membership_scores` does it. `chosen` is what it does itself: the
loss and the shifts count together or not at all. Ways below it change one thing: other ridges, rows in the scales that
Adam divides by, cotangents of halved outputs, as training sends them back early, and how badly a sample's label is
guessed from all others of the pool. Given are means over seeds, and over draws of that third, of the members above the
threshold that 1 % and 0.2 % of all samples pass that are neither members nor in that third.
The seeds begin at 10: no table of benchmarks/membership.py has them.
"""

import argparse
from collections import defaultdict
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from membership import CASES, drawn, read, train
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from vestige.core.margins import Loss
from vestige.core.rng import child
from vestige.membership import evaluate_membership
from vestige.membership.choice import choose, default_layers
from vestige.membership.coefficients import coefficients
from vestige.membership.outputs import output_scores
from vestige.membership.pool import Pool, pool_of
from vestige.membership.rows import Dense, Rows, Samples, rows_of
from vestige.membership.scores import RIDGE
from vestige.membership.taps import read_layers
from vestige.membership.thresholds import confidences, outputs_of

RATES, FIRST, DRAWS = (0.01, 0.002), 10, 4
Views = dict[str, Tensor]  # scores of the pool; all but "loss" and "shifts" are weighed as layers are


class Halved(nn.Module):
    """Outputs at twice the temperature."""

    def forward(self, x: Tensor) -> Tensor:
        return x / 2


def ways(net: nn.Module, base: nn.Module | None, pool: Pool, several: bool) -> dict[str, Views]:
    """What is weighed, by the name of the way."""
    said = output_scores(net, pool.x, pool.y, Loss.CROSS_ENTROPY, 256)
    rest = confidences(outputs_of(net, pool.x, 256), pool.y)
    usual = solved(net, base, pool)
    p, log = rest.sigmoid(), {"log": said["loss"]}
    found = {
        "layers alone": usual,
        "with p": usual | {"p": p},
        "with p and its square": usual | {"p": p, "square": -((1 - p) ** 2)},
        "with log(loss + .05)": usual | log,
        "with the confidence in its class": usual | {"confidence": within_classes(rest, pool)},
    }
    if pool.x.dim() == 4:
        noise = torch.randn(4, *pool.x.shape, generator=child(0, "noise")).to(pool.x)
        changed = {"noise": [pool.x + 0.1 * each for each in noise], "flips": [pool.x.flip(-1)]}
        found |= {
            f"log, less that of {name}": usual | log | {name: rest - mean_of(net, copies, pool.y)}
            for name, copies in changed.items()
        }
        found["log, less that of shifts"] = usual | log | {"moved": said["shifts"]}
    if several:
        convolutions = [layer.name for layer in read_layers(net, pool.x[:1]).values() if layer.kind == "convolution"]
        found["all convolutions too"] = list(found.values())[-1] | solved(net, base, pool, convolutions)
    halved = [None if each is None else nn.Sequential(each, Halved()) for each in (net, base)]
    assert halved[0] is not None
    early = solved(halved[0], halved[1], pool)
    return found | {
        "chosen": usual | said,
        "chosen, ridge .01": solved(net, base, pool, ridge=0.01) | said,
        "chosen, ridge .1": solved(net, base, pool, ridge=0.1) | said,
        "chosen, Adam's scales": solved(net, base, pool, scaled=True) | said,
        "chosen, halved outputs": early | said,
        "chosen, halved outputs too": usual | early | said,
        "chosen, and how hard": usual | {"hard": hardness(pool)} | said,
    }


def solved(
    net: nn.Module,
    base: nn.Module | None,
    pool: Pool,
    layers: list[str] | str = "auto",
    ridge: float = RIDGE,
    *,
    scaled: bool = False,
) -> Views:
    several = default_layers(read_layers(net, pool.x[:1]), layers, several=True, samples=len(pool.x))
    rows = rows_of(Samples(net, pool.x, pool.y, "cross_entropy", 256, None), several, base)
    return {name: coefficients(in_scales(each) if scaled else each, ridge).scores for name, each in rows.items()}


def in_scales(rows: Rows) -> Rows:
    """Divided by roots of the root mean squares of both factors; rows of other layers as they are."""
    if not isinstance(rows, Dense):
        return rows
    delta, a = (side / side.square().mean((0, 1)).pow(0.25).clamp(min=1e-6) for side in (rows.delta, rows.a))
    return replace(rows, delta=delta, a=a)


def hardness(pool: Pool) -> Tensor:
    """Minus the margin of the label in a regression on all other samples, with the tangent kernel of two layers."""
    x = pool.x.flatten(1).double()
    x = F.normalize(x - x.mean(0))
    cosine = (x @ x.T).clamp(-1, 1)
    angle = cosine.acos()
    kernel = (angle.sin() + 2 * (torch.pi - angle) * cosine) / torch.pi
    own = F.one_hot(pool.y.long()).bool()
    goal = own.double() - own.double().mean(0)
    inverse = torch.linalg.inv(kernel + 0.1 * torch.eye(len(x)).to(kernel))
    guess = own.double() - inverse @ goal / inverse.diagonal()[:, None]
    return guess.masked_fill(own, -torch.inf).amax(1) - guess[own]


def within_classes(confidence: Tensor, pool: Pool) -> Tensor:
    """In standard deviations of the reference samples of the same class."""
    mean, spread = torch.zeros_like(confidence), torch.ones_like(confidence)
    unseen = torch.arange(len(pool.x)) >= pool.candidates
    for label in pool.y.unique():
        own = confidence[(pool.y == label) & unseen]
        mean[pool.y == label], spread[pool.y == label] = own.mean(), own.std()
    return (confidence - mean) / spread


def mean_of(net: nn.Module, copies: list[Tensor], y: Tensor) -> Tensor:
    return torch.stack([confidences(outputs_of(net, x, 256), y) for x in copies]).mean(0)


def main() -> None:
    """Print a table for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--encoder", help="minilm, or efficientnet-lite0@96")
    parser.add_argument("--cases", nargs="+", choices=[*CASES], default=["mlp"])
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--reference", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one small network")
    args = parser.parse_args()
    if args.quick:
        args.members, args.reference, args.seeds = 100, 200, 1
    x, y = read(args.data, args.encoder)
    for name in args.cases:
        rates: dict[str, list[list[float]]] = defaultdict(list)
        for seed in range(FIRST, FIRST + args.seeds):
            parts = drawn(x, y, args.members, args.reference, seed)
            (given, labels), half = parts["pool"], args.members
            recipe = partial(train, CASES[name], int(y.max()) + 1)
            base = recipe(None, *parts["before"], child(seed, "base")) if CASES[name].tuned else None
            net = recipe(base, given[:half], labels[:half], child(seed, "target"))
            pool = pool_of(given, labels, parts["reference"])
            assert pool.candidates == len(given), "equal samples"
            for way, views in ways(net, base, pool, "conv" in str(net).lower()).items():
                for draw in range(DRAWS):
                    choice = choose(views, pool, child(draw, "deal"))
                    kept = torch.cat([torch.arange(pool.candidates), choice.calibrating])
                    curve = evaluate_membership(choice.scores[kept], kept < half, rates=RATES)
                    rates[way].append([curve.at(rate).true for rate in RATES])
        table = Table("way", *(f"at {rate:.1%}" for rate in RATES), title=f"{args.data}, {name}: {half} of {2 * half}")
        for way, each in rates.items():
            table.add_row(way, *(f"{value:.3f}" for value in torch.tensor(each).mean(0).tolist()))
        Console(width=130).print(table)


if __name__ == "__main__":
    main()
