"""Narrow networks of trained and of random targets: predictions, sizes, errors, unsafe inputs.

    python benchmarks/construct_narrow.py --out docs/figures       four minutes on one core
    python benchmarks/construct_narrow.py --only trained

`trained`: two moons, and digits on three principal components, with as many predictions changed as there are; the null
is the same target with other weights. `sizes`: parameters against the hidden width, with their slope. `layers`:
against the layers of the target. `error`: promised
and measured error against tolerance. `unsafe`: share of unsafe inputs against delta. `equal`: the exact representation
from inputs of 1e-3 to 1e6, beside what lemma 16 says as printed. `bounded`: depth against the bound on weights.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits, make_moons
from sklearn.decomposition import PCA

import vestige as vg
from vestige.construct.narrowing.equal_layers import exact_depth
from vestige.core.relu_chain import read_relu_chain
from vestige.core.rng import child
from vestige.report.document import save_figure
from vestige.report.figures import curves


def moons() -> tuple[torch.Tensor, torch.Tensor]:
    """1,400 points in [-1, 1]^2."""
    x, y = make_moons(1400, noise=0.15, random_state=0)
    return scaled(x), torch.from_numpy(y)


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """1,797 digits on three principal components in [-1, 1]^3."""
    x, y = load_digits(return_X_y=True)
    return scaled(PCA(3).fit_transform(x)), torch.from_numpy(y)


def scaled(x: np.ndarray) -> torch.Tensor:
    """As float32 numbers in [-1, 1], one factor for all coordinates."""
    centered = x - (x.max(0) + x.min(0)) / 2
    return torch.from_numpy((centered / abs(centered).max()).astype(np.float32))


def trained(out: Path | None, most: int) -> None:
    """Predictions of a trained network, of its narrow form, and of the null."""
    sets = (("two moons", moons, (16, 16), 2), ("digits, 3 components", digits, (24, 16), 10))
    for name, load, hidden, classes in sets[: most - 1]:
        x, y = load()
        order = torch.randperm(len(x), generator=child(0, name))
        train, test = order[: len(x) // 2], order[len(x) // 2 :]
        start = vg.nets.mlp([x.shape[1], *hidden, classes], bias="all", generator=child(0, "init"), dtype=torch.float32)
        model = vg.train_to_margin(
            start, x[train], y[train], loss="cross_entropy", weight_decay=1e-4, schedule="one_cycle", steps=2000
        ).model
        said = model(x[test]).argmax(1)
        accuracy = float((said == y[test]).double().mean())
        null = model_with_other_weights(model)
        for width in ("5d", "d+2"):
            start_time = time.process_time()
            built = vg.construct.narrow(model, exact=False, radius=1.0, tolerance=1e-3, delta=1e-3, width=width)
            built_in = time.process_time() - start_time
            safe = built.specification.is_safe(x[test])
            start_time = time.process_time()
            outputs = built.network(x[test][safe])
            each = (time.process_time() - start_time) / int(safe.sum())
            narrow_said = torch.tensor([int(np.argmax(row)) for row in outputs])
            other = int((narrow_said != said[safe]).sum())
            other_null = int((null(x[test][safe]).argmax(1) != said[safe]).sum())
            n = built.numbers
            print(
                f"{name}, width={width}: accuracy {accuracy:.3f}; {int(safe.sum())} of {len(test)} test inputs safe, "
                f"{other} predictions changed (null {other_null}); width {n['target_width']} -> {n['width']}, layers "
                f"{n['target_depth']} -> {n['depth']}, parameters {n['target_parameters']} -> {n['parameters']}, error "
                f"{n['sampled_error']:.1e} measured, {n['certified_error']:.1e} proved, holds "
                f"{built.certificate.holds}; built and checked in {built_in:.1f} CPU s, {1e3 * each:.1f} ms an input",
                flush=True,
            )


def model_with_other_weights(model: torch.nn.Module) -> torch.nn.Module:
    """The null: the weights of each layer shuffled."""
    null = torch.nn.Sequential(*(m if not isinstance(m, torch.nn.Linear) else shuffled(m) for m in model))
    return null.eval()


def shuffled(layer: torch.nn.Linear) -> torch.nn.Linear:
    """The same numbers elsewhere."""
    twin = torch.nn.Linear(layer.in_features, layer.out_features, dtype=layer.weight.dtype)
    order = torch.randperm(layer.weight.numel(), generator=child(0, "null"))
    with torch.no_grad():
        twin.weight.copy_(layer.weight.flatten()[order].reshape(layer.weight.shape))
        twin.bias.copy_(layer.bias)
    return twin


def random_target(widths: list[int], seed: int = 0) -> torch.nn.Sequential:
    """Weights and biases uniform in +-1 / sqrt(inputs), as layers start."""
    return vg.nets.mlp(widths, bias="all", generator=child(seed, "target"), dtype=torch.float32)


def sizes(out: Path | None, most: int) -> None:
    """Parameters against the hidden width n of targets 2-n-n-1."""
    ns, rows = (2, 4, 8, 16, 32, 64)[: most + 2], {"near, 5d": [], "near, d+2": [], "equal, 2(d+L-1)": [], "target": []}
    for n in ns:
        model = random_target([2, n, n, 1])
        start = time.process_time()
        near = [near_numbers(model, width) for width in ("5d", "d+2")]
        seconds = time.process_time() - start
        equal = vg.construct.narrow(model, max_depth=10**5).numbers
        for row, value in zip(rows.values(), (*near, equal), strict=False):
            row.append(value["parameters"])
        rows["target"].append(near[0]["target_parameters"])
        print(
            f"n = {n}: {rows['near, 5d'][-1]:,} and {rows['near, d+2'][-1]:,} parameters in {near[0]['depth']:,} and "
            f"{near[1]['depth']:,} layers of width {near[0]['width']} and {near[1]['width']}, c0 {near[0]['c0']}, c "
            f"{near[0]['c']} (paper {near[0]['paper_c0']:.0f}, {near[0]['paper_c']:.0f}), {near[0]['weight_bits']:,} "
            f"bits; equal {rows['equal, 2(d+L-1)'][-1]:,} in {equal['depth']:,} of width {equal['width']}; target "
            f"{rows['target'][-1]:,}; near ones {seconds:.1f} CPU s",
            flush=True,
        )
    for name, row in rows.items():
        slope = np.polyfit(np.log(ns[2:]), np.log(row[2:]), 1)[0]
        last = np.log(row[-1] / row[-2]) / np.log(2)
        print(f"{name}: log-log slope {slope:.2f} from n = 8, between the last two {last:.2f}", flush=True)
    shown = {name: row for name, row in rows.items() if name != "near, d+2"}  # it would hide the first
    drawn = curves([float(n) for n in ns], shown, xlabel="hidden width n", ylabel="parameters", logarithmic=True)
    save(out, "narrow-size.svg", drawn, "Parameters that a narrow network needs")


def near_numbers(model: torch.nn.Module, width: str) -> dict[str, float | int]:
    """Sizes of the approximate construction, and whether its certificate holds."""
    built = vg.construct.narrow(model, exact=False, radius=1.0, width=width, max_depth=10**5)
    assert built.certificate.holds
    return dict(built.numbers)


def layers(out: Path | None, most: int) -> None:
    """Depth against the layers L of targets 2-6-...-6-1: that of the exact representation is exponential in L."""
    for count in (2, 3, 4, 5, 6, 7)[:most]:
        model = random_target([2, *[6] * (count - 1), 1])
        near, depth = near_numbers(model, "5d"), exact_depth(read_relu_chain(model))
        width = 2 * (2 + count - 1)
        print(
            f"L = {count}: near {near['depth']:,} layers of width {near['width']}, {near['parameters']:,} parameters; "
            f"equal {depth:,} layers of width {width}, about {depth * width * (width + 1):,} parameters; target "
            f"{near['target_parameters']:,}",
            flush=True,
        )


def error(out: Path | None, most: int) -> None:
    """Proved and measured error against tolerance, targets 3-8-8-1."""
    for tolerance in (1e-1, 1e-2, 1e-4, 1e-6, 1e-9, 1e-12)[:most]:
        start = time.process_time()
        built = vg.construct.narrow(random_target([3, 8, 8, 1]), exact=False, radius=1.0, tolerance=tolerance)
        n = built.numbers
        print(
            f"tolerance = {tolerance:g}: proved {n['certified_error']:.2e}, measured {n['sampled_error']:.2e}, "
            f"c0 {n['c0']} (paper {n['paper_c0']:.0f}), c {n['c']} (paper {n['paper_c']:.0f}), {n['depth']:,} layers, "
            f"{n['parameters']:,} parameters, holds {built.certificate.holds}, {time.process_time() - start:.1f} CPU s",
            flush=True,
        )


def unsafe(out: Path | None, most: int) -> None:
    """Share of a million uniform inputs that are not safe, against delta."""
    deltas, share = (3e-1, 1e-1, 1e-2, 1e-3, 1e-4)[:most], []
    x = 2 * torch.rand((10**6, 2), generator=child(0, "unsafe"), dtype=torch.float64) - 1
    for delta in deltas:
        built = vg.construct.narrow(random_target([2, 8, 1]), exact=False, radius=1.0, delta=delta)
        safe = built.specification.is_safe(x)
        share.append(1 - float(safe.double().mean()))
        wrong = worst_error(built, x[~safe][:500])
        print(
            f"delta = {delta:g}: {share[-1]:.2e} unsafe, {built.numbers['depth']} layers, 1 / ramp "
            f"{1 / built.specification.ramp}; {wrong:.1%} of up to 500 unsafe inputs are off by more than tolerance",
            flush=True,
        )
    rows = {"unsafe": share[::-1], "delta": list(deltas)[::-1]}
    drawn = curves(list(deltas)[::-1], rows, xlabel="delta", ylabel="share of inputs", logarithmic=True)
    save(out, "narrow-unsafe.svg", drawn, "Inputs without a promise, at most a share delta")


def worst_error(built: vg.construct.ExactConstruction, x: torch.Tensor) -> float:
    """Share of inputs whose error exceeds tolerance."""
    if not len(x):
        return float("nan")
    off = abs(built.network(x) - built.specification.target(x)).max(1)
    return float(np.mean(off > built.specification.tolerance))


def equal(out: Path | None, most: int) -> None:
    """The exact representation and its rounding."""
    for d, n, layers in ((2, 5, 2), (3, 7, 2), (3, 4, 3), (3, 16, 3), (2, 3, 4), (2, 6, 5))[:most]:
        for width in ("2d+2", "2d+3"):
            start = time.process_time()
            built = vg.construct.narrow(random_target([d, *[n] * (layers - 1), 1]), width=width, max_depth=10**5)
            worst = built.certificate.claims[3].measured
            print(
                f"d = {d}, n = {n}, L = {layers}, {width}: width {built.network.width}, {built.network.depth:,} layers "
                f"(bound {(2 * n) ** (layers - 1) + 2:,}), relative error {worst:.1e} of the stored weights, "
                f"{built.numbers['float64_error']:.1e} run in float64, holds {built.certificate.holds}, "
                f"{time.process_time() - start:.1f} CPU s",
                flush=True,
            )


def bounded(out: Path | None, most: int) -> None:
    """Depth against the bound on weights, with equal outputs."""
    model = random_target([2, 4, 1])
    free = vg.construct.narrow(model, exact=False, radius=1.0, tolerance=0.1)
    print(f"no bound: {free.network.depth} layers, weights of {free.network.weight_bits} bits", flush=True)
    x = 2 * torch.rand((200, 2), generator=child(0, "bounded")) - 1
    for bound in (2, 16, 2**16, 2**64)[:most]:
        built = vg.construct.narrow(model, exact=False, radius=1.0, tolerance=0.1, weight_bound=bound)
        same = int((built.network(x) == free.network(x)).sum())
        print(f"bound {bound}: {built.network.depth} layers, {same} of 200 outputs are the same", flush=True)


def save(out: Path | None, name: str, drawn: bytes, title: str) -> None:
    """Write a figure where a folder is given."""
    if out is not None:
        save_figure(out / name, drawn, title=title)


def main() -> None:
    """Run the parts that are asked for."""
    parts = {f.__name__: f for f in (trained, sizes, layers, error, unsafe, equal, bounded)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=parts, default=list(parts))
    parser.add_argument("--out", type=Path, help="folder for the figures")
    parser.add_argument("--quick", action="store_true", help="the first two values of everything varied")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.only:
        start = time.process_time()
        parts[name](options.out, 2 if options.quick else 100)
        print(f"-- {name}: {time.process_time() - start:.0f} CPU seconds", flush=True)


if __name__ == "__main__":
    main()
