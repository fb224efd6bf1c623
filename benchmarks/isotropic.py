"""Two classes of vectors without structure: what comes back, and why little does.

    python benchmarks/isotropic.py                            three seeds, a minute of one core

Networks d-h-1 are trained with weight decay on normal vectors and attacked without data. For each seed: different neurons;
samples that what is offered, every candidate of the searches, and columns by zeros come near (cosine above 0.9);
and of the true columns the median share of zeros, of neurons on a kink, and the spread of what an open gate is, neuron
by neuron: 0 where training has ended.
"""

import argparse

import torch
import torch.nn.functional as F
from model_families import isotropic, settled
from rich.console import Console
from rich.table import Table
from torch import Tensor

import vestige as vg
from vestige.core.rng import child
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.zeros.layer import first_layer
from vestige.reconstruct.weights.zeros.solver import solve_by_zeros

NEAR = 0.9  # cosine from which a sample counts
KINK = 0.02  # of a typical pre-activation


def near(found: Tensor, x: Tensor) -> int:
    """How many samples something found is near to."""
    cosine = F.normalize(x.double(), dim=1) @ F.normalize(found.flatten(1).double(), dim=1).T
    return int((cosine > NEAR).any(1).sum())


def shares(chain: Chain, x: Tensor) -> tuple[float, float, float]:
    """Zeros, kinks, and the spread of open gates over neurons, of the true columns."""
    layer = first_layer(chain)
    y = chain.augmented(x.double() @ chain.basis) @ layer.right.T
    columns = torch.linalg.lstsq(y.T, torch.diag(layer.values)).solution
    u = y @ layer.slopes.T / layer.slopes.norm(dim=1)
    u = u / u.abs().median()
    gates = columns @ layer.columns.T / chain.weights[1][0, layer.alive]
    gates = torch.where(u > KINK, gates, torch.nan)
    level = (gates / gates.nanmedian(1, keepdim=True).values).nanmedian(0).values
    kinks = (u.abs() <= KINK).double() @ layer.weight
    return float(layer.zeros(columns).median()), float(kinks.median()), float(level[~level.isnan()].std())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--width", type=int, default=400)
    parser.add_argument("--weight-decay", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    args = parser.parse_args()
    table = Table("seed", "neurons", "offered", "candidates", "by zeros", "zeros", "on kinks", "spread of open gates")
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        drawn = isotropic(args.n, args.dim, 2, seed)
        case = settled(*drawn, seed, hidden=(args.width,), weight_decay=args.weight_decay)
        told = {"loss": case.loss, "weight_decay": case.weight_decay}
        found = vg.reconstruct_from_weights(case.model, (args.dim,), **told, generator=child(seed, "attack"))
        chain = span_chain(case.model, None, torch.float64)
        assert chain is not None
        zeros = solve_by_zeros(chain, sample_norm=args.dim**0.5, metric=None, generator=child(seed, "zeros"))
        counts = near(found.samples, case.x), near(found.candidates, case.x), near(zeros.z @ chain.basis.T, case.x)
        cells = seed, chain.directions, *counts, *(f"{part:.2f}" for part in shares(chain, case.x))
        table.add_row(*map(str, cells))
        print(*cells, flush=True)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
