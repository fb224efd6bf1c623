"""The figures of two papers at the scale of a laptop, with the numbers behind them.

    python benchmarks/theory_figures.py --out docs/figures

arXiv 2202.04347: common radius of a trained network against d with n = sqrt(d), beside the certified radius of the
constructed one. arXiv 2303.00783: radius off the data's span against the size of the start; and the boundaries around
points on a diagonal, from a usual and from a small start.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import vestige as vg
from vestige.core.rng import child
from vestige.report.document import save_figure
from vestige.report.figures import curves
from vestige.report.style import BLUE, ORANGE, as_svg, label, panels

SIZES = ((50, 7), (100, 10), (200, 14), (400, 20), (900, 30), (1600, 40))
FIXED_D = ((400, 4), (400, 10), (400, 40))
SCALES = (1.0, 0.3, 0.1, 0.03, 0.01)


def margins(out: Path, seeds: int, most: int) -> None:
    """c and the constructed radius against d, means over seeds."""
    rows = {"trained": [], "sqrt(d / n)": [], "constructed": []}
    for d, n in dict.fromkeys((*SIZES[:most], *FIXED_D[:most])):
        gaps = [
            vg.papers.sphere_robustness_gap(((d, n),), generator=child(seed, "margins"))[0] for seed in range(seeds)
        ]
        trained = sum(gap.trained.radius for gap in gaps) / seeds
        built = sum(gap.constructed.numbers["eps"] for gap in gaps) / seeds
        residual = max(gap.trained.kkt_residual or math.nan for gap in gaps)
        flips = sum(gap.trained.null_flips for gap in gaps)
        print(
            f"d = {d}, n = {n}: c = {trained:.2f}, c / sqrt(d) = {trained / math.sqrt(d):.3f}, c sqrt(n / d) = "
            f"{trained * math.sqrt(n / d):.2f}, constructed / sqrt(d) = {built / math.sqrt(d):.2f}, "
            f"random flips {flips}, KKT residual at most {residual:.4f}",
            flush=True,
        )
        if (d, n) in SIZES[:most]:
            for name, value in zip(rows, (trained, math.sqrt(d / n), built), strict=True):
                rows[name].append(value)
    drawn = curves(
        [float(d) for d, _ in SIZES[:most]], rows, xlabel="d, with n = sqrt(d)", ylabel="l2 radius", logarithmic=True
    )
    save_figure(out / "margin-radius.svg", drawn, title="Robust radius on the sphere of radius sqrt(d)")


def off_span(out: Path, most: int) -> None:
    """Median radius off the span against beta, d = 200 and l = 100."""
    draw = child(0, "subspace")
    basis = torch.linalg.qr(torch.randn((200, 100), generator=draw, dtype=torch.float64))[0]
    x = torch.randn((30, 100), generator=draw, dtype=torch.float64) @ basis.T
    x, y = x * math.sqrt(200) / x.norm(dim=1, keepdim=True), torch.arange(30) % 2
    options = {"schedule": "constant", "learning_rate": 0.1, "steps": 100, "span": False, "tol_loss": 1e-12}
    rows: dict[str, list[float]] = {"measured": [], "first order": []}
    for beta in SCALES[:most]:
        start = vg.nets.fixed_output_mlp(200, 400, init_scale=beta, generator=child(1, "net"), dtype=torch.float64)
        net = vg.train_to_margin(start, x, y, **options).model
        found = vg.attack.off_subspace_robustness(net, x, span=vg.attack.data_span(x, basis=basis))
        assert found.predicted_gradient is not None
        rows["measured"].append(float(found.radius.median()))
        rows["first order"].append(float(found.linear_radius.median()))
        print(
            f"beta = {beta}: radius {rows['measured'][-1]:.2f}, first order {rows['first order'][-1]:.2f}, |x| = "
            f"{math.sqrt(200):.1f}, gradient / predicted {(found.off_gradient / found.predicted_gradient).mean():.3f}, "
            f"random flips {found.null_flips} of {found.null_trials}",
            flush=True,
        )
    drawn = curves(
        SCALES[:most], rows, xlabel="size of the start, beta", ylabel="radius off the span", logarithmic=True
    )
    save_figure(out / "off-span-radius.svg", drawn, title="A smaller start is more robust off the data's span")


def fitted(x: Tensor, y: Tensor, beta: float, *, margin: float, rate: float, steps: int) -> tuple[nn.Module, int]:
    """Trained until every margin is reached, or the steps are spent."""
    net = vg.nets.fixed_output_mlp(x.shape[1], 400, init_scale=beta, generator=child(0, "net"), dtype=torch.float64)
    options = {"schedule": "constant", "learning_rate": rate, "span": False, "tol_loss": 1e-12}
    for done in range(0, steps, 1000):
        net = vg.train_to_margin(net, x, y, **options, steps=1000).model
        if bool(((2 * y - 1) * net(x)[:, 0] >= margin).all()):
            return net, done + 1000
    return net, steps


def diagonal(out: Path, steps: int) -> None:
    """Boundaries in the plane around seven points on its diagonal."""
    t = torch.linspace(-1, 1, 7, dtype=torch.float64)
    x, y = torch.stack([t, t, torch.ones_like(t)], 1), torch.arange(7) % 2
    side = torch.linspace(-1.5, 1.5, 300, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    figure, drawn = panels(2, columns=2, size=(6.4, 3.3))
    for axes, beta in zip(drawn, (1.0, 0.1), strict=True):
        net, done = fitted(x, y, beta * math.sqrt(1.5), margin=0.3, rate=0.5, steps=steps)
        found = vg.attack.off_subspace_robustness(net, x)
        print(
            f"diagonal, beta = {beta}: {done} steps, median radius {float(found.radius[1:-1].median()):.2f}",
            flush=True,
        )
        with torch.no_grad():
            z = net(torch.cat([grid, torch.ones(len(grid), 1, dtype=grid.dtype)], 1)).reshape(300, 300).T
        axes.contourf(side, side, z, levels=[-1e9, 0, 1e9], colors=[ORANGE, BLUE], alpha=0.3)
        axes.scatter(t, t, c=[(ORANGE, BLUE)[int(k)] for k in y], edgecolor="black", zorder=3)
        label(axes, f"first coordinate; start of size {beta:g}", "second coordinate")
        axes.set_aspect("equal")
    title = "Boundaries around seven points: a smaller start cuts across"
    save_figure(out / "diagonal.svg", as_svg(figure, "diagonal"), title=title)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="two points of each curve, one seed, 1,000 steps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()
    seeds, most, steps = (1, 2, 1000) if options.quick else (options.seeds, len(SIZES), 60_000)
    margins(options.out, seeds, most)
    off_span(options.out, most)
    diagonal(options.out, steps)
    print(f"{time.process_time() - begun:.0f} CPU s")


if __name__ == "__main__":
    main()
