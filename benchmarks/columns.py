"""Columns of a two-layer network from rough gates: one factorization for six alternations, against one for each.

    python benchmarks/columns.py                         500 samples, 1,000 neurons, ten classes
    python benchmarks/columns.py --n 100 --columns 100

The columns are drawn, with gates of which half are open. Of each run: CPU seconds, columns tried, and those found
(cosine above 0.999 to the column whose gates were given) from gates of which `--wrong` are not right.
"""

import argparse
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from vestige.core.rng import child
from vestige.reconstruct.weights.two_layer import columns
from vestige.reconstruct.weights.two_layer.columns import ColumnSpace, fit_columns

FOUND = 0.999


def drawn(args) -> tuple[ColumnSpace, Tensor, Tensor]:
    """The space of drawn columns, the first few of these, and their gates, some of them wrong."""
    g = child(args.seed, "columns")
    last = torch.randn(args.classes, args.width, generator=g, dtype=torch.float64)
    last -= last.mean(0)
    gates = torch.rand(args.n, args.width, generator=g) < 0.5
    s = gates * (torch.randn(args.n, args.classes, generator=g, dtype=torch.float64) @ last)
    basis = [torch.linalg.svd(part.T, full_matrices=False)[0] for part in (s, last[1:])]
    weight = torch.ones(args.width, dtype=torch.float64)
    space = ColumnSpace(*basis, alive=weight > 0, weight=weight)
    flipped = torch.rand(gates.shape, generator=g) < args.wrong
    return space, s[: args.columns], (gates ^ flipped)[: args.columns].double() - 0.5


def run(args, name: str, factored: int) -> float:
    """CPU seconds with a factor for so many alternations."""
    space, s, z = drawn(args)
    columns.FACTORED = factored
    begun = time.process_time()
    found = fit_columns(space, z, generator=child(args.seed, "power"), rounds=args.rounds)
    spent = time.process_time() - begun
    right = (F.normalize(s, dim=1) * found.s).sum(1).abs() > FOUND
    print(f"{name:28} {spent:6.1f} CPU s, {int(right.sum())} of {len(s)} columns", flush=True)
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=500, help="samples")
    parser.add_argument("--width", type=int, default=1000, help="neurons")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--columns", type=int, default=60, help="tried at once")
    parser.add_argument("--wrong", type=float, default=0.05, help="share of the gates")
    parser.add_argument("--rounds", type=int, default=45)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    ours, naive = columns.FACTORED, 1
    spent = run(args, f"a factor for {ours} alternations", ours), run(args, "a factor for each", naive)
    print(f"ratio {spent[1] / spent[0]:.1f}")


if __name__ == "__main__":
    main()
