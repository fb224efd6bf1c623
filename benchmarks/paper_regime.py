"""What is left of the training samples in the regime of arXiv 2206.07758, and which starts find their columns.

    python benchmarks/paper_regime.py --data npz:cifar10.npz               minutes on one core
    python benchmarks/paper_regime.py --data npz:cifar10.npz --search      the joint search's candidates as starts too

Two classes, D-1000-1000-1, a first layer drawn with 1e-4, no weight decay. The first layer is one column a sample plus
the noise that it was drawn with. Printed are how many directions stand out of that noise; how many samples lie in their
span but for a cosine of 0.9 (more cannot come back from it); how large a true column is where its sample leaves neurons
off, over its mean: without decay what was sent back before a neuron closed stays; what the true samples with their best
multipliers leave open of the first layer's square; how near the true column of another sample is; and how many samples
come back where all true columns and gates are told.

Then, for each kind of start, columns by trimming (`zeros.sparse`): true ones found (cosine above 0.9), and of the
vectors that three starts or more agree on, how many there are and how many are true. Starts are noise with the spectrum
of photographs, directions drawn where all singular values are one, or candidates.
"""

import argparse
import time

import torch
import torch.nn.functional as F
from reconstruct import PRESETS, Offered, model_and_data
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import vestige as vg
from vestige.core.relu_chain import first_linear
from vestige.core.rng import child
from vestige.reconstruct.image_prior import image_metric
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.joint import gradient_sums, layer_weights, search
from vestige.reconstruct.weights.two_layer.columns import apart
from vestige.reconstruct.weights.zeros.layer import FirstLayer, first_layer
from vestige.reconstruct.weights.zeros.samples import likely_samples
from vestige.reconstruct.weights.zeros.sparse import trimmed_columns

BATCH = 250  # starts at once
SHARPNESS = 100.0  # of gates at the end of a joint search
TRUE, AGREE, TIMES = 0.9, 0.95, 3


def candidates_of(chain: Chain, sample_norm: float, metric: Tensor, seed: int) -> Tensor:
    """One joint search."""
    single = {name: tuple(w.float() for w in getattr(chain, name)) for name in ("weights", "biases")}
    single |= {f"target_{name}": parts for name, parts in single.items()}
    chain = Chain(**{**vars(chain), **single, "basis": chain.basis.float()})
    joint = search(
        chain,
        candidates=2 * chain.rank,
        restarts=1,
        steps=1500,
        sample_norm=sample_norm,
        layer_weights=layer_weights(chain, None),
        zero_sum=False,
        metric=metric.float(),
        generator=child(seed, "search"),
    )
    return joint.z.flatten(0, 1).double()


def starts_of(kind: str, count: int, chain: Chain, layer: FirstLayer, norm: float, metric: Tensor, seed: int) -> Tensor:
    """Pre-activations over the norm of their neuron."""
    draw = child(seed, "starts", kind)
    if kind == "whitened":
        return torch.randn(count, len(layer.values), generator=draw, dtype=torch.float64) @ layer.columns.T
    if kind == "photographs":
        v = torch.randn(count, chain.basis.shape[1], generator=draw, dtype=torch.float64)
        z = norm * (v @ metric.double())
    else:
        z = candidates_of(chain, norm, metric, seed)
    return chain.augmented(z) @ layer.right.T @ layer.slopes.T / layer.slopes.norm(dim=1)


def columns_of_samples(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Columns of all of [W b], one a sample, and pre-activations."""
    found = first_linear(model)
    assert found is not None
    augmented = torch.cat([found[1].weight, found[1].bias[:, None]], 1).detach().double()
    x1 = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    return (augmented @ torch.linalg.pinv(x1)).T, x1 @ augmented.T


def true_columns(layer: FirstLayer, s: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Columns in coordinates of the layer; and |s| over its mean where the sample is off."""
    size = s.abs() / s.abs().mean(1, keepdim=True)
    return F.normalize(s[:, layer.alive] @ layer.columns, dim=1), size[u < 0]


def told_all(chain: Chain, layer: FirstLayer, columns: Tensor, gates: Tensor, norm: float, metric: Tensor) -> Tensor:
    """The samples to expect where all true columns and gates are known."""
    z, _ = likely_samples(chain, layer, columns, norm, metric, gates=gates[:, layer.alive])
    return (z @ chain.basis.T).float()


def left_open(chain: Chain, x: Tensor) -> float:
    """Share of the square of [W b] for the true samples with multipliers that fit best; gates as a search ends."""
    each = (x @ chain.basis)[:, None]
    weight, bias = gradient_sums(chain, each, torch.ones(len(x), 1, 1).to(x), SHARPNESS)[0]
    terms = torch.cat([weight, bias[:, :, None]], 2).flatten(1)
    target = chain.first_augmented().flatten()
    multipliers = torch.linalg.lstsq(terms @ terms.T, (terms @ target)[:, None]).solution[:, 0]
    return 1 - float(multipliers @ terms @ target / target.square().sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="npz:cifar10.npz")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--starts", type=int, default=1000)
    parser.add_argument("--search", action="store_true", help="a joint search, and its candidates as starts")
    parser.add_argument("--preset", choices=PRESETS, default="binary-paper")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    preset = PRESETS[args.preset]
    common = preset["depth"], preset["weight_decay"], args.seed, preset["positive"], preset["first_init"]
    model, x, held_out, space = model_and_data(args.data, args.n, args.width, *common)
    chain = span_chain(model, None, torch.float64)
    assert chain is not None
    shape, layer, images, x = tuple(x.shape[1:]), first_layer(chain), x, x.flatten(1).double()
    s, u = columns_of_samples(model, x)
    columns, closed = true_columns(layer, s, u)
    visible = F.cosine_similarity(x, x @ chain.basis @ chain.basis.T) > TRUE
    counts = f"{int(visible.sum())} lie in their span; {layer.directions} different neurons"
    print(f"{chain.rank} of {args.n} samples stand out; {counts}")
    sizes = [float(closed.quantile(q)) for q in (0.5, 0.9)]
    print(f"|s| over its mean where the sample is off: {sizes[0]:.2f} (median), {sizes[1]:.2f} (90 %)", flush=True)
    print(f"left open by the true samples: {left_open(chain, x):.3f} of the first layer's square", flush=True)
    norm, metric = float(x.norm(dim=1).mean()), image_metric(chain.basis, shape)
    nearest = (columns @ columns.T - torch.eye(len(columns))).abs().amax(1).median()
    told = Offered(told_all(chain, layer, columns, u.sign(), norm, metric).reshape(-1, *shape))
    score = vg.score_reconstruction(told, images, held_out=held_out, space=space)
    print(f"cosine of a true column to the nearest other one: {float(nearest):.3f} (median)")
    print(f"with all true columns and gates: {score.n_recovered} recovered, {score.n_ssim} by SSIM", flush=True)
    table = Table("starts", "how many", "true columns", f"found {TIMES} times", "true", "CPU s")
    for kind in ("photographs", "whitened", *["candidates"][: args.search]):
        begun = time.process_time()
        starts = starts_of(kind, args.starts, chain, layer, norm, metric, args.seed)
        c = torch.cat([trimmed_columns(layer, part) for part in starts.split(BATCH)])
        c = c[layer.zeros(c).argsort(descending=True)]
        alike = (c @ c.T).abs()
        kept = apart(alike > TRUE)
        often = kept[(alike[kept] > AGREE).sum(1) >= TIMES]
        match = (c @ columns.T).abs().max(1)
        true = match.values > TRUE
        cells = len(starts), len(match.indices[true].unique()), len(often), int(true[often].sum())
        table.add_row(kind, *map(str, cells), f"{time.process_time() - begun:.0f}")
        print(kind, *cells, flush=True)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
