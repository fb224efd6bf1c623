"""What vestige states of models it did not choose, against what is right, by family.

    python benchmarks/false_claims.py --quick                                        two seeds of every fast family
    python benchmarks/false_claims.py --seeds 10 --data npz:mnist.npz npz:cifar10.npz --cache claims

Small networks of each family are trained and attacked without their data, as `vestige audit` does it. A sample is right
where its similarity to a training sample is above 0.8 and above that to each of 2,000 held-out inputs of the same kind.
The table has a row for each family: samples verified and how many of them are right, samples stated at a confidence of
0.9 and of 0.5 or more and how many of them are right, and the mean of confidence minus right where anything is stated.
With --cache finished models are kept as one JSON file each, and a killed run goes on after the last one.
"""

import argparse
import csv
import itertools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import vestige as vg
from vestige.core.rng import child
from vestige.data.dataset import binarize, sample

NEAR = 0.8  # similarity from which a sample may be right
HELD_OUT = 2000


@dataclass(frozen=True)
class Case:
    """A trained network, its samples and unseen ones in model space, and what the attack is told of its training."""

    model: nn.Module
    x: Tensor
    held_out: Tensor
    loss: str
    weight_decay: float | None
    space: vg.InputSpace | None = None


def settled(
    x: Tensor, y: Tensor, held_out: Tensor, seed: int, *, hidden=(400,), weight_decay=1e-3, space=None, **training
) -> Case:
    """Trained to the end as `vestige train` does it; as many outputs as classes, one for two."""
    classes = int(y.max()) + 1
    outputs, loss = (1, "logistic") if classes == 2 else (classes, "cross_entropy")
    widths = [x[0].numel(), *hidden, outputs]
    start = vg.nets.mlp(widths, first_init=1e-3, generator=child(seed, "init"), dtype=torch.float32)
    model = vg.train_to_margin(start, x, y, loss=loss, weight_decay=weight_decay, **training).model
    return Case(model, x, held_out, loss, weight_decay, space)


def ordinary(
    x: Tensor, y: Tensor, held_out: Tensor, seed: int, *, hidden=(256,), kind="adam", epochs=300, batch=16, drop=0.0,
    weight_decay=0.0, space=None,
) -> Case:  # fmt: skip
    """Trained as anybody would: default initialization, mini-batches, Adam or SGD, cross-entropy."""
    widths = [x[0].numel(), *hidden, int(y.max()) + 1]
    layers: list[nn.Module] = [nn.Flatten()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for k, (a, b) in enumerate(itertools.pairwise(widths)):
            hidden_layer = k + 2 < len(widths)
            layers += [nn.Linear(a, b, dtype=x.dtype)]
            layers += [nn.ReLU(), nn.Dropout(drop)][: 1 + (drop > 0)] if hidden_layer else []
        model = nn.Sequential(*layers)
        rate, make = (1e-3, torch.optim.Adam) if kind == "adam" else (0.05, torch.optim.SGD)
        optimizer = make(model.parameters(), rate, weight_decay=weight_decay)
        for _ in range(epochs):
            for part in torch.randperm(len(x)).split(batch):
                optimizer.zero_grad()
                F.cross_entropy(model(x[part]), y[part]).backward()
                optimizer.step()
    return Case(model.eval(), x, held_out, "cross_entropy", weight_decay or None, space)


def isotropic(n: int, d: int, classes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Normal vectors with labels that say nothing of them, and as many again as are held out."""
    draw = torch.randn(n + HELD_OUT, d, generator=child(seed, "isotropic"), dtype=torch.float32)
    return draw[:n], torch.arange(n) % classes, draw[n:]


def around_means(n: int, d: int, classes: int, seed: int, size: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normal vectors around class means that are `size` times normal themselves."""
    g = child(seed, "means")
    mean = size * torch.randn(classes, d, generator=g, dtype=torch.float32)
    y = torch.arange(n + HELD_OUT) % classes
    x = mean[y] + 0.5 * torch.randn(len(y), d, generator=g, dtype=torch.float32)
    return x[:n], y[:n], x[n:]


def images(spec: str, n: int, seed: int, positive: tuple[int, ...] = ()):
    """Images around their mean, their classes, unseen ones, and the space."""
    data = vg.load_data(spec)
    chosen, rest = sample(binarize(data, list(positive)) if positive else data, n, generator=child(seed, "data"))
    space = vg.InputSpace(mean=chosen.x.float().mean(0))
    return space.to_model(chosen.x.float()), chosen.y, space.to_model(rest.x[:HELD_OUT].float()), space


def sentences(seed: int, n: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of true and false statements, standardized with those not trained on."""
    table = Path(os.environ.get("VESTIGE_DATA", "data")) / "truth" / "common_claim_true_false.csv"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    order = torch.randperm(len(rows), generator=child(0, "sentences"))[:700].tolist()
    z = vg.nets.embed(vg.nets.sentence_encoder(), [rows[i]["statement"] for i in order]).float()
    y = torch.tensor([int(rows[i]["label"]) for i in order])
    chosen = torch.cat([(y == c).nonzero().flatten()[seed * 30 : seed * 30 + n // 2] for c in (0, 1)])
    rest = torch.ones(len(y), dtype=torch.bool)
    rest[chosen] = False
    z = (z - z[rest].mean(0)) / (z[rest].std(0) + 1e-3)
    return z[chosen], y[chosen], z[rest]


def shuffled(x: Tensor, y: Tensor, held_out: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same with random labels."""
    return x, y[torch.randperm(len(y), generator=child(seed, "labels"))], held_out


def families(data: list[str]) -> dict[str, Callable[[int], Case]]:
    """Every family by name, as a function of the seed; those on digits and drawn vectors need no files."""
    made: dict[str, Callable[[int], Case]] = {
        "isotropic, 2 classes": lambda s: settled(*isotropic(16, 96, 2, s), s),
        "isotropic, 2 classes, n=20 d=128": lambda s: settled(*isotropic(20, 128, 2, s), s),
        "isotropic, 10 classes": lambda s: settled(*isotropic(20, 96, 10, s), s),
        "class means, far": lambda s: settled(*around_means(20, 96, 2, s, 3.0), s),
        "class means, near": lambda s: settled(*around_means(20, 96, 2, s, 1.0), s),
        "class means, 5 classes": lambda s: settled(*around_means(20, 96, 5, s, 1.0), s),
    }
    for spec in ["digits", *data]:
        made |= image_families(spec)
    return made


def image_families(spec: str) -> dict[str, Callable[[int], Case]]:
    """Those on one set of images."""

    def of(n: int, positive: tuple[int, ...] = (), **options) -> Callable[[int], Case]:
        def make(seed: int) -> Case:
            x, y, held_out, space = images(spec, n, seed, positive)
            return settled(x, y, held_out, seed, space=space, **options)

        return make

    def plain(n: int, labels: bool = True, **options) -> Callable[[int], Case]:
        def make(seed: int) -> Case:
            x, y, held_out, space = images(spec, n, seed)
            x, y, held_out = (x, y, held_out) if labels else shuffled(x, y, held_out, seed)
            return ordinary(x, y, held_out, seed, space=space, **options)

        return make

    name, two = spec.removeprefix("npz:").removesuffix(".npz").split("/")[-1], (0, 1, 8, 9)
    return {
        f"{name}, 10 classes": of(20),
        f"{name}, 10 classes, no decay": of(20, weight_decay=0.0),
        f"{name}, 10 classes, deep": of(20, hidden=(300, 300)),
        f"{name}, 2 classes": of(20, two),
        f"{name}, 2 classes, no decay": of(20, two, weight_decay=0.0),
        f"{name}, 2 classes, deep": of(20, two, hidden=(300, 300), weight_decay=0.0),
        f"{name}, stopped early": of(20, steps=300),
        f"{name}, Adam": plain(60),
        f"{name}, Adam, n=20": plain(20, epochs=400, batch=20),
        f"{name}, Adam with decay": plain(20, weight_decay=1e-3),
        f"{name}, Adam, deep": plain(20, hidden=(128, 128)),
        f"{name}, Adam, dropout": plain(60, drop=0.3, epochs=100),
        f"{name}, Adam, random labels": plain(60, labels=False),
        f"{name}, SGD in batches": plain(20, kind="sgd", weight_decay=1e-3, epochs=1000),
    }


def attacked(case: Case, seed: int) -> dict[str, list[float] | list[bool]]:
    """Confidence, verification and rightness of every sample that is shown."""
    found = vg.reconstruct_from_weights(
        case.model,
        tuple(case.x.shape[1:]),
        loss=case.loss,
        weight_decay=case.weight_decay,
        space=case.space,
        generator=child(seed, "attack"),
    )
    unit = F.normalize(found.samples.flatten(1).double(), dim=1)
    own, other = (unit @ F.normalize(part.flatten(1).double(), dim=1).T for part in (case.x, case.held_out))
    hit = (own.amax(1) > NEAR) & (own.amax(1) > other.amax(1))
    return {
        "confidence": found.confidence.tolist(),
        "verified": found.verified.tolist(),
        "right": hit.tolist(),
        "recovered": [int(((own > NEAR) & (own > other.amax(1)[:, None])).any(0).sum())],
    }


def rows_of(name: str, make: Callable[[int], Case], seeds: range, cache: Path | None) -> list[dict]:
    """The models of one family."""
    rows = []
    for seed in seeds:
        path = None if cache is None else cache / f"{name.replace(', ', '-').replace(' ', '_')}-{seed}.json"
        if path is not None and path.exists():
            rows.append(json.loads(path.read_text()))
            continue
        begun = time.perf_counter()
        rows.append(attacked(make(seed), seed))
        print(f"{name}, seed {seed}: {time.perf_counter() - begun:.0f} s", flush=True)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(rows[-1]))
    return rows


def table_of(found: dict[str, list[dict]]) -> Table:
    """One row a family and one for all."""
    table = Table("family", "models", "verified", "right", ">= .9", "right", ">= .5", "right", "stated - right")
    everything = [row for rows in found.values() for row in rows]
    for name, rows in [*found.items(), ("all", everything)]:
        stated = torch.tensor([v for row in rows for v in row["confidence"]])
        sure = torch.tensor([v for row in rows for v in row["verified"]], dtype=torch.bool)
        hit = torch.tensor([v for row in rows for v in row["right"]], dtype=torch.bool)
        cells = [len(rows)]
        for part in (sure, stated >= 0.9, stated >= 0.5):
            cells += [int(part.sum()), int((part & hit).sum())]
        some = stated > 0
        gap = float((stated[some] - hit[some].double()).mean()) if some.any() else 0.0
        table.add_row(name, *map(str, cells), f"{gap:+.2f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=[], help="image sets beside digits, as load_data takes them")
    parser.add_argument("--sentences", action="store_true", help="heads on embeddings too; needs the extra text")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="families whose name contains one of these")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--quick", action="store_true", help="two seeds")
    args = parser.parse_args()
    seeds = range(args.first_seed, args.first_seed + (2 if args.quick else args.seeds))
    chosen = families(args.data)
    if args.sentences:
        chosen["sentences, true or false"] = lambda s: settled(*sentences(s), s, hidden=(500,))
    wanted = {n: make for n, make in chosen.items() if not args.only or any(part in n for part in args.only)}
    found = {name: rows_of(name, make, seeds, args.cache) for name, make in wanted.items()}
    Console(width=140).print(table_of(found))


if __name__ == "__main__":
    main()
