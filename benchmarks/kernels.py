"""Training points of kernel machines by queries: ours against the published descent, on the same models in one run.

    python benchmarks/kernels.py --quick
    python benchmarks/kernels.py --data npz:cifar10.npz --model ridge svm density process --n 100 --seeds 5
    python benchmarks/kernels.py --data npz:cifar10.npz --model ridge --n 500 --gamma 0.003 --published-steps 0
    python benchmarks/kernels.py --data npz:cifar10.npz --decimals 12 10 8 6 4 --out docs/figures/kernels.svg
    python benchmarks/kernels.py --data npz:cifar10.npz --n 50 --side 16 --within 10 5 3 2 1

Models are scikit-learn's; the attack calls their scores and nothing else. Inputs are standardized per channel with
statistics of images that no model saw. Printed are training points recovered to a relative error of .05 of their
distance from the mean, of as many held-out images offered in their place, and from a model of other images (nulls);
the single inputs that were asked about; CPU seconds, the model's own included. A support vector machine holds its
support vectors only, and those are what counts. With --within the model answers NaN outside a ball around the mean,
whose radius is given in units of its furthest point; the attack knows the radius.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge
from sklearn.neighbors import KernelDensity
from sklearn.svm import SVC
from torch import Tensor

import vestige as vg
from vestige.core.rng import child
from vestige.report.document import save_figure
from vestige.report.figures import curves

MODELS = ("ridge", "svm", "density", "process")


def images(spec: str, side: int | None) -> tuple[Tensor, Tensor]:
    """Images as vectors, standardized per channel, and labels."""
    data = vg.load_data(spec)
    x = data.x.double()
    if side is not None and side != x.shape[-1]:
        x = F.interpolate(x, size=(side, side), mode="area")
    mean, std = x[-1000:].mean((0, 2, 3), keepdim=True), x[-1000:].std((0, 2, 3), keepdim=True)
    return ((x - mean) / std).flatten(1), data.y


def trained(
    kind: str, x: Tensor, y: Tensor, gamma: float, classes: int, fast: bool
) -> tuple[Callable[[Any], Any], str, Tensor]:
    """Scores of a model fitted to these points, what they are, and the points that it holds."""
    inputs, target = x.numpy(), np.eye(classes)[y.numpy()] - 1 / classes
    width = (2 * gamma) ** -0.5
    if kind == "ridge":
        return KernelRidge(alpha=1e-3, kernel="rbf", gamma=gamma).fit(inputs, target).predict, "raw", x
    if kind == "svm":
        model = SVC(C=10, gamma=gamma).fit(inputs, y.numpy())
        points = torch.as_tensor(model.support_vectors_)
        if fast:
            with tempfile.TemporaryDirectory() as folder:
                vg.kernels.save_kernel_model(model, Path(folder) / "svm.safetensors")
                return vg.kernels.load_kernel_model(Path(folder) / "svm.safetensors").predict, "raw", points
        return model.decision_function, "votes" if classes > 2 else "raw", points
    if kind == "density":
        return KernelDensity(bandwidth=width).fit(inputs).score_samples, "log", x
    process = GaussianProcessRegressor(RBF(width, "fixed"), alpha=1e-2, normalize_y=True)
    return process.fit(inputs, y.numpy().astype(float)).predict, "raw", x


def rounded(predict: Callable[[Any], Any], decimals: int | None) -> Callable[[Any], Any]:
    """The same scores with so many decimals."""
    return predict if decimals is None else lambda z: np.round(predict(z), decimals)


def restricted(predict: Callable[[Any], Any], radius: float) -> Callable[[Any], Any]:
    """The same scores, refused to inputs further from zero than this."""

    def answer(z: Any) -> Any:
        scores = np.asarray(predict(z)).copy()
        scores[np.linalg.norm(z, axis=1) > radius] = np.nan
        return scores

    return answer


def measure(attack: Callable[[], vg.kernels.QueryReconstruction], own: Tensor, others: Tensor) -> dict[str, float]:
    """One attack against its truth, in numbers."""
    begun = time.process_time()
    found = attack()
    seconds = time.process_time() - begun
    finite = torch.isfinite(found.points).all(1)
    score = vg.kernels.score_points(found.points[finite], own, held_out=others[: max(1, len(own))])
    return {
        "points": len(own), "recovered": score.n_recovered, "share": score.n_recovered / len(own),
        "median error": float(score.error.median()), "validated": int(found.validated.sum()), "shown": found.rank,
        "best null": max(null.n_recovered for null in score.nulls), "queries": found.queries, "CPU s": seconds,
    }  # fmt: skip


def run(args: argparse.Namespace, kind: str, seed: int, x: Tensor, y: Tensor) -> dict[str, dict[str, float]]:
    """Every attack on one model."""
    order = torch.randperm(len(x), generator=child(seed, "draw"))
    own, more, pool = order[: args.n], order[args.n : 2 * args.n], order[2 * args.n :]
    gamma = args.gamma or 1 / x.shape[1]
    classes = int(y.max()) + 1
    predict, scores, points = trained(kind, x[own], y[own], gamma, classes, args.fast)
    other, *_ = trained(kind, x[more], y[more], gamma, classes, args.fast)
    known = {"input_shape": x.shape[1:], "scores": scores, "generator": child(seed, "attack")}
    kernel, rows = vg.kernels.Gaussian(gamma), {}
    if args.within:
        furthest = float(x[own].norm(dim=1).max())
        for radii in args.within:
            reach = radii * furthest
            seen, how = restricted(predict, reach), known | {"reach": reach}
            rows[f"ours, within {radii:g} radii"] = measure(
                lambda seen=seen, how=how: vg.reconstruct_from_queries(seen, kernel, **how), points, x[pool]
            )
        return rows
    for decimals in args.decimals or [None]:
        name = "ours" if decimals is None else f"ours, {decimals} decimals"
        seen = rounded(predict, decimals)
        rows[name] = measure(lambda seen=seen: vg.reconstruct_from_queries(seen, kernel, **known), points, x[pool])
    if args.decimals:
        return rows
    if args.unknown:
        rows["ours, gamma unknown"] = measure(
            lambda: vg.reconstruct_from_queries(predict, "rbf", **known), points, x[pool]
        )
    if args.null:
        rows["ours on a model of other images"] = measure(
            lambda: vg.reconstruct_from_queries(other, kernel, **known), points, x[pool]
        )
    if args.published_steps:
        rows[f"published, {args.published_steps:,} steps"] = measure(
            lambda: vg.reconstruct_from_queries(
                predict, kernel, solver="published", n=len(points), pool=x[pool], steps=args.published_steps, **known
            ),
            points,
            x[pool],
        )
    return rows


def draw_defence(rows: dict[str, dict[str, list[dict[str, float]]]], out: Path) -> None:
    """Share recovered against decimals, one line a model."""
    shares = {
        kind: [statistics.median(row["share"] for row in found) for found in named.values()]
        for kind, named in rows.items()
    }
    decimals = [float(name.split()[1]) for name in next(iter(rows.values()))]
    image = curves(decimals, shares, xlabel="decimals of the scores", ylabel="share of points recovered")
    save_figure(out, image, title="Rounded scores defend below six decimals")


def main() -> None:
    """Print medians over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--model", nargs="+", choices=MODELS, default=["ridge"])
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--side", type=int, help="images are reduced to it")
    parser.add_argument("--gamma", type=float, help="default: 1 / d")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--published-steps", type=int, default=2000)
    parser.add_argument("--fast", action="store_true", help="ask an SVC through vestige's file: libsvm is slow")
    parser.add_argument("--unknown", action="store_true", help="also with gamma unknown")
    parser.add_argument("--null", action="store_true", help="also on a model of other images")
    parser.add_argument("--decimals", type=int, nargs="+", help="only ours, on scores with so many decimals")
    parser.add_argument("--within", type=float, nargs="+", help="only ours, refused outside so many data radii")
    parser.add_argument("--out", type=Path, help="figure of share against decimals")
    parser.add_argument("--quick", action="store_true", help="20 digits, 2,000 steps")
    args = parser.parse_args()
    if args.quick:
        args.n, args.seeds, args.unknown, args.null = 20, 1, True, True
    torch.set_num_threads(1)
    x, y = images(args.data, args.side)
    rows: dict[str, dict[str, list[dict[str, float]]]] = {}
    for kind in args.model:
        for seed in range(args.seeds):
            for name, found in run(args, kind, seed, x, y).items():
                rows.setdefault(kind, {}).setdefault(name, []).append(found)
                print(f"{kind}, seed {seed}, {name}: {found}", flush=True)
    first = next(iter(next(iter(rows.values())).values()))[0]
    table = Table(
        "model", "method", *first, title=f"{args.data}, n={args.n}, d={x.shape[1]}, {args.seeds} seeds, medians"
    )
    for kind, named in rows.items():
        for name, found in named.items():
            cells = [statistics.median(row[column] for row in found) for column in first]
            table.add_row(kind, name, *(f"{c:,.0f}" if c >= 100 else f"{c:.3g}" for c in cells))
    Console(width=170).print(f"one thread, torch {torch.__version__}")
    Console(width=170).print(table)
    if args.out is not None and args.decimals:
        draw_defence(rows, args.out)


if __name__ == "__main__":
    main()
