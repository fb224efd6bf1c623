"""Two classes: what the columns of the training samples obey besides their zeros.

    python benchmarks/class_columns.py --data npz:cifar10.npz                          weight decay, two hidden layers
    python benchmarks/class_columns.py --data npz:cifar10.npz --preset binary-paper    without weight decay
    python benchmarks/class_columns.py --data npz:cifar10.npz --depth 1

A column s_i says what the layers above sent back to each neuron for sample i (`zeros.layer`). Printed are

- *signs*: y_i s_ij is of one sign at each neuron j, whatever the sample; the share of sum |s_ij| that is not;
- *rank* of the layer above, its singular values above 1e-3 of the largest: with V their right singular vectors, gates
  that are open let s_ij = (V l_i)_j through, as the outputs of a two-layer network do;
- *open*: of the open gates of samples with a column of at least .02 of the longest, the share within 2 % of V l_i, by
  least squares; and within 2 % of f_j (V l_i)_j, with one factor for each neuron.
"""

import argparse

import torch
from paper_regime import columns_of_samples
from reconstruct import PRESETS, model_and_data
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vestige.reconstruct.weights.chain import span_chain
from vestige.reconstruct.weights.zeros.layer import first_layer

FAINT, SHORT, CLEAR, WITHIN = 1e-3, 0.02, 0.3, 0.02


def other_signs(s: Tensor, y: Tensor) -> float:
    """Share of the mass of the columns with the sign that is not their neuron's."""
    signed = s * (2.0 * y - 1)[:, None]
    both = torch.stack([signed.clamp(min=0).sum(0), (-signed).clamp(min=0).sum(0)])
    return float(both.amin(0).sum() / s.abs().sum())


def open_gates(weight: Tensor, s: Tensor, u: Tensor) -> tuple[int, float, float]:
    """Rank of the layer above, and the shares of open gates near V l and near f V l."""
    _, size, right = torch.linalg.svd(weight, full_matrices=False)
    rank = int((size > FAINT * size[0]).sum())
    v, opened = right[:rank].T, u > CLEAR
    long = s.norm(dim=1) > SHORT * s.norm(dim=1).max()
    s, opened = s[long], opened[long]
    full = torch.stack(
        [v @ torch.linalg.lstsq(v[o], c[o, None]).solution[:, 0] for c, o in zip(s, opened, strict=True)]
    )
    ratio = torch.where(opened, s / full, torch.nan)
    factor = ratio.nanmedian(0).values
    near, scaled = (float(((r - 1).abs() < WITHIN)[opened].double().mean()) for r in (ratio, ratio / factor))
    return rank, near, scaled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="npz:cifar10.npz")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--depth", type=int, default=2, help="hidden layers")
    parser.add_argument("--preset", choices=PRESETS, default="binary-decay")
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    preset = PRESETS[args.preset]
    table = Table("seed", "told apart", "neurons", "other sign", "rank", "open: near V l", "near f V l")
    for seed in range(args.seeds):
        common = args.depth, preset["weight_decay"], seed, preset["positive"], preset["first_init"]
        model, x, _, _ = model_and_data(args.data, args.n, args.width, *common)
        chain = span_chain(model, None, torch.float64)
        assert chain is not None
        layer = first_layer(chain)
        s, u = (part[:, layer.alive] for part in columns_of_samples(model, x.flatten(1).double()))
        u = u / layer.slopes.norm(dim=1)
        with torch.no_grad():
            y = (model(x)[:, 0] > 0).double()
        rank, near, scaled = open_gates(chain.weights[1][:, layer.alive], s, u / u.abs().median())
        shares = f"{near:.2f}", f"{scaled:.2f}"
        cells = seed, chain.rank, chain.directions, f"{other_signs(s, y):.4f}", rank, *shares
        table.add_row(*map(str, cells))
        print(*cells, flush=True)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
