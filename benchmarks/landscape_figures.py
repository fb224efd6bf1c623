"""The figures of the landscape papers' pages, and their numbers.

python benchmarks/landscape_figures.py --out docs/figures          all four, about five minutes on one core
python benchmarks/landscape_figures.py --only bias --starts 100
"""

import argparse
import time
from pathlib import Path

import torch

import vestige as vg
from vestige.audit.learners import Learner, learner
from vestige.core.rng import child
from vestige.report import figures
from vestige.report.document import save_figure

LAND = vg.landscape
PARTS = ("neuron", "bias", "splitting", "overfitting")


def neuron(out: Path, starts: int) -> None:
    """Level lines of the loss of one neuron with bias in the unit ball, and which starts learn."""
    d, law = 2, LAND.RadialInputs(2)
    teacher = LAND.Neurons(torch.eye(1, d), torch.tensor([-0.5]))
    angle = torch.linspace(0.02, 3.12, starts)
    w = 0.8 * torch.stack([angle.cos(), angle.sin()], 1)
    found = LAND.neuron_descent(
        LAND.Neurons(w, torch.zeros(starts)), teacher, law, learning_rate=0.7, steps=6000, tolerance=1e-2
    )
    x, y = torch.linspace(-1.6, 1.6, 81), torch.linspace(0.01, 1.6, 41)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, d)
    bias = teacher.bias.expand(len(grid))  # type: ignore[union-attr]
    loss = law.loss(LAND.Neurons(grid[:, None], bias[:, None]), teacher).reshape(len(y), len(x))
    status = [str(s) for s in found.status]
    groups = {"teacher": torch.tensor([[1.0, 0.0]])}
    for kind, name in (("converged", "learned"), ("doomed", "never")):
        rows = [i for i, s in enumerate(status) if s == kind]
        if rows:
            groups[name] = w[rows]
    print(f"one neuron: { ({s: status.count(s) for s in set(status)}) } of {starts} starts", flush=True)
    drawn = figures.contours(x, y, loss, groups, xlabel="weight along the teacher", ylabel="weight across")
    save_figure(out / "landscape-neuron.svg", drawn, title="Starts that learn one neuron with bias -0.5")


def bias(out: Path, starts: int) -> None:
    """Share of starts that are proved to fail, against the teacher's bias, for four dimensions."""
    biases = (-0.995, -0.9, -0.8, -0.65, -0.5, -0.35, -0.2, 0.0, 0.3)
    series = {}
    for d in (2, 5, 10, 20):
        w = torch.randn(starts, d, generator=child(0, "bias", str(d)), dtype=torch.float64)
        start = LAND.Neurons(w / w.norm(dim=1, keepdim=True) / 2, torch.zeros(starts))
        series[f"d = {d}"] = [
            LAND.neuron_descent(
                start, LAND.Neurons(torch.eye(1, d), torch.tensor([b])), LAND.RadialInputs(d), learning_rate=0.7,
                steps=1500,
            ).count("doomed") / starts
            for b in biases
        ]  # fmt: skip
        print(f"d = {d}: proved to fail, by bias {dict(zip(biases, series[f'd = {d}'], strict=True))}", flush=True)
    drawn = figures.curves(biases, series, xlabel="bias of the teacher", ylabel="share of starts proved to fail")
    save_figure(out / "landscape-bias.svg", drawn, title="Starts proved to fail, by bias and dimension")


def splitting(out: Path) -> None:
    """The loss along the flattest direction out of a minimum, and along the split of its best neuron."""
    k = 7
    (minimum,) = LAND.known_minima(k)
    teacher = LAND.Neurons(torch.eye(k, dtype=torch.float64))
    distances = [0.0125 * step for step in range(21)]
    spectrum = LAND.split_spectrum(minimum.student, teacher)
    _, vectors = torch.linalg.eigh(LAND.population_hessian(minimum.student, teacher))
    flat = vectors[:, 0].reshape(k, k)
    kept = [minimum.weight + distance * flat for distance in distances]
    halves = [
        LAND.split_neuron(
            minimum.student, spectrum.best, distance=distance, direction=spectrum.directions[spectrum.best]
        ).weight
        for distance in distances
    ]
    losses = [LAND.population_loss(LAND.Neurons(torch.stack(weights)), teacher).tolist() for weights in (kept, halves)]
    for name, values in zip(("seven neurons", "eight neurons"), losses, strict=True):
        print(f"{name}: loss {values[0]:.6f} at the minimum, {values[8]:.6f} at 0.1, least {min(values):.6f}")
    grown = LAND.grow(minimum.student, teacher)
    print(f"one neuron more ends at a loss of {float(grown.loss.min()):.1e}", flush=True)
    series = dict(zip(("7 neurons, flattest direction", "8 neurons, halves of one apart"), losses, strict=True))
    drawn = figures.curves(distances, series, xlabel="distance from the minimum", ylabel="loss")
    save_figure(out / "landscape-splitting.svg", drawn, title="A minimum of seven neurons, and with one split")


def overfitting(out: Path) -> None:
    """Error against noise: largest margin on the line, and trained networks in 20 to 2,000 dimensions."""
    levels = (0.05, 0.1, 0.2, 0.3, 0.4)
    line = LAND.overfitting_profile(learner(Learner.MARGIN), noise_levels=levels, sizes=(100, 300), repeats=6)
    print(f"line: error {line.error.mean(-1)[0].tolist()}, {line.verdicts}", flush=True)
    series = {"noise itself": list(levels), "d = 1": line.error.mean(-1)[0, 0].tolist()}
    for chosen in (Learner.NETWORK, Learner.NETWORK_WITHOUT_BIAS):
        dims = (20, 100, 500, 2000)
        wide = LAND.overfitting_profile(learner(chosen), noise_levels=levels[:4], dims=dims, repeats=3)
        mean = wide.error.mean(-1)[:, 0]
        for row, d in enumerate(dims):
            print(
                f"{chosen} d = {d}: error {[round(e, 3) for e in mean[row].tolist()]}, {wide.verdicts[row]}", flush=True
            )
        if chosen is Learner.NETWORK:
            series |= {f"d = {d}": [*mean[row].tolist(), float("nan")] for row, d in enumerate(dims) if d in (20, 2000)}
    drawn = figures.curves(levels, series, xlabel="share of labels flipped", ylabel="error on new inputs")
    save_figure(out / "overfitting.svg", drawn, title="What noise in labels costs, by dimension")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    options.out.mkdir(parents=True, exist_ok=True)
    begun = time.process_time()
    if "neuron" in options.only:
        neuron(options.out, min(options.starts, 40))
    if "bias" in options.only:
        bias(options.out, options.starts)
    if "splitting" in options.only:
        splitting(options.out)
    if "overfitting" in options.only:
        overfitting(options.out)
    print(f"{time.process_time() - begun:.0f} CPU s")


if __name__ == "__main__":
    main()
