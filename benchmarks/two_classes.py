"""Two classes, one hidden layer, weight decay: what comes back, and what stands against it.

    python benchmarks/two_classes.py --seeds 5                                        normal vectors, five seeds
    python benchmarks/two_classes.py --data npz:cifar10.npz --n 100 --width 1000 --columns-only --seeds 1

For each seed: different neurons; samples that what is offered, all candidates of the searches, and columns by zeros
come near (cosine above 0.9). Then of the true columns the median share of zeros; the median number of neurons at which
a column obeys the equation that tells it, being 0 or fully open, where as many as samples are needed; and how
much fully open differs from neuron to neuron (standard deviation over mean): 0 where training has ended. These three
hold where all samples can be told apart (rank is n); otherwise true columns are not unique.
"""

import argparse

import torch
import torch.nn.functional as F
from model_families import Case, images, isotropic, settled
from reconstruct import VEHICLES
from rich.console import Console
from rich.table import Table
from torch import Tensor

import vestige as vg
from vestige.core.rng import child
from vestige.reconstruct.image_prior import image_metric
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.zeros.layer import ZERO, first_layer
from vestige.reconstruct.weights.zeros.solver import solve_by_zeros

NEAR = 0.9  # cosine from which a sample counts
CLOSED, OPEN = 0.02, 0.05  # gates that are so near to 0 or to fully open are taken for it
KINK = 0.02  # of a typical pre-activation


def near(found: Tensor, x: Tensor) -> int:
    """How many samples something found is near to."""
    cosine = F.normalize(x.flatten(1).double(), dim=1) @ F.normalize(found.flatten(1).double(), dim=1).T
    return int((cosine > NEAR).any(1).sum())


def of_columns(chain: Chain, x: Tensor) -> tuple[float, float, float]:
    """Zeros, equations that hold, and the spread of open gates over neurons, of the true columns."""
    layer = first_layer(chain)
    points = chain.augmented(x.flatten(1).double() @ chain.basis)
    rows = chain.first_augmented()[layer.alive]
    s = (rows @ torch.linalg.pinv(points)).T
    u = points @ rows.T / rows.norm(dim=1)
    opened = u > KINK * u.abs().median()
    gates = s / chain.weights[1][0, layer.alive]
    gates = gates / torch.where(opened, gates, torch.nan).nanmedian(1, keepdim=True).values
    level = torch.where(opened, gates, torch.nan).nanmedian(0).values
    obeyed = (gates.abs() < CLOSED) | ((gates / level - 1).abs() < OPEN)
    zeros = (s.abs() < ZERO * s.abs().mean(1, keepdim=True)).double() @ layer.weight
    spread = float(level[~level.isnan()].std())
    return (
        float(zeros.median()),
        float((obeyed.double() @ layer.weight).median()) * layer.directions,
        spread,
    )


def case_of(args, seed: int) -> Case:
    options = {"hidden": (args.width,), "weight_decay": args.weight_decay}
    if args.data is None:
        return settled(*isotropic(args.n, args.dim, 2, seed), seed, **options)
    x, y, held_out, space = images(args.data, args.n, seed, VEHICLES)
    return settled(x, y, held_out, seed, space=space, **options)


def recovered(case: Case, chain: Chain, seed: int) -> tuple[int, int, int]:
    """Samples near what is offered, near a candidate, and near what columns by zeros give."""
    told = {"loss": case.loss, "weight_decay": case.weight_decay, "space": case.space}
    shape = tuple(case.x.shape[1:])
    found = vg.reconstruct_from_weights(case.model, shape, **told, generator=child(seed, "attack"))
    norm, metric = float(case.x.flatten(1).norm(dim=1).mean()), None
    if len(shape) == 3:
        metric = image_metric(chain.basis, shape)
    zeros = solve_by_zeros(chain, sample_norm=norm, metric=metric, box=None, generator=child(seed, "zeros"))
    return near(found.samples, case.x), near(found.candidates, case.x), near(zeros.z @ chain.basis.T, case.x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=None, help="CIFAR-10 as load_data takes it; without, normal vectors")
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--dim", type=int, default=128, help="of the normal vectors")
    parser.add_argument("--width", type=int, default=400)
    parser.add_argument("--weight-decay", type=float, default=1e-3)
    parser.add_argument("--columns-only", action="store_true", help="no attack")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    args = parser.parse_args()
    table = Table("seed", "rank", "neurons", "offered", "candidates", "by zeros", "zeros", "equations", "spread")
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        case = case_of(args, seed)
        chain = span_chain(case.model, None, torch.float64)
        assert chain is not None
        counts = ("",) * 3 if args.columns_only else recovered(case, chain, seed)
        zeros, equations, spread = of_columns(chain, case.x)
        cells = seed, chain.rank, chain.directions, *counts, f"{zeros:.2f}", f"{equations:.0f}", f"{spread:.2f}"
        table.add_row(*map(str, cells))
        print(*cells, flush=True)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
