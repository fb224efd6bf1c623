"""Membership in pools that are too large to factorize: how long they take, and what they lose.

    python benchmarks/membership_pools.py --data npz:mnist.npz --speed 10000 100000 --reference 2000    minutes
    python benchmarks/membership_pools.py --data npz:mnist.npz --members 4000 --parts                   a minute
    python benchmarks/membership_pools.py --data digits --quick                                         seconds

The network is that of benchmarks/membership.py. --speed gives wall and CPU seconds beside what was told before, and
takes shifted copies where the data are fewer than the candidates. --parts compares the first layer's exact solution
with the one for large pools and with one that sees each part alone.
"""

import argparse
import time

import torch
from membership import CASES, CE, RATES, read, shown, train
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.membership import evaluate_membership, membership_scores
from vestige.membership.choice import default_layers
from vestige.membership.coefficients import PART, coefficients
from vestige.membership.rows import Samples, rows_of
from vestige.membership.scores import RIDGE
from vestige.membership.taps import read_layers


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--reference", type=int, default=1000)
    parser.add_argument("--speed", type=int, nargs="+", default=[], help="candidates")
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--quick", action="store_true", help="both, small")
    args = parser.parse_args()
    if args.quick:
        args.members, args.reference, args.speed, args.parts = 200, 200, [400], True
    x, y = read(args.data, None)
    if args.speed:
        show_speed(x, y, args)
    if args.parts:
        show_parts(x, y, args)


def show_speed(x: Tensor, y: Tensor, args: argparse.Namespace) -> None:
    """Wall and CPU seconds of large pools, shifted copies where the data are fewer, beside what was told before."""
    x, y, unseen = x[args.reference :], y[args.reference :], (x[: args.reference], y[: args.reference])
    model = train(CASES["mlp"], int(y.max()) + 1, None, x[: args.members], y[: args.members], child(0, "speed"))
    told: list[float] = []
    table = Table("candidates", "told before", "seconds", "CPU seconds", title=args.data)
    for n in args.speed:
        asked = torch.cat([x.roll(k, -1) for k in range(-(-n // len(x)))])[:n]
        wall, cpu = time.perf_counter(), time.process_time()
        labels = y.repeat(-(-n // len(x)))[:n]
        found = membership_scores(model, asked, labels, reference=unseen, on_step=lambda s: told.append(s.value), **CE)
        spent = (time.perf_counter() - wall, time.process_time() - cpu)
        table.add_row(f"{n:,}", f"{sum(told):.0f}", *(f"{s:.0f}" for s in spent))
        told.clear()
        assert found.outcome is Outcome.CONVERGED
    Console(width=130).print(table)


def show_parts(x: Tensor, y: Tensor, args: argparse.Namespace) -> None:
    """What the first layer names where its equation is solved exactly, as for large pools, and by parts alone."""
    half, n = args.members, 2 * args.members
    x, y = x[:n], y[:n]
    model = train(CASES["mlp"], int(y.max()) + 1, None, x[:half], y[:half], child(0, "parts"))
    layers = default_layers(read_layers(model, x[:1]), "auto", several=False, samples=n)
    (rows,) = rows_of(Samples(model, x, y, "cross_entropy", 256, None), layers, None).values()
    alone = torch.empty(n, dtype=torch.double)
    for part in torch.randperm(n, generator=child(0, "alone")).chunk(-(-n // PART)):
        alone[part] = coefficients(rows.take(part), RIDGE).scores
    found = {
        "exact": coefficients(rows, RIDGE, exact=n).scores,
        f"variances from parts of {PART:,}": coefficients(rows, RIDGE, exact=0).scores,
        f"parts of {PART:,} alone": alone,
    }
    table = Table("solution", *(f"at {rate:.1%}" for rate in RATES), title=f"{args.data}: {half} of {n}")
    for name, scores in found.items():
        curves = [evaluate_membership(scores, torch.arange(n) < half, rates=RATES)]
        table.add_row(name, *(shown(curves, rate) for rate in RATES))
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
