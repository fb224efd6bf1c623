"""How far columns by zeros go where the first layer is a convolution: an experiment, on few digits.

    python benchmarks/patches.py                        digits, 6x6 kernels with stride 2: 4 patches an image
    python benchmarks/patches.py --images 8 --seeds 1

The kernels of a strided convolution see patches, and training with weight decay leaves them as one sum over all patches
of all images, [W b] = sum_ip s_ip [x_ip 1]^T: each patch has a column of its own, which is zero at the kernels that the
patch leaves off. So patches can be found as samples of an MLP are, if there are fewer of them than a patch has pixels
and far fewer than kernels. A row of the table is one network: patches that differ and can be told apart, columns found
and how many are a patch's, patches whose cosine to the truth is above 0.9, and those with the true columns given.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
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
from vestige.reconstruct.weights.zeros.samples import inputs_of
from vestige.reconstruct.weights.zeros.solver import PARTED, SPARSE
from vestige.reconstruct.weights.zeros.span import independent, span_of_others
from vestige.reconstruct.weights.zeros.sparse import trimmed_columns

STARTS = 100  # of a round
SAME = 0.95  # cosine from which a column is a patch's
NEAR = 0.9  # cosine from which a patch is recovered


@dataclass(frozen=True)
class Truth:
    """A trained convolution; the patches that it saw, 1 appended; and their columns, by equation (1)."""

    first: nn.Conv2d
    patches: Float[Tensor, "m d1"]
    columns: Float[Tensor, "m h"]


def trained(data: str, images: int, kernels: int, size: int, stride: int, seed: int) -> Truth:
    """A network of one convolution and one linear layer, trained to the end."""
    chosen, _ = sample(vg.load_data(data), images, generator=child(seed, "data"))
    x, _ = vg.data.center(chosen)
    x = x.double()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = nn.Conv2d(x.shape[1], kernels, size, stride).double()
        last = nn.Linear(first(x)[0].numel(), 10).double()
        with torch.no_grad():
            first.weight.mul_(1e-3 / first.weight.std())
            first.bias.zero_()
    start = nn.Sequential(first, nn.ReLU(), nn.Flatten(), last)
    options = {"loss": "cross_entropy", "weight_decay": 1e-3}
    model = vg.train_to_margin(start, x, chosen.y, **options).model
    cotangent = vg.stationarity(model, x, chosen.y, **options).cotangent.double()
    opened = (model[0](x) > 0).double().flatten(2)
    back = torch.einsum("ic,ckp->ikp", cotangent, model[3].weight.unflatten(1, opened.shape[1:]))
    patches = F.unfold(x, size, stride=stride).mT.flatten(0, 1)
    patches = torch.cat([patches, torch.ones_like(patches[:, :1])], 1)
    return Truth(model[0], patches, (opened * back).mT.flatten(0, 1).detach())


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
    parser.add_argument("--images", type=int, nargs="+", default=[2, 4, 8, 12])
    parser.add_argument("--kernels", type=int, default=300)
    parser.add_argument("--size", type=int, default=6)
    parser.add_argument("--stride", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    names = "images", "patches", "rank", "different kernels", "columns found", "true", "patches > .9"
    table = Table(*names)
    for images in args.images:
        for seed in range(args.seeds):
            truth = trained(args.data, images, args.kernels, args.size, args.stride, seed)
            layer, clear = layer_of(truth.first)
            found = columns_of(layer, args.rounds, child(seed, "starts"))
            y = truth.patches @ layer.right.T
            print(
                "smallest sv of patches",
                torch.linalg.svdvals(y)[[0, -1]].tolist(),
                "sv",
                layer.values[[0, -1]].tolist(),
                "clear",
                clear,
                y.shape,
            )
            columns = F.normalize(torch.linalg.lstsq(y.T, torch.diag(layer.values)).solution, dim=1)
            print(
                "zeros",
                [round(q, 2) for q in layer.zeros(columns).sort().values.tolist()],
                "off",
                ((y @ layer.slopes.T) < 0).double().mean(1)[:9].tolist(),
            )
            print(
                "parted", [round(q, 2) for q in separable(layer, layer.vanishes(columns)).sort().values.tolist()[::3]]
            )
            rank = f"{len(layer.values)}{'' if clear else '?'}"
            inputs = inputs_of(layer, found)
            cells = images, len(columns), rank, layer.directions, len(found), near(columns, found, SAME)
            table.add_row(*map(str, (*cells, near(truth.patches @ layer.right.T, inputs, NEAR))))
            print(*cells, flush=True)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
