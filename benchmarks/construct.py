"""Networks whose weights are computed: sizes, time, and what training or counting has to say to them.

    python benchmarks/construct.py sizes --most 4 --figure docs/figures/memorize-size.svg
    python benchmarks/construct.py trades --figure docs/figures/memorize-bits.svg
    python benchmarks/construct.py floats --figure docs/figures/memorize-floats.svg
    python benchmarks/construct.py trained

`sizes`: memorizers of n random points with random labels, built and checked at every point, beside one wide layer.
`trades`: fewer layers, or fewer bits, for more weights. `floats`: share of points on which a float module is wrong,
against the bits of a code word. `trained`: what gradient descent reaches with as many weights. Times are CPU seconds.
Narrow networks have `construct_narrow.py`.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch

import vestige as vg
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.memorization.extraction import memorizer_layers
from vestige.construct.memorization.packing import Packing
from vestige.report.document import save_figure
from vestige.report.figures import curves

D, CLASSES = 8, 10
POINTS = 160  # of `floats`


def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian points, uniform labels."""
    rng = np.random.default_rng(n)
    return rng.standard_normal((n, D)), rng.integers(0, CLASSES, n)


def sizes(most: int, figure: Path | None) -> None:
    """Non-zeros, and the seconds that building and checking took, for n from 100 to 10**most."""
    counts = {"sqrt": [], "wide": []}
    numbers = [10**k for k in range(2, most + 1)]
    for n in numbers:
        x, y = drawn(n)
        start = time.process_time()
        made = vg.memorize(x, y)
        whole = time.process_time() - start
        checked = checking_seconds(made)
        assert made.certificate.holds
        wide = vg.memorize(x, y, strategy="wide").network.nonzeros if n <= 10_000 else math.nan
        network = made.network
        counts["sqrt"].append(network.nonzeros)
        counts["wide"].append(wide)
        print(
            f"n = {n}: non-zeros {network.nonzeros} ({network.nonzeros / n:.2f} a point), wide {wide}; layers "
            f"{network.depth}, width {network.width}, bits {network.weight_bits}, dense {network.parameters}; built "
            f"and checked in {whole:.2f} s, exact evaluation {checked:.2f} s, {1000 * checked / n:.3f} ms a point",
            flush=True,
        )
    slopes = np.diff(np.log(counts["sqrt"])) / np.diff(np.log(numbers))
    print(f"log-log slopes {np.round(slopes, 3).tolist()}, over all {loglog(numbers, counts['sqrt']):.3f}")
    if figure:
        lines = {
            "about sqrt(n): memorize": counts["sqrt"],
            "one wide layer": counts["wide"],
            "n": [float(n) for n in numbers],
            "100 sqrt(n)": [100 * math.sqrt(n) for n in numbers],
        }
        image = curves(numbers, lines, xlabel="points n", ylabel="weights other than 0", logarithmic=True)
        save_figure(figure, image, title="Weights that memorize n points")


def checking_seconds(made: vg.construct.Memorization) -> float:
    """CPU seconds of one exact evaluation at all points."""
    start = time.process_time()
    assert made.verify().holds
    return time.process_time() - start


def loglog(x, y) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def trades(n: int, figure: Path | None) -> None:
    """Fewer layers and fewer bits for n points."""
    x, y = drawn(n)
    best = vg.memorize(x, y)
    key_bits = int(best.numbers["key_bits"])
    for length in (4, 16, 64):
        made = vg.memorize(x, y, strategy="depth", depth=length * key_bits)
        assert made.certificate.holds
        network = made.network
        print(
            f"depth <= {length} x {key_bits}: layers {network.depth}, lanes {made.numbers['lanes']}, non-zeros "
            f"{network.nonzeros}, times layers / {key_bits} = {network.nonzeros * network.depth // key_bits}",
            flush=True,
        )
    slots = (1, 2, 3, 5, int(best.numbers["slots"]))
    rows = {"non-zeros": [], "counting: every network needs": []}
    for count in slots:
        made = vg.memorize(x, y, strategy="bits", bits=count * key_bits)
        assert made.certificate.holds
        behind = ExactNetwork(made.network.layers[1:]).weight_bits
        rows["non-zeros"].append(made.network.nonzeros)
        rows["counting: every network needs"].append(
            vg.construct.memorization_lower_bound(n, bits=count * key_bits, inputs=D)
        )
        print(
            f"bits <= {count * key_bits}: bits {behind}, non-zeros {made.network.nonzeros}, product "
            f"{made.network.nonzeros * behind}, layers {made.network.depth}",
            flush=True,
        )
    if figure:
        bits = [count * key_bits for count in slots]
        image = curves(bits, rows, xlabel="bits of a code word", ylabel="weights other than 0", logarithmic=True)
        save_figure(figure, image, title="Fewer weights, each with more bits: 4,096 points")


def floats(figure: Path | None) -> None:
    """Share of 160 points on which a float module is wrong, for words of so many slots of so many bits."""
    words = ((10, 1), (9, 2), (10, 2), (11, 2), (12, 2), (13, 2), (14, 2), (11, 3), (12, 3), (11, 4), (12, 4), (17, 3))
    words += ((13, 4), (18, 3), (14, 4), (12, 5), (16, 4))
    rows: dict[str, list[float]] = {"float64": [], "float32": []}
    for key_bits, slots in words:
        rng = np.random.default_rng(key_bits)
        keys = np.sort(3 * rng.choice((2**key_bits - 2) // 3, POINTS, replace=False) + 2)
        labels = rng.integers(0, 8, POINTS)
        pairs = list(zip(keys.tolist(), labels.tolist(), strict=True))
        groups = [pairs[k : k + slots] for k in range(0, len(pairs), slots)]
        layers = memorizer_layers([groups], Packing(1, len(groups), slots, key_bits, 3))
        network, points = ExactNetwork(tuple(layers)), torch.from_numpy(keys)[:, None].double()
        assert network(points)[:, 0].tolist() == labels.tolist()
        audit = network.audit(points)
        wrong = {}
        for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
            values = network.to_torch(dtype, exact=False)(points.to(dtype))[:, 0].double().numpy()
            wrong[name] = float((values != labels).mean())
            rows[name].append(wrong[name])
            assert wrong[name] == 0 or not audit.fits(dtype)
        print(
            f"code bits {key_bits * slots}: the audit asks for {audit.bits}; wrong in float64 {wrong['float64']:.2f}, "
            f"in float32 {wrong['float32']:.2f}",
            flush=True,
        )
    if figure:
        bits = [key_bits * slots for key_bits, slots in words]
        image = curves(bits, rows, xlabel="bits of a code word", ylabel="share of points that are wrong")
        save_figure(figure, image, title="Where floats no longer hold the code words")


def trained(most: int, steps: int) -> None:
    """Full-batch Adam on two hidden layers with at least as many weights as the memorizer has non-zeros."""
    for n in (10**k for k in range(2, most + 1)):
        x, y = drawn(n)
        made = vg.memorize(x, y)
        width = 1
        while parameters(width) < made.network.nonzeros:
            width += 1
        start = time.process_time()
        accuracy = max(fitted(x, y, width, rate, steps) for rate in (3e-3, 1e-2, 3e-2))
        print(
            f"n = {n}: memorizer 1.000 with {made.network.nonzeros} non-zeros; trained 8-{width}-{width}-10 with "
            f"{parameters(width)} weights: {accuracy:.3f} of the points right, best of three rates, "
            f"{time.process_time() - start:.0f} s",
            flush=True,
        )


def parameters(width: int) -> int:
    return (D + 1) * width + (width + 1) * width + (width + 1) * CLASSES


def fitted(x: np.ndarray, y: np.ndarray, width: int, rate: float, steps: int) -> float:
    model = vg.nets.mlp([D, width, width, CLASSES], bias="all", dtype=torch.float32)
    inputs, labels = torch.from_numpy(x).float(), torch.from_numpy(y)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        schedule.step()
    return float((model(inputs).argmax(1) == labels).double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", choices=["sizes", "trades", "floats", "trained"])
    parser.add_argument("--most", type=int, default=4, help="log10 of the largest n of `sizes` and `trained`")
    parser.add_argument("--n", type=int, default=4096, help="points of `trades`")
    parser.add_argument("--steps", type=int, default=5000, help="of training")
    parser.add_argument("--figure", type=Path, default=None, help="SVG to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.question == "sizes":
        sizes(options.most, options.figure)
    elif options.question == "trained":
        trained(options.most, options.steps)
    elif options.question == "trades":
        trades(options.n, options.figure)
    else:
        floats(options.figure)


if __name__ == "__main__":
    main()
