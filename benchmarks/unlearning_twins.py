"""One retained sample resembles the forgotten one: does the flag of harm agree with retraining?

    python benchmarks/unlearning_twins.py                        28 cases, two kinds of networks: about a minute
    python benchmarks/unlearning_twins.py --seeds 11 12 13

Eight Gaussian samples in 150 dimensions, the third at a given cosine to the first, which is forgotten. Retraining says
harm where the untouched network is nearer to the retrained one, by the angle of all weights or by the relative margins
of all samples; the flag does not see the retrained network. "resolve" keeps what the twin holds.
"""

import argparse

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import vestige as vg
from vestige.unlearning.measures import is_farther, one_minus_cosine

COSINES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.97, 0.999)
SIZES = {"linear": [150, 1], "two layers": [150, 40, 1]}


def problem(kind: str, cosine: float, seed: int) -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    """The network of all eight samples, the one retrained without the first, and the samples."""
    x = torch.randn(8, 150, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / 150**0.5
    x[2] = cosine * x[0] + (1 - cosine**2) ** 0.5 * x[2]
    y = torch.arange(8) % 2
    draw = torch.Generator().manual_seed(seed)
    start = vg.nets.mlp(SIZES[kind], bias="none", first_init=1e-4, generator=draw, dtype=torch.float64)
    whole, rest = (
        vg.train_to_margin(start, a, b, loss="logistic", tol_loss=1e-11).model for a, b in ((x, y), (x[1:], y[1:]))
    )
    return whole, rest, x, y


def row(kind: str, cosine: float, seed: int) -> list[str]:
    model, retrained, x, y = problem(kind, cosine, seed)
    kept, layers = torch.arange(1, 8), [name for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    terms, resolved = (vg.unlearn(model, x, y, [0], loss="logistic", step=step) for step in ("clarke", "resolve"))
    cosines = [1 - one_minus_cosine(net, retrained, layers) for net in (model, terms.model, resolved.model)]
    cells = [f"{value:.4f}" for value in cosines]
    for found in (terms, resolved):
        harm = is_farther(found.model, model, retrained, x, y, kept, layers)
        assert found.certificate is not None
        cells += [str(harm), str(found.certificate.harmful), "yes" if found.certificate.provable else "no"]
        cells.append("agree" if harm == found.certificate.harmful else "DIFFER")
    return [kind, str(cosine), str(seed), f"{terms.shared:.2f}", *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cosines", type=float, nargs="+", default=COSINES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title="cosine to the retrained network; harm by retraining and by the flag")
    names = ("kind", "twin at", "seed", "shared", "untouched", "terms", "resolve")
    for column in (*names, *("harm", "flag", "provable", "") * 2):
        table.add_column(column)
    rows = [row(kind, c, seed) for kind in SIZES for c in options.cosines for seed in options.seeds]
    for cells in rows:
        table.add_row(*cells)
    console = Console(width=170)
    console.print(table)
    for name, column in (("terms", -5), ("resolve", -1)):
        agree = sum(cells[column] == "agree" for cells in rows)
        console.print(f"{name}: the flag agrees with retraining in {agree} of {len(rows)} cases")


if __name__ == "__main__":
    main()
