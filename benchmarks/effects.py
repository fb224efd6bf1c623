"""What makes a network easy to read: one thing varied at a time, several seeds, one figure.

    python benchmarks/effects.py --seeds 5 --out docs/figures/effects.svg            digits: an hour on one core
    python benchmarks/effects.py --seeds 5 --rows effects.jsonl --out effects.svg   a run that was stopped goes on
    python benchmarks/effects.py --only "weight decay" --seeds 1

The base is a two-layer network of width 1000 on 20 digits in ten classes, cross-entropy, weight decay 1e-3. A bar is
the median share of samples recovered at 0.1 % false positives, the dots are the seeds; a gray dash is what the same
solver recovers from the untrained network of the first seed, where nothing can be.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import vestige as vg
from vestige.core.rng import child
from vestige.data.dataset import binarize, sample
from vestige.report.document import save_figure
from vestige.report.style import BLUE, GRAY, ORANGE, as_svg, panels
from vestige.report.style import label as label_axes

BASE = {"n": 20, "width": 1000, "weight_decay": 1e-3, "loss": "cross_entropy", "depth": 1, "binary": False}
VARIED = {
    "weight decay": [("0", {"weight_decay": 0.0}), ("1e-4", {"weight_decay": 1e-4}), ("1e-3", {}),
                     ("1e-2", {"weight_decay": 1e-2})],
    "hidden neurons": [("100", {"width": 100}), ("300", {"width": 300}), ("1000", {}), ("3000", {"width": 3000})],
    "loss": [("cross-entropy", {}), ("squared", {"loss": "mse"}), ("logistic, two classes", {"loss": "logistic",
             "binary": True}), ("squared, two classes", {"loss": "mse", "binary": True})],
    "hidden layers": [("1", {}), ("2", {"depth": 2})],
    "samples": [("10", {"n": 10}), ("20", {}), ("40", {"n": 40}), ("100", {"n": 100})],
}  # fmt: skip


def recovered(spec: str, options: dict, seed: int) -> tuple[int, int, int | None]:
    """Samples that our solver recovers from a trained network, of how many, and at seed 0 from an untrained one."""
    data = vg.load_data(spec)
    if options["binary"]:
        data = binarize(data, list(range(1, int(data.y.max()) + 1, 2)))
    chosen, rest = sample(data, options["n"], generator=child(seed, "data"))
    space = vg.InputSpace(mean=chosen.x.float().mean(0))
    x, held_out = space.to_model(chosen.x.float()), space.to_model(rest.x[:2000].float())
    outputs = 1 if options["binary"] else int(data.y.max()) + 1
    widths = [x[0].numel(), *[options["width"]] * options["depth"], outputs]
    start = vg.nets.mlp(widths, first_init=1e-3, generator=child(seed, "init"), dtype=torch.float32)
    known = {"loss": options["loss"], "weight_decay": options["weight_decay"] or None}
    trained = vg.train_to_margin(start, x, chosen.y, loss=known["loss"], weight_decay=options["weight_decay"])
    counts = []
    for model in (trained.model, start)[: 1 if seed else 2]:
        found = vg.reconstruct_from_weights(
            model, tuple(x.shape[1:]), space=space, generator=child(seed, "attack"), **known
        )
        counts.append(vg.score_reconstruction(found, x, held_out=held_out, space=space).n_recovered)
    return counts[0], len(x), None if seed else counts[1]


def draw(results: dict[str, list], seeds: int, path: Path) -> None:
    """One panel for each thing varied."""
    columns = min(3, len(results))
    deep = -(-len(results) // columns)
    figure, drawn = panels(len(results), columns=columns, size=(2.2 * columns, 2.3 * deep))
    for place, (axes, (name, rows)) in enumerate(zip(drawn, results.items(), strict=True)):
        middle = [statistics.median(c for c, _, _ in runs) / runs[0][1] for _, runs in rows]
        axes.bar(range(len(rows)), middle, color=BLUE, width=0.7)
        for k, (_, runs) in enumerate(rows):
            axes.scatter([k] * len(runs), [c / n for c, n, _ in runs], s=9, color=ORANGE, zorder=3)
        untrained = [runs[0][2] / runs[0][1] for _, runs in rows]
        axes.scatter(range(len(rows)), untrained, s=40, color=GRAY, marker="_", zorder=4)
        names = [label for label, _ in rows]
        slanted = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 5 else {}
        axes.set_xticks(range(len(rows)), names, **slanted)
        axes.set_ylim(0, 1.04)
        label_axes(axes, name, "" if place % columns else "share recovered")
    title = f"Samples recovered, one thing varied; dots are {seeds} seeds, bars medians"
    save_figure(path, as_svg(figure, "effects"), title=title)


def main() -> None:
    """Print the medians over seeds, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=[*VARIED], action="append", help="just this; may be repeated")
    parser.add_argument("--out", type=Path, default=Path("effects.svg"))
    parser.add_argument("--rows", type=Path, help="a file of what each network gave: one that is there is not repeated")
    parser.add_argument("--quick", action="store_true", help="one seed and one network")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.only = 1, args.only or ["hidden neurons"]
    lines = args.rows.read_text().splitlines() if args.rows and args.rows.exists() else []
    console, results, cache = Console(), {}, dict(map(json.loads, lines))
    table = Table("varied", "value", "recovered (median)", "each seed", "untrained", title=args.data)
    for name in args.only or VARIED:
        results[name] = []
        for label, changed in VARIED[name][: 1 if args.quick else None]:
            options, runs = BASE | changed, []
            for seed in range(args.seeds):
                key, begun = json.dumps([args.data, options, seed]), time.perf_counter()
                if key not in cache:
                    cache[key] = recovered(args.data, options, seed)
                    if args.rows:
                        with args.rows.open("a") as file:
                            file.write(json.dumps([key, cache[key]]) + "\n")
                    console.print(f"{name} {label}, seed {seed}: {cache[key]} in {time.perf_counter() - begun:.0f} s")
                runs.append(cache[key])
            results[name].append((label, runs))
            each = " ".join(str(c) for c, _, _ in runs)
            middle = statistics.median(c for c, _, _ in runs)
            table.add_row(name, label, f"{middle:g} of {runs[0][1]}", each, str(runs[0][2]))
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    console.print(table)
    draw(results, args.seeds, args.out)


if __name__ == "__main__":
    main()
