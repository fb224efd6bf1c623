"""Robust memorization: radius against width, against training, and what it costs.

    python benchmarks/robust.py widths --figure docs/figures/robust-width.svg
    python benchmarks/robust.py needed
    python benchmarks/robust.py trained
    python benchmarks/robust.py sizes

`widths`: largest l_2 radius behind random and optimized projections of Gaussian points, and what the theory promises.
`needed`: the width for a fixed share of the separation, against the number of points. `trained`: digits, beside
networks of the same width that were trained, plainly and against an attack. `sizes`: both layouts, with the time to
build and check them, and to check their file again. Times are CPU seconds.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import vestige as vg
from vestige.construct.memorization.lower_bound import least_enough
from vestige.construct.robust.projection import kept_share, optimized_projection, random_projection
from vestige.construct.robust.radius import promised_separation
from vestige.core.rng import child
from vestige.report.document import save_figure
from vestige.report.figures import curves

D, N = 200, 64
WIDE = vg.InputSpace(-10.0, 10.0)  # balls are not cut off at the box of the pixels


def gaussian(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points in R^200, two labels."""
    return torch.randn(n, D, generator=child(seed, "robust", str(n)), dtype=torch.float64), torch.arange(n) % 2


def widths(figure: Path | None) -> None:
    """Radius over separation for each width."""
    x, y = gaussian(N)
    ceiling = vg.construct.max_robust_radius(x, y)
    rows: dict[str, list[float]] = {"promised": [], "random, best of 100": [], "optimized": []}
    sizes = (1, 2, 4, 8, 16, 32, 64, 128)
    for m in sizes:
        begun = time.process_time()
        random = kept_share(random_projection(x, y, m, 2.0), x, y, 2.0) / 2
        drawn = time.process_time()
        best = kept_share(optimized_projection(x, y, m, 2.0), x, y, 2.0) / 2
        done = time.process_time()
        promised = promised_separation(N, D, m) * ceiling
        published = math.sqrt(m / D) * N ** (-2 / m) / (4 * math.exp(0.5)) * 2 * ceiling  # at width m + 6
        for values, value in zip(rows.values(), (promised, random, best), strict=True):
            values.append(value)
        print(
            f"width {m + 3}: promised {promised:.3f} (published, width {m + 6}: {published:.3f}), random {random:.3f} "
            f"in {drawn - begun:.1f} s, optimized {best:.3f} in {done - drawn:.1f} s, ratio {best / random:.1f}, "
            f"ceiling {ceiling:.3f}",
            flush=True,
        )
    if figure:
        drawing = curves(
            [m + 3.0 for m in sizes], rows, xlabel="width", ylabel="largest l2 radius", logarithmic=True, level=ceiling,
            level_name="what no function exceeds",
        )  # fmt: skip
        save_figure(figure, drawing, title="Robust radius of 64 points in 200 dimensions")


def needed(share: float, largest: int) -> None:
    """The smallest width with which the radius is `share` of the separation."""
    counts = [2**k for k in range(4, largest + 1)]
    found: dict[str, list[int]] = {"random": [], "optimized": []}
    for n in counts:
        x, y = gaussian(n)
        wanted = (
            4 * share * vg.construct.max_robust_radius(x, y)
        )  # twice the radius, which is that share of the separation
        bounds = vg.construct.width_bounds(n, D, share)
        for name, project in (("random", random_projection), ("optimized", optimized_projection)):
            found[name].append(3 + smallest_dimension(project, x, y, wanted))
        print(
            f"n = {n}: width {found['random'][-1]} random, {found['optimized'][-1]} optimized; the theory says "
            f"{bounds.upper} are enough and {bounds.lower} needed in the worst case",
            flush=True,
        )
    for name, values in found.items():
        slope, start = np.polyfit(np.log(counts), values, 1)
        print(f"{name}: width = {start:.1f} + {slope:.2f} log n")


def smallest_dimension(project: Callable[..., Tensor], x: Tensor, y: Tensor, wanted: float) -> int:
    """The first m whose projection keeps the distance."""
    return least_enough(lambda m: kept_share(project(x, y, m, 2.0), x, y, 2.0) > wanted)


def trained(n: int, width: int, steps: int) -> None:
    """Certified radius of the constructed network, and how near an attack gets with trained ones of its width."""
    digits = vg.data.sample(vg.load_data("digits"), n, generator=child(0, "robust digits"))[0]
    x, y = digits.x.flatten(1).double(), digits.y
    begun = time.process_time()
    made = vg.construct.memorize_robustly(x, y, width=width, projection="optimized")
    numbers = made.numbers
    print(
        f"{n} digits, ceiling {numbers['ceiling']:.3f}. Constructed, width {made.network.width}: certified radius "
        f"{numbers['eps']:.3f} for all, {made.network.depth - 1} hidden layers, "
        f"{time.process_time() - begun:.0f} s; certificate holds: {made.certificate.holds}",
        flush=True,
    )
    for name, radius in (("trained", 0.0), ("trained against PGD", numbers["eps"])):
        for hidden in (1, 3):
            begun = time.process_time()
            model = fitted(x, y, [64, *[width] * hidden, 10], radius, steps)
            right = float((model(x).argmax(1) == y).double().mean())
            attack = vg.attack.fab(model, x, y, eps=5.0, norm="l2", space=WIDE, steps=100)
            distance = torch.where(attack.success, attack.distance, torch.inf)
            distance = torch.where(model(x).argmax(1) == y, distance, torch.zeros_like(distance))
            held = float((distance > numbers["eps"]).double().mean())
            print(
                f"{name}, {hidden} hidden layers of {width}: {right:.0%} right; nearest adversarial example "
                f"{float(distance.min()):.3f}, median {float(distance.median()):.3f}; {held:.0%} of samples hold at "
                f"the constructed radius; {time.process_time() - begun:.0f} s",
                flush=True,
            )


def fitted(x: Tensor, y: Tensor, sizes: list[int], radius: float, steps: int) -> nn.Module:
    """Adam on the cross-entropy, at the samples or at what ten steps of PGD make of them."""
    model = vg.nets.mlp(sizes, bias="all", generator=child(0, "robust net"), dtype=x.dtype)
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(steps):
        adam.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        moved = pgd(model, x, y, radius) if radius else x
        loss = nn.functional.cross_entropy(model(moved), y)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model.eval()


def pgd(model: nn.Module, x: Tensor, y: Tensor, radius: float, steps: int = 10) -> Tensor:
    """The worst of the ball's points that ten steps find."""
    delta = torch.zeros_like(x)
    for _ in range(steps):
        delta.requires_grad_()
        loss = nn.functional.cross_entropy(model(x + delta), y, reduction="sum")
        (slope,) = torch.autograd.grad(loss, delta)
        slope = slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-12)
        delta = delta.detach() + radius / 4 * slope
        delta = delta * (radius / delta.norm(dim=1, keepdim=True).clamp(min=radius))
    return (x + delta).detach()


def sizes(largest: int) -> None:
    """Digits in both layouts."""
    for n in [k for k in (25, 50, 100, 200) if k <= largest]:
        chosen = vg.data.sample(vg.load_data("digits"), n, generator=child(0, "robust digits"))[0]
        for layout in ("narrow", "parallel"):
            begun = time.process_time()
            made = vg.construct.memorize_robustly(chosen.x, chosen.y, width=12, projection="optimized", layout=layout)
            built = time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "net.safetensors"
                vg.construct.save(made, file)
                written = time.process_time()
                holds = vg.construct.verify(file).holds
                size = file.stat().st_size
            network = made.network
            print(
                f"n = {n}, {layout}: width {network.width}, {network.depth - 1} hidden layers, {network.nonzeros} "
                f"non-zeros, {network.parameters} dense, {network.weight_bits} bits, radius "
                f"{made.numbers['eps']:.3f} of {made.numbers['ceiling']:.3f}; built and checked in "
                f"{built - begun:.1f} s; file {size / 1e6:.1f} MB, checked again in "
                f"{time.process_time() - written:.1f} s: {'all claims hold' if holds else 'FAILS'}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("widths", "needed", "trained", "sizes"))
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--share", type=float, default=0.1, help="of the separation, for `needed`")
    parser.add_argument("--most", type=int, default=9, help="2**MOST points for `needed`")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--steps", type=int, default=3000, help="of training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "widths":
        widths(options.figure)
    elif options.what == "needed":
        needed(options.share, options.most)
    elif options.what == "trained":
        trained(options.n, options.width, options.steps)
    else:
        sizes(options.n)


if __name__ == "__main__":
    main()
