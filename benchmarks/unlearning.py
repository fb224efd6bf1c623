"""Unlearning against retraining: every method, the V-curve of the step, and what an attack reads back afterwards.

    python benchmarks/unlearning.py --quick                                  digits, one seed: about a minute
    python benchmarks/unlearning.py methods --data npz:mnist.npz             two and three layers, 200 samples
    python benchmarks/unlearning.py methods --nets conv ten --n 100          other networks: see NETS
    python benchmarks/unlearning.py text --texts FOLDER                      a linear probe on sentence embeddings
    python benchmarks/unlearning.py curve --figure curve.svg                 epsilon against the fraction of the step
    python benchmarks/unlearning.py loop                                     attack, forget, attack again: 20 digits

Numbers are means over the seeds with their standard deviation. Times are CPU seconds of this process.
"""

import argparse
import importlib.util
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import vestige as vg
from vestige.core.rng import child
from vestige.data.texts import load_texts
from vestige.report.document import save_figure
from vestige.report.style import BLUE, ORANGE, as_svg, blank_axes, legend

FRACTIONS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0)
CONSOLE = Console(width=170)


@dataclass(frozen=True)
class Problem:
    """A trained network, its data, what is to be forgotten, and how it was trained."""

    model: nn.Module
    start: nn.Module
    other: nn.Module
    x: Tensor
    y: Tensor
    forget: list[int]
    held_out: tuple[Tensor, Tensor]
    loss: str
    weight_decay: float


def cpu(work: Callable[[], nn.Module]) -> tuple[nn.Module, float]:
    begun = time.process_time()
    found = work()
    return found, time.process_time() - begun


def methods(p: Problem, seed: int) -> dict[str, Callable[[], nn.Module]]:
    """Each method at its defaults, with what it must know of the training."""
    loss, decay, data = {"loss": p.loss}, {"weight_decay": p.weight_decay}, (p.model, p.x, p.y, p.forget)
    ours = {**loss, "weight_decay": p.weight_decay, "certify": False}
    random = {"generator": child(seed, "unlearning")}
    return {
        "retrain": lambda: vg.unlearning.retrain(*data, **loss, **decay, start=p.start).model,
        "retrain, another start": lambda: vg.unlearning.retrain(*data, **loss, **decay, start=p.other).model,
        "nothing": lambda: p.model,
        "resolve": lambda: vg.unlearn(*data, **ours).model,
        "terms, Clarke": lambda: vg.unlearn(*data, **ours, step="clarke").model,
        "terms, 300 training steps": lambda: (
            vg.unlearning.fine_tune(vg.unlearn(*data, **ours, step="clarke").model, *data[1:], **loss, **decay).model
        ),
        "terms, 0/1 derivative": lambda: vg.unlearn(*data, **ours, step="kkt").model,
        "ascent, beta set by hand": lambda: vg.unlearn(*data, **ours, step=1e3).model,
        "fine-tune": lambda: vg.unlearning.fine_tune(*data, **loss, **decay).model,
        "fine-tune, 1000 steps": lambda: vg.unlearning.fine_tune(*data, **loss, **decay, steps=1000).model,
        "NegGrad+": lambda: vg.unlearning.neggrad_plus(*data, **loss).model,
        "random labels": lambda: vg.unlearning.random_labels(*data, **loss, **random).model,
        "SalUn": lambda: vg.unlearning.salun(*data, **loss, **random).model,
        "Newton step": lambda: vg.unlearning.newton_step(*data, **loss, **decay).model,
        "SCRUB": lambda: vg.unlearning.scrub(*data, **loss).model,
        "minimum norm": lambda: vg.unlearning.minimum_norm(*data, **loss).model,
    }


def measure(p: Problem, seed: int, only: list[str] | None) -> dict[str, list[float]]:
    """One row of numbers for each method; the certificate too where all are asked for."""
    step = None if only else vg.unlearn(p.model, p.x, p.y, p.forget, loss=p.loss, weight_decay=p.weight_decay)
    if step is not None and step.certificate is not None:
        CONSOLE.print(
            f"seed {seed}: {step.outcome}, shared {step.shared:.2f}. {step.certificate.verdict}", soft_wrap=True
        )
    rows, retrained, slow = {}, p.model, 1.0
    for name, work in methods(p, seed).items():
        if only and name not in ("retrain", *only):
            continue
        model, seconds = cpu(work)
        if name == "retrain":
            retrained, slow = model, seconds
        found = vg.unlearning.evaluate_unlearning(
            model, p.x, p.y, p.forget, retrained=retrained, held_out=p.held_out, seconds=(seconds, slow)
        )
        parts = (found.forget_accuracy, found.retain_accuracy, found.test_accuracy)
        accuracies = [part.unlearned for part in parts]
        rest = [found.membership.unlearned, found.forget_margin.unlearned, found.tug_of_war, found.agreement]
        rest += [found.output_distance.unlearned]
        rows[name] = [*accuracies, *rest, found.weight_cosine, seconds, seconds / slow]
    return rows


COLUMNS = (
    "forget acc",
    "retain acc",
    "test acc",
    "MIA AUC",
    "margin",
    "tug of war",
    "agree",
    "outputs off",
    "cosine",
    "CPU s",
    "/ retrain",
)


def show(title: str, measured: list[dict[str, list[float]]]) -> None:
    table = Table(title=f"{title}, {len(measured)} seeds; the first row is what the others should match")
    for column in ("method", *COLUMNS):
        table.add_column(column, justify="left" if column == "method" else "right")
    for name in measured[0]:
        values = torch.tensor([row[name] for row in measured])
        spread = values.std(0) if len(values) > 1 else torch.zeros(values.shape[1])
        cells = [f"{m:.2f}±{s:.2f}" for m, s in zip(values.mean(0).tolist(), spread.tolist(), strict=True)]
        table.add_row(name, *cells)
    CONSOLE.print(table)


NETS = ("2-layer", "3-layer", "10-class", "conv")


def network(kind: str, shape: tuple[int, ...], width: int, generator: torch.Generator) -> nn.Module:
    """A start of one of NETS: fully connected of this width, or one convolution with 8 channels."""
    small = {"first_init": 1e-3, "generator": generator}
    if kind == "conv":
        return vg.nets.cnn(shape, [vg.nets.Conv(8, 5, stride=2), 1], **small)
    hidden = [width] * (2 if kind == "3-layer" else 1)
    return vg.nets.mlp([math.prod(shape), *hidden, 10 if kind == "10-class" else 1], **small)


def image_problem(data: str, kind: str, n: int, forget: int, width: int, seed: int) -> Problem:
    """Odd or even, or the ten classes; n samples, trained to the margin."""
    dataset = vg.load_data(data)
    task = dataset if kind == "10-class" else vg.data.binarize(dataset, [1, 3, 5, 7, 9])
    chosen, rest = vg.data.sample(task, n, generator=child(seed, "data"))
    x, mean = vg.data.center(chosen)
    unseen = rest.take(torch.arange(min(2000, len(rest))))
    shape = tuple(x.shape[1:])
    start, other = (network(kind, shape, width, child(seed, name)) for name in ("init", "other"))
    loss = "cross_entropy" if kind == "10-class" else "logistic"
    model = vg.train_to_margin(start, x, chosen.y, loss=loss).model
    return Problem(model, start, other, x, chosen.y, list(range(forget)), (unseen.x - mean, unseen.y), loss, 0.0)


def text_problem(embedded: vg.DataSet, n: int, forget: int, seed: int) -> Problem:
    chosen, rest = vg.data.sample(embedded, n, generator=child(seed, "data"))
    x, mean = vg.data.center(chosen)
    start = nn.Linear(x.shape[1], 1, bias=False)
    nn.init.zeros_(start.weight)
    model = vg.train_to_margin(start, x, chosen.y, loss="logistic").model
    return Problem(model, start, start, x, chosen.y, list(range(forget)), (rest.x - mean, rest.y), "logistic", 0.0)


def run_methods(
    data: str, nets: list[str], seeds: range, n: int, forget: int, width: int, only: list[str] | None
) -> None:
    for kind in nets:
        found = [measure(image_problem(data, kind, n, forget, width, seed), seed, only) for seed in seeds]
        show(f"{data.split('/')[-1]}, {kind}, width {width}, n = {n}, {forget} forgotten", found)


def run_text(texts: Path | None, seeds: range, n: int, forget: int, only: list[str] | None) -> None:
    if importlib.util.find_spec("transformers") is None or texts is None:
        CONSOLE.print("text: skipped; it needs the extra `text` and --texts FOLDER with one sub-folder a class")
        return
    sentences, y, classes = load_texts(texts)
    x = vg.nets.embed(vg.nets.sentence_encoder(tokens=64), sentences)
    embedded = vg.DataSet(name="embeddings", x=x, y=y, classes=classes, space=vg.InputSpace(-math.inf, math.inf))
    show("linear probe", [measure(text_problem(embedded, n, forget, seed), seed, only) for seed in seeds])


def margin_network(seed: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Two layers with a fixed output layer on ten nearly orthogonal points, in float64."""
    draw = torch.Generator().manual_seed(seed)
    x, y = torch.randn(10, 400, generator=draw, dtype=torch.float64) / 20, torch.arange(10) % 2
    net = vg.nets.mlp([400, 100, 1], bias="none", first_init=1e-4, generator=draw, dtype=torch.float64)
    output = net.get_parameter("3.weight").requires_grad_(False)
    output.copy_((torch.randint(0, 2, (1, 100), generator=draw) * 2.0 - 1) / 10)
    return vg.train_to_margin(net, x, y, loss="logistic", tol_loss=1e-10).model, x, y


def run_curve(seeds: range, figure: Path | None) -> None:
    """Relative epsilon with respect to the retained samples, against the fraction of the step that is taken."""
    curves: dict[str, list[list[float]]] = {"clarke": [], "kkt": []}
    for seed in seeds:
        model, x, y = margin_network(seed)
        for rule, kept in curves.items():
            found = [
                vg.unlearn(model, x, y, [0], loss="logistic", step=rule, fraction=f).certificate for f in FRACTIONS
            ]
            kept.append([c.epsilon for c in found if c is not None])
    table = Table(title=f"relative epsilon against the fraction of the step, sample 0, {len(seeds)} seeds")
    for column in ("step", *map(str, FRACTIONS)):
        table.add_column(column, justify="right")
    for rule, kept in curves.items():
        values = torch.tensor(kept)
        table.add_row(rule, *(f"{m:.3f}" for m in values.mean(0).tolist()))
    CONSOLE.print(table)
    if figure is not None:
        draw_curve(curves, figure)


def draw_curve(curves: dict[str, list[list[float]]], path: Path) -> None:
    figure, axes = blank_axes("fraction of the calibrated step", "relative epsilon, retained samples")
    for (rule, kept), color in zip(curves.items(), (BLUE, ORANGE), strict=True):
        name = "best derivatives at kinks" if rule == "clarke" else "derivatives 0 and 1"
        values = torch.tensor(kept)
        axes.plot(FRACTIONS, values.mean(0), color=color, linewidth=1.6, label=name)
        axes.fill_between(FRACTIONS, values.amin(0), values.amax(0), color=color, alpha=0.18, linewidth=0)
    axes.set_ylim(0, None)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    legend(axes, crowded=True)
    save_figure(path, as_svg(figure, "unlearning"), title="The certificate is a V around the calibrated step")
    CONSOLE.print(f"wrote {path}")


def run_loop(seeds: range, forget: int, decay: float, effort: dict[str, int | None]) -> None:
    """20 digits in ten classes: the samples that leak most are forgotten, and the same attack is made again."""
    rows: dict[str, list[list[float]]] = {}
    for seed in seeds:
        for name, values in loop(seed, forget, decay, effort).items():
            rows.setdefault(name, []).append(values)
            CONSOLE.print(f"seed {seed} decay {decay:g} {name}: {[round(v, 3) for v in values]}", soft_wrap=True)
    table = Table(
        title=f"20 digits, weight decay {decay:g}, {forget} forgotten, {len(seeds)} seeds: share recovered, accuracy"
    )
    for column in ("network", "forgotten recovered", "kept recovered", "forget acc", "retain acc", "test acc", "CPU s"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name, kept in rows.items():
        values = torch.tensor(kept)
        spread = values.std(0) if len(values) > 1 else torch.zeros(values.shape[1])
        cells = [f"{m:.3f}±{s:.3f}" for m, s in zip(values.mean(0).tolist(), spread.tolist(), strict=True)]
        table.add_row(name, *cells)
    CONSOLE.print(table)


def loop(seed: int, forget: int, decay: float, effort: dict[str, int | None]) -> dict[str, list[float]]:
    digits = vg.load_data("digits")
    chosen, rest = vg.data.sample(digits, 20, generator=child(seed, "train", "data"))
    x, mean = vg.data.center(chosen)
    start = vg.nets.mlp([64, 1000, 10], first_init=1e-3, generator=child(seed, "train", "init"))
    train = {"loss": "cross_entropy", "weight_decay": decay}
    model = vg.train_to_margin(start, x, chosen.y, **train).model
    space = vg.InputSpace(0.0, 1.0, mean)

    def recovered(net: nn.Module) -> tuple[Tensor, Tensor]:
        search = {"loss": "cross_entropy", "weight_decay": decay or None, "space": space, **effort}
        found = vg.reconstruct_from_weights(net, (1, 8, 8), **search, generator=child(seed, "reconstruct"))
        score = vg.score_reconstruction(found, x, held_out=space.to_model(rest.x), space=space)
        return score.recovered, score.similarity

    before, similarity = recovered(model)
    order = similarity.argsort(descending=True)
    index = order[before[order]][:forget].sort().values.tolist()
    kept = [i for i in range(20) if i not in index]
    data, ours = (model, x, chosen.y, index), {"loss": "cross_entropy", "weight_decay": decay or None, "certify": False}
    ours["step"] = "clarke"
    stepped, took = cpu(lambda: vg.unlearn(*data, **ours).model)
    networks: dict[str, tuple[nn.Module, float]] = {
        "untouched": (model, 0.0),
        "retrained": cpu(lambda: vg.unlearning.retrain(*data, **train, start=start).model),
        "step": (stepped, took),
        "fine-tuned 1000": cpu(lambda: vg.unlearning.fine_tune(*data, **train, steps=1000, tol_loss=1e-6).model),
        "step + 1000": cpu(
            lambda: vg.unlearning.fine_tune(stepped, x, chosen.y, index, **train, steps=1000, tol_loss=1e-6).model
        ),
    }
    rows = {}
    for name, (net, seconds) in networks.items():
        got = before if net is model else recovered(net)[0]
        with torch.no_grad():
            right = net(x).argmax(1) == chosen.y
            test = (net(space.to_model(rest.x)).argmax(1) == rest.y).double().mean().item()
        shares = [part.double().mean().item() for part in (got[index], got[kept], right[index], right[kept])]
        rows[name] = [*shares, test, seconds + (took if name.startswith("step +") else 0.0)]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", nargs="?", choices=("all", "methods", "text", "curve", "loop"), default="all")
    parser.add_argument("--data", default="digits", help="digits or npz:PATH with ten classes")
    parser.add_argument("--texts", type=Path, help="a folder with two sub-folders of texts, one a class")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS[:2])
    parser.add_argument("--only", nargs="+", help="methods by name, beside retraining")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--forget", type=int, help="how many samples; default 10, in the loop 5")
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--weight-decay", type=float, default=1e-3, help="of the loop")
    parser.add_argument("--restarts", type=int, help="of the loop's attack; default: the method's own, 6")
    parser.add_argument(
        "--steps", type=int, help="of each search of the loop's attack; default: the method's own, 1500"
    )
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--quick", action="store_true", help="one seed, 40 digits, a short attack")
    options = parser.parse_args()
    torch.set_num_threads(1)
    quick, part = options.quick, options.part
    effort = {"restarts": 1, "steps": 300} if quick else {"restarts": options.restarts, "steps": options.steps}
    seeds, n = (range(1), 40) if quick else (range(options.first, options.first + options.seeds), options.n)
    if part in ("all", "methods"):
        forget = options.forget or (4 if quick else 10)
        run_methods(options.data, options.nets, seeds, n, forget, options.width, options.only)
    if part in ("all", "text"):
        run_text(options.texts, seeds, n, options.forget or 10, options.only)
    if part in ("all", "curve"):
        run_curve(seeds, options.figure)
    if part in ("all", "loop"):
        run_loop(seeds, options.forget or 5, options.weight_decay, effort)


if __name__ == "__main__":
    main()
