"""Which separating functions are learned: gradient descent on fresh samples, beside what shows at the start.

    python benchmarks/separation.py --out docs/figures --seeds 3
    python benchmarks/separation.py --only reports

Times are CPU seconds of one thread.
"""

import argparse
import time
from pathlib import Path

import torch

import vestige as vg
from vestige.core.rng import child
from vestige.report.document import save_figure
from vestige.report.style import BLUE, GRAY, as_svg, label, legend, panels

TEETH, BITS, DIMENSIONS = (1, 2, 3, 4, 5, 6, 7, 8), (4, 8, 12, 16, 20, 24, 28), (2, 5, 10, 15, 20, 25, 30)
PARTS = ("learning", "reports")


def run(target: vg.construct.SeparatedTarget, hidden: list[int], seed: int, steps: int) -> float:
    """Relative loss of one training run of so many batches."""
    net = vg.nets.mlp([target.dimension, *hidden, 1], bias="all", dtype=torch.float32, generator=child(seed, "start"))
    return vg.construct.learning_run(target, net, steps=steps, generator=child(seed, "samples")).relative_loss


def learning(out: Path, seeds: int, steps: int) -> None:
    """Loss relative to the best constant: teeth by networks of their own depth, the rest by two hidden layers."""
    families = (
        ("teeth: depth k", TEETH, vg.construct.sawtooth_target, lambda k: [32] * k),
        ("parity of half of n bits", BITS, lambda n: vg.construct.parity_target(n, range(n // 2)), lambda n: [64, 64]),
        ("ball in d dimensions", DIMENSIONS, vg.construct.ball_indicator_target, lambda d: [64, 64]),
    )
    figure, drawn = panels(len(families), columns=3, size=(6.6, 2.6))
    for axes, (name, sizes, make, hidden) in zip(drawn, families, strict=True):
        losses = []
        for size in sizes:
            target = make(size)
            losses.append([run(target, hidden(size), seed, steps) for seed in range(seeds)])
            found = ", ".join(f"{loss:.3g}" for loss in losses[-1])
            written = ""
            if target.network is not None:
                x, y = target.sample(4096)
                error = float((target.network(x)[:, 0] - y).square().mean() / y.var())
                written = f"; weights written down {error:.1g}"
            print(f"{target.name}: relative loss {found}{written}", flush=True)
        middle = [sorted(row)[len(row) // 2] for row in losses]
        axes.plot(sizes, middle, marker="o", markersize=4, color=BLUE, linewidth=1.6, label=f"median of {seeds}")
        each = [(size, loss) for size, row in zip(sizes, losses, strict=True) for loss in row]
        axes.scatter(*zip(*each, strict=True), s=10, color=GRAY, zorder=3, label="one seed")
        label(axes, name, "" if axes.get_subplotspec().colspan.start else "loss / loss of a constant")
        axes.set_ylim(-0.03, 1.1)
    legend(drawn[-1], crowded=False)
    save_figure(out / "separation.svg", as_svg(figure, "separation"), title="Loss of trained networks, by size")


def reports() -> None:
    """What shows of each target before training."""
    targets = (
        *(vg.construct.sawtooth_target(k) for k in (1, 2, 4, 6, 8)),
        vg.construct.square_wave_target(6),
        *(vg.construct.parity_target(n) for n in (6, 12, 20)),
        vg.construct.parity_target(20, range(10)),
        vg.construct.parity_target(20, range(2)),
        vg.construct.staircase_target(20, 5),
        vg.construct.inner_product_target(4),
        vg.construct.inner_product_target(4, frequency=1),
        vg.construct.ball_indicator_target(10),
        vg.construct.ball_indicator_target(30),
        vg.construct.single_neuron_target(10),
    )
    for target in targets:
        begun = time.process_time()
        found = vg.construct.weak_learnability_report(target)
        print(
            f"{target.name}: signal {found.gradient_signal:.1e}, floor {found.noise_floor:.1e}, samples "
            f"{found.samples_needed:.1g}, kernel {found.kernel.correlation:.2f} +- {found.kernel.standard_error:.2f}, "
            f"trained shallow {found.shallow_advantage:.2f}: {found.verdict}; {time.process_time() - begun:.1f} CPU s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3000, help="batches of a training run")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()
    if "learning" in options.only:
        learning(options.out, options.seeds, options.steps)
    if "reports" in options.only:
        reports()
    print(f"{time.process_time() - begun:.0f} CPU s")


if __name__ == "__main__":
    main()
