"""Error of random features for one ReLU neuron against their number, beside the bound and gradient descent.

python benchmarks/features.py --figure docs/figures
"""

import argparse
import time
from pathlib import Path

import torch

import vestige as vg
from vestige.core.rng import child
from vestige.report import figures
from vestige.report.document import save_figure

LAND = vg.landscape
RIDGES = (0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dimensions", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--widths", type=int, nargs="+", default=[10, 20, 50, 100, 200, 500])
    parser.add_argument("--figure", type=Path, help="folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    series: dict[str, list[float]] = {}
    for d in options.dimensions:
        begun, neuron = time.process_time(), LAND.Neurons(torch.eye(1, d))
        errors, bounds = [], []
        for r in options.widths:
            found = LAND.fit_features(LAND.random_features(r, d, generator=child(0, "features")), neuron, ridges=RIDGES)
            errors.append(float(found.relative[0]))
            bounds.append(LAND.random_feature_bound(d, r))
            front = ", ".join(f"{e:.3f}/{s:.3g}" for e, s in zip(found.relative, found.size, strict=True))
            print(f"d = {d}, r = {r}: bound {bounds[-1]:.3f}; error/size by ridge {front}", flush=True)
        series |= {f"features, d = {d}": errors, f"bound, d = {d}": bounds}
        start = LAND.Neurons(0.5 * LAND.random_features(1, d).weight[None])
        learned = LAND.neuron_descent(start, neuron, LAND.GaussianInputs(d), steps=20, tolerance=1e-12)
        spent = time.process_time() - begun
        print(f"d = {d}: one neuron, 20 steps: relative loss {float(learned.loss) / 0.25:.1e}; {spent:.0f} CPU s")
    if options.figure:
        image = figures.curves(options.widths, series, xlabel="features", ylabel="error over energy", logarithmic=True)
        save_figure(options.figure / "features.svg", image, title="One neuron from random features")


if __name__ == "__main__":
    main()
