"""Columns by zeros where the first layer is a convolution: an experiment on a few digits, in which nothing is found.

    python benchmarks/patches.py                        digits, 6x6 kernels with stride 2: 4 patches an image
    python benchmarks/patches.py --images 8 --seeds 1

The kernels of a strided convolution see patches, and training with weight decay leaves them as one sum over all patches
of all images, [W b] = sum_ip s_ip [x_ip 1]^T: each patch has a column of its own, which is zero at the kernels that the
patch leaves off. So patches might be found as samples of an MLP are, if they are linearly independent, and few for the
kernels. A row of the table is one network: patches, how many can be told apart, kernels that differ, at which share of
them a true column vanishes (median), columns found, and how many patches have one of them.
"""

import argparse

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import vestige as vg
from vestige.core.rng import child
from vestige.data.dataset import sample
from vestige.reconstruct.weights.neurons import distinct_neurons
from vestige.reconstruct.weights.two_layer.numerical_rank import numerical_rank
from vestige.reconstruct.weights.zeros.halfspace import separable
from vestige.reconstruct.weights.zeros.layer import FirstLayer
from vestige.reconstruct.weights.zeros.solver import PARTED, SPARSE
from vestige.reconstruct.weights.zeros.span import independent, span_of_others
from vestige.reconstruct.weights.zeros.sparse import trimmed_columns

STARTS = 100  # of a round
SAME = 0.95  # cosine from which a column is a patch's


def trained(data: str, images: int, kernels: int, size: int, stride: int, seed: int) -> tuple[nn.Conv2d, Tensor]:
    """The convolution of a network trained to the end, and the patches that it saw, 1 appended."""
    chosen, rest = sample(vg.load_data(data), images, generator=child(seed, "data"))
    x = chosen.x.double() - rest.x.double().mean(0)  # around their own mean the patches of a place would add up to none
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = nn.Conv2d(x.shape[1], kernels, size, stride).double()
        last = nn.Linear(first(x)[0].numel(), 10).double()
        with torch.no_grad():
            first.weight.mul_(1e-3 / first.weight.std())
            first.bias.zero_()
    start = nn.Sequential(first, nn.ReLU(), nn.Flatten(), last)
    model = vg.train_to_margin(start, x, chosen.y, loss="cross_entropy", weight_decay=1e-3).model
    patches = F.unfold(x, size, stride=stride).mT.flatten(0, 1)
    return model[0], torch.cat([patches, torch.ones_like(patches[:, :1])], 1)


def layer_of(first: nn.Conv2d) -> tuple[FirstLayer, bool]:
    """Its kernels as the neurons of a first layer, and whether their rank is clear."""
    augmented = torch.cat([first.weight.flatten(1), first.bias[:, None]], 1).detach()
    weight = distinct_neurons(augmented)
    alive = weight > 0
    left, values, right = torch.linalg.svd(augmented[alive], full_matrices=False)
    n, clear = numerical_rank(values, tuple(augmented[alive].shape))
    share = weight[alive] / weight.sum()
    return FirstLayer(left[:, :n], values[:n], right[:n], True, share, round(float(weight.sum())), alive), clear


def columns_of(layer: FirstLayer, rounds: int, generator: torch.Generator) -> Tensor:
    """Rounds of random starts, trimming, checks and peeling."""
    n = len(layer.values)
    known = layer.columns.new_zeros(0, n)
    for _ in range(rounds):
        if len(known) >= n:
            break
        span = span_of_others(layer, known)
        y = torch.randn(STARTS, span.shape[1], generator=generator, dtype=span.dtype)
        c = trimmed_columns(layer, y @ (layer.slopes @ span).T / layer.slopes.norm(dim=1))
        c = c[layer.zeros(c) > SPARSE]
        c = c[independent(layer, c)] if len(c) else c
        c = c[separable(layer, layer.vanishes(c)) >= PARTED] if len(c) else c
        both = torch.cat([known, c])
        known = both[independent(layer, both)] if len(both) else both
    return known


def near(truth: Tensor, found: Tensor, bar: float) -> int:
    """How many true rows one of those found is near to, up to sign."""
    cosine = (F.normalize(truth, dim=1) @ F.normalize(found, dim=1).T).abs()
    return int((cosine > bar).any(1).sum()) if len(found) else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--images", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--kernels", type=int, default=300)
    parser.add_argument("--size", type=int, default=6)
    parser.add_argument("--stride", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    names = "images", "patches", "rank", "different kernels", "zeros", "columns found", "true"
    table = Table(*names)
    for images in args.images:
        for seed in range(args.seeds):
            first, patches = trained(args.data, images, args.kernels, args.size, args.stride, seed)
            layer, clear = layer_of(first)
            found = columns_of(layer, args.rounds, child(seed, "starts"))
            y = patches @ layer.right.T
            columns = F.normalize(torch.linalg.lstsq(y.T, torch.diag(layer.values)).solution, dim=1)
            zeros = layer.zeros(columns).median()
            rank = f"{len(layer.values)}{'' if clear else '?'}"
            counts = len(found), near(columns, found, SAME)
            cells = images, len(columns), rank, layer.directions, f"{zeros:.2f}", *counts
            table.add_row(*map(str, cells))
            print(*cells, flush=True)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
