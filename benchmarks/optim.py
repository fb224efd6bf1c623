"""One step size without tuning against schedules with tuned rates, and against other methods without a rate.

    python benchmarks/optim.py --tasks digits mnist cifar10 text --to optim.jsonl
    python benchmarks/optim.py --read optim.jsonl --figure docs/figures

Every run is a line of the file, and one that is there is not repeated. MNIST and CIFAR-10 are read from the folder that
VESTIGE_DATA names. The text is the descriptions of scikit-learn's data sets. Times are CPU seconds of one thread.
"""

import argparse
import functools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import vestige as vg
from vestige.core.rng import child
from vestige.report import figures
from vestige.report.document import save_figure

SGD_RATES = (3e-3, 1e-2, 3e-2, 0.1, 0.3)
ADAM_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
STARTS = (1e-6, 1e-4, 1e-2, 1.0)
SCHEDULES = ("constant", "step", "cosine", "warm-up + cosine")
PEERS = ("Prodigy", "Schedule-Free", "D-Adaptation", "GeN")
OURS = "locally optimal"
TASKS = ("digits", "mnist", "cifar10", "text")


class Reader(nn.Module):
    """A causal transformer of two layers over characters; logits as (samples, characters, places)."""

    def __init__(self, characters: int, length: int, width: int = 32):
        super().__init__()
        self.embed, self.place = nn.Embedding(characters, width), nn.Parameter(0.02 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, characters)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.head(self.layers(self.embed(x) + self.place, mask=mask, is_causal=True)).mT


@dataclass(frozen=True, eq=False)
class Task:
    """Data, a network, and the optimizer that is usual for it."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    network: Callable[[], nn.Module]
    adam: bool
    epochs: int
    batch: int = 64

    def base(self, net: nn.Module, rate: float) -> torch.optim.Optimizer:
        if self.adam:
            return torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-2)
        return torch.optim.SGD(net.parameters(), rate, momentum=0.9)


@functools.cache
def task(name: str, quick: bool) -> Task:
    if name == "digits":
        x, y = load_digits(return_X_y=True)
        order = torch.randperm(len(x), generator=child(0, "digits"))
        data = TensorDataset(torch.tensor(x / 16, dtype=torch.float32)[order], torch.tensor(y)[order])
        layers = [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
        sizes = [(64, 64), (), (64, 64), (), (64, 10)]
        return Task(
            data[:1297],
            data[1297:],
            lambda: nn.Sequential(*(f(*s) for f, s in zip(layers, sizes, strict=True))),
            False,
            1 if quick else 30,
        )
    if name == "text":
        return text(quick)
    with np.load(Path(os.environ["VESTIGE_DATA"]) / f"{name}.npz") as file:
        arrays = {k: torch.tensor(file[k]) for k in ("x_train", "y_train", "x_test", "y_test")}
    n = 128 if quick else 4000
    x, z = (arrays[k].reshape(*arrays[k].shape[:3], -1).permute(0, 3, 1, 2) / 255 - 0.5 for k in ("x_train", "x_test"))
    color, widths = (3, (16, 32)) if name == "cifar10" else (1, (8, 16))
    side = x.shape[-1] // 4

    def cnn() -> nn.Module:
        a, b = (nn.Conv2d(i, o, 3, 2, 1) for i, o in zip((color, widths[0]), widths, strict=True))
        return nn.Sequential(a, nn.ReLU(), b, nn.ReLU(), nn.Flatten(), nn.Linear(widths[1] * side**2, 10))

    epochs = 1 if quick else 5
    return Task(
        (x[:n], arrays["y_train"][:n].long()),
        (z[:2000], arrays["y_test"][:2000].long()),
        cnn,
        name == "cifar10",
        epochs,
    )


def text(quick: bool, length: int = 32) -> Task:
    """Guess each next character; the last tenth of the text is for the test."""
    folder = Path(sklearn.__file__).parent / "datasets" / "descr"
    written = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.rst")))
    known = {c: i for i, c in enumerate(sorted(set(written)))}
    codes = torch.tensor([known[c] for c in written])
    windows = codes[: len(codes) // (length + 1) * (length + 1)].reshape(-1, length + 1)
    cut = len(windows) * 9 // 10
    if quick:
        windows, cut = windows[:80], 64
    train, test = ((w[:, :-1], w[:, 1:]) for w in (windows[:cut], windows[cut:]))
    return Task(train, test, lambda: Reader(len(known), length), True, 1 if quick else 12, 32)


def scheduled(kind: str, optimizer: torch.optim.Optimizer, steps: int) -> Any:
    lr = torch.optim.lr_scheduler
    match kind:
        case "step":
            return lr.MultiStepLR(optimizer, [steps // 2, steps * 3 // 4], 0.1)
        case "cosine":
            return lr.CosineAnnealingLR(optimizer, steps)
        case "warm-up + cosine":
            warm = max(1, steps // 10)
            rising = lr.LinearLR(optimizer, 1e-2, total_iters=warm)
            return lr.SequentialLR(optimizer, [rising, lr.CosineAnnealingLR(optimizer, steps - warm)], [warm])
    return None


def optimizer_of(kind: str, given: Task, net: nn.Module, rate: float, seed: int, options: dict[str, Any]) -> Any:
    """The optimizer, and what is done before each of its steps."""
    if kind == OURS:
        loader = DataLoader(TensorDataset(*given.train), given.batch, shuffle=True, drop_last=True)

        def objective(model: nn.Module, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
            outputs = model(batch[0])
            return outputs, cross_entropy(outputs, batch[1])

        return vg.optim.LocallyOptimalStep(
            given.base(net, rate), net, objective, loader, generator=child(seed), **options
        )
    if kind == "Prodigy":
        from prodigyopt import Prodigy

        return Prodigy(net.parameters(), lr=1.0)
    if kind == "D-Adaptation":
        from dadaptation import DAdaptAdam, DAdaptSGD

        return DAdaptAdam(net.parameters(), lr=1.0) if given.adam else DAdaptSGD(net.parameters(), lr=1.0, momentum=0.9)
    if kind == "Schedule-Free":
        from schedulefree import AdamWScheduleFree, SGDScheduleFree

        return AdamWScheduleFree(net.parameters()) if given.adam else SGDScheduleFree(net.parameters(), lr=1.0)
    return given.base(net, rate)


def probing(net: nn.Module, optimizer: Any, given: Task) -> Callable[[int], None]:
    """GeN, as its readme calls it, every fourth step."""
    from GeN import lr_parabola

    def endless() -> Any:
        while True:
            yield from DataLoader(TensorDataset(*given.train), given.batch, shuffle=True)

    batches = endless()

    def probe(step: int) -> None:
        if step % 4 == 3:
            lr_parabola(net, optimizer, tr_iter=batches, device="cpu", task="image_cls", lr_factor=[-1, 0, 1])

    return probe


def run(name: str, kind: str, rate: float, seed: int, quick: bool, options: dict[str, Any]) -> dict[str, Any]:
    """Train once."""
    given = task(name, quick)
    torch.manual_seed(seed)
    net = given.network()
    optimizer = optimizer_of(kind, given, net, rate, seed, options)
    loader = DataLoader(TensorDataset(*given.train), given.batch, shuffle=True, drop_last=True)
    schedule = scheduled(kind, optimizer, given.epochs * len(loader))
    probe = probing(net, optimizer, given) if kind == "GeN" else None
    if kind == "Schedule-Free":
        optimizer.train()
    begun, step, rates = time.process_time(), 0, []
    for _ in range(given.epochs):
        for x, y in loader:
            optimizer.zero_grad()
            cross_entropy(net(x), y).backward()
            if probe:
                probe(step)
            optimizer.step()
            rates.append(optimizer.param_groups[0]["lr"])
            if schedule:
                schedule.step()
            step += 1
    took = time.process_time() - begun
    if kind == "Schedule-Free":
        optimizer.eval()
    with torch.no_grad():
        right = [
            (net(x).argmax(1) == y).double().mean(0).mean()
            for x, y in zip(*(t.split(500) for t in given.test), strict=True)
        ]
    accuracy = 100 * float(sum(right)) / len(right)
    stride = max(1, len(rates) // 100)
    return {
        "task": name,
        "kind": kind,
        "rate": rate,
        "seed": seed,
        "accuracy": accuracy,
        "seconds": took,
        "rates": [(k, float(rates[k])) for k in range(0, len(rates), stride)],
        **options,
    }


def cases(name: str, seeds: int, quick: bool) -> list[tuple[str, float, int]]:
    grid = ADAM_RATES if task(name, quick).adam else SGD_RATES
    grid = grid[2:4] if quick else grid
    starts = STARTS[1:3] if quick else STARTS
    peers = [(peer, 1e-2 if peer == "GeN" else 1.0) for peer in PEERS]
    once = [(OURS, rate) for rate in starts] + peers + [(kind, rate) for kind in SCHEDULES for rate in grid]
    return [(kind, rate, seed) for seed in range(seeds) for kind, rate in once]  # what is compared runs side by side


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def said(rows: list[dict[str, Any]]) -> None:
    """For each task: the best rate of each schedule, the rest as it is, and what starts change."""
    for name in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == name]
        constant = np.median([row["seconds"] for row in mine if row["kind"] == "constant"] or [np.nan])
        print(f"\n{name}")
        for kind in (OURS, *PEERS, *SCHEDULES):
            by_rate: dict[float, list[float]] = {}
            for row in mine:
                if row["kind"] == kind:
                    by_rate.setdefault(row["rate"], []).append(row["accuracy"])
            if not by_rate:
                continue
            means = {rate: float(np.mean(values)) for rate, values in by_rate.items()}
            best = max(means, key=lambda rate: means[rate])
            shown = {rate: f"{mean:.1f}" for rate, mean in means.items()}
            ratio = np.median([row["seconds"] for row in mine if row["kind"] == kind]) / constant
            spread = max(means.values()) - min(means.values())
            print(
                f"  {kind:18} {means[best]:5.1f} (seeds {min(by_rate[best]):.1f}-{max(by_rate[best]):.1f}) "
                f"at {best:g}; time {ratio:.2f}; over rates {spread:.1f}: {shown}"
            )


def drawn(rows: list[dict[str, Any]], folder: Path) -> None:
    """Of each task: error against the first rate, and step sizes of ours and the best schedule."""
    for name in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == name]
        rates = sorted({row["rate"] for row in mine if row["kind"] in (*SCHEDULES, OURS)})
        series = {}
        for kind in (OURS, "constant", "cosine"):
            found = {r: [row["accuracy"] for row in mine if row["kind"] == kind and row["rate"] == r] for r in rates}
            series[kind] = [100 - float(np.mean(found[r])) if found[r] else float("nan") for r in rates]
        image = figures.curves(
            rates, series, xlabel="learning rate at the start", ylabel="test error, %", logarithmic=True
        )
        save_figure(folder / f"optim-{name}.svg", image, title=f"Error on {name} against the first learning rate")
        best = [max((r for r in mine if r["kind"] in k), key=lambda r: r["accuracy"]) for k in ((OURS,), SCHEDULES)]
        steps = {f"{row['kind']}, from {row['rate']:g}": row["rates"] for row in best}
        image = figures.history(steps, quantity="step size")
        save_figure(folder / f"optim-{name}-steps.svg", image, title=f"Step sizes over training on {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", choices=TASKS, nargs="+", default=TASKS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", help="methods; default: all")
    parser.add_argument("--rates", type=float, nargs="+", help="only these; default: the grid of the task")
    parser.add_argument("--options", type=json.loads, default={}, help="of LocallyOptimalStep, as JSON")
    parser.add_argument("--to", type=Path, default=Path("optim.jsonl"))
    parser.add_argument("--read", type=Path, help="only say what a file holds")
    parser.add_argument("--figure", type=Path, help="folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.read is None:
        done = {(row["task"], row["kind"], row["rate"], row["seed"]) for row in rows_of(options.to)}
        with options.to.open("a") as file:
            for name in options.tasks:
                for kind, rate, seed in cases(name, 1 if options.quick else options.seeds, options.quick):
                    left_out = (options.only and kind not in options.only) or (
                        options.rates and rate not in options.rates
                    )
                    if left_out or (name, kind, rate, seed) in done:
                        continue
                    row = run(name, kind, rate, seed, options.quick, options.options if kind == OURS else {})
                    file.write(json.dumps(row) + "\n")
                    file.flush()
    rows = rows_of(options.read or options.to)
    said(rows)
    if options.figure:
        drawn(rows, options.figure)


if __name__ == "__main__":
    main()
