"""RedEx beside kernels, recursive feature machines and a trained network on a hidden parity; solvers against dimension.

    python benchmarks/redex.py separation --dimension 24
    python benchmarks/redex.py solvers --dimensions 10 20 40 80 --figure docs/figures
    python benchmarks/redex.py large --dimension 200

Times are CPU seconds of one thread.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_ridge import KernelRidge
from sklearn.neural_network import MLPRegressor

import vestige as vg
from vestige.convex.redex.problem import Problem
from vestige.convex.redex.program import solve_program
from vestige.convex.redex.proximal import solve_proximal
from vestige.convex.redex.splitting import solve_splitting
from vestige.report import figures
from vestige.report.document import save_figure

Array = NDArray[np.float64]
PARTS = ("separation", "solvers", "large")


def recursive_feature_machine(x: Array, y: Array, new: Array, *, rounds: int = 5, ridge: float = 1e-3) -> Array:
    """Kernel ridge with exp(-|M^1/2 (x - z)| / L), M the mean outer product of its own gradients, again and again."""
    m, width = np.eye(x.shape[1]), np.sqrt(x.shape[1]) * 2

    def distances(a: Array, b: Array) -> Array:
        squares = (a @ m * a).sum(1)[:, None] + (b @ m * b).sum(1) - 2 * a @ m @ b.T
        return np.sqrt(np.maximum(squares, 0))

    weights = np.zeros(len(x))
    for step in range(rounds):
        far = distances(x, x)
        kernel = np.exp(-far / width)
        weights = np.linalg.solve(kernel + ridge * np.eye(len(x)), y)
        if step == rounds - 1:
            break
        slope = -weights * kernel / (width * np.maximum(far, 1e-9))  # (at, of): times M (x_at - x_of)
        slope[far < 1e-9] = 0
        gradient = (slope.sum(1)[:, None] * x - slope @ x) @ m
        m = gradient.T @ gradient / len(x)
        m *= x.shape[1] / np.trace(m)
    return np.exp(-distances(new, x) / width) @ weights


def separation(dimension: int, k: int, n: int, seeds: int) -> None:
    """Share of fresh samples whose parity is right."""
    for seed in range(seeds):
        draw = torch.Generator().manual_seed(seed)
        x, y, _ = (t.numpy() for t in vg.convex.parity_staircase(n, dimension=dimension, k=k, generator=draw))
        new, wanted, _ = (
            t.numpy() for t in vg.convex.parity_staircase(n + 1, dimension=dimension, k=k, generator=draw)
        )
        layers = int(np.ceil(np.log2(k)))
        redex = vg.convex.RedExRegressor(layers, ridge=2e-3, fresh_split=True, solver="splitting", gap=0.05)
        network = MLPRegressor(
            hidden_layer_sizes=(256, 256), learning_rate_init=1e-3, max_iter=300, random_state=seed, early_stopping=True
        )
        methods: dict[str, Callable[[], Array]] = {
            "RedEx": lambda f=redex, x=x, y=y, new=new: f.fit(x, y).predict(new)[:, -1],
            "polynomial kernel": lambda x=x, y=y, new=new: (
                KernelRidge(kernel="poly", degree=k, alpha=1e-3).fit(x, y[:, -1]).predict(new)
            ),
            "RBF kernel": lambda x=x, y=y, new=new: KernelRidge(kernel="rbf", alpha=1e-3).fit(x, y[:, -1]).predict(new),
            "recursive features": lambda x=x, y=y, new=new: recursive_feature_machine(x, y[:, -1], new),
            "network, all targets": lambda f=network, x=x, y=y, new=new: f.fit(x, y).predict(new)[:, -1],
        }
        for name, predict in methods.items():
            begun = time.process_time()
            right = float((np.sign(predict()) == np.sign(wanted[:, -1])).mean())
            print(
                f"d = {dimension}, seed {seed}: {name:22} {right:6.1%}, {time.process_time() - begun:.1f} s", flush=True
            )


def problem(dimension: int, outputs: int, n: int) -> Problem:
    """Products of few coordinates with noise: the optimum has low rank."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 1, dimension))
    y = np.stack([x[:, 0, o] * x[:, 0, o + 1] for o in range(outputs)], 1) + 0.1 * rng.normal(size=(n, outputs))
    return Problem(x, y, 0.2, 0.01)


def solvers(dimensions: list[int], outputs: int, folder: Path | None) -> None:
    """Seconds and certified gaps."""
    took: dict[str, list[float]] = {"program": [], "proximal": [], "splitting": []}
    for dimension in dimensions:
        for name, solve, k in (
            ("program", solve_program, outputs),
            ("proximal", solve_proximal, 1),
            ("splitting", solve_splitting, outputs),
        ):
            given, begun = problem(dimension, k, 10 * dimension), time.process_time()
            try:
                found = solve(given)
            except ValueError as error:
                took[name].append(float("nan"))
                print(f"d = {dimension}: {name} refuses: {error}", flush=True)
                continue
            took[name].append(time.process_time() - begun)
            print(
                f"d = {dimension}, {k} outputs: {name:8} {took[name][-1]:.2f} s, "
                f"objective {found.objective:.6g}, gap {found.gap:.1e}",
                flush=True,
            )
    if folder is not None:
        image = figures.curves(dimensions, took, xlabel="dimension", ylabel="CPU seconds", logarithmic=True)
        save_figure(folder / "redex-solvers.svg", image, title="CPU time of the three solvers")


def large(dimension: int, outputs: int) -> None:
    """Is the optimum of the program reached where the program itself is too large?"""
    begun = time.process_time()
    found = solve_splitting(problem(dimension, outputs, 5 * dimension), gap=1e-3)
    rank = np.linalg.matrix_rank(found.r, tol=1e-6)
    print(
        f"d = {dimension}, {outputs} outputs: objective {found.objective:.6g}, "
        f"proved bound {found.bound:.6g}, gap {found.gap:.1e}, rank {rank}, {time.process_time() - begun:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--dimension", type=int, default=24)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[10, 20, 40, 80])
    parser.add_argument("--outputs", type=int, default=2)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--figure", type=Path, help="folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)  # gaps are printed
    match options.part:
        case "separation":
            separation(options.dimension, options.k, options.n, options.seeds)
        case "solvers":
            solvers(options.dimensions, options.outputs, options.figure)
        case "large":
            large(options.dimension, options.outputs)


if __name__ == "__main__":
    main()
