"""Small trained networks of the kinds that an audit meets, with the samples they were trained on and unseen ones.

Vectors without structure and around class means, images, embeddings of sentences; two classes and more; two layers and
three; trained to the end with weight decay and without, stopped early, or as anybody would: Adam or SGD in
mini-batches, with dropout, with random labels.
"""

import csv
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vestige as vg
from vestige.core.rng import child
from vestige.data.dataset import binarize, sample

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
    x: Tensor, y: Tensor, held_out: Tensor, seed: int, *, hidden=(64,), kind="adam", epochs=300, batch=16, drop=0.0,
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
    """Normal vectors with labels that say nothing of them, and unseen ones."""
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


def sentences(seed: int, n: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of true and false statements, standardized with those not trained on."""
    table = Path(os.environ.get("VESTIGE_DATA", "data")) / "truth" / "common_claim_true_false.csv"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    order = torch.randperm(len(rows), generator=child(seed, "sentences"))[:700].tolist()
    z = vg.nets.embed(vg.nets.sentence_encoder(), [rows[i]["statement"] for i in order]).float()
    y = torch.tensor([int(rows[i]["label"]) for i in order])
    chosen = torch.cat([(y == c).nonzero().flatten()[: n // 2] for c in (0, 1)])
    rest = torch.ones(len(y), dtype=torch.bool)
    rest[chosen] = False
    z = (z - z[rest].mean(0)) / (z[rest].std(0) + 1e-3)
    return z[chosen], y[chosen], z[rest]


def families(data: list[str], *, with_sentences: bool = False) -> dict[str, Callable[[int], Case]]:
    """Every family by name, as a function of the seed; those on digits and drawn vectors need no files."""
    made: dict[str, Callable[[int], Case]] = {
        "isotropic, 2 classes": lambda s: settled(*isotropic(16, 96, 2, s), s),
        "isotropic, 2 classes, n=20 d=128": lambda s: settled(*isotropic(20, 128, 2, s), s),
        "isotropic, 2 classes, no decay": lambda s: settled(*isotropic(16, 96, 2, s), s, weight_decay=0.0),
        "isotropic, 10 classes": lambda s: settled(*isotropic(20, 96, 10, s), s),
        "isotropic, 10 classes, deep": lambda s: settled(*isotropic(20, 96, 10, s), s, hidden=(150, 150)),
        "class means, far": lambda s: settled(*around_means(20, 96, 2, s, 3.0), s),
        "class means, near": lambda s: settled(*around_means(20, 96, 2, s, 1.0), s),
        "class means, 5 classes": lambda s: settled(*around_means(20, 96, 5, s, 1.0), s),
    }
    for spec in ["digits", *data]:
        made |= image_families(spec)
    if with_sentences:
        made["sentences, true or false"] = lambda s: settled(*sentences(s), s)
        made["sentences, true or false, Adam"] = lambda s: ordinary(*sentences(s), s)
    return made


def image_families(spec: str) -> dict[str, Callable[[int], Case]]:
    """Those on one set of images."""

    def of(n: int, positive: tuple[int, ...] = (), hidden=(300,), **options) -> Callable[[int], Case]:
        def make(seed: int) -> Case:
            x, y, held_out, space = images(spec, n, seed, positive)
            return settled(x, y, held_out, seed, space=space, hidden=hidden, **options)

        return make

    def plain(n: int, labels: bool = True, **options) -> Callable[[int], Case]:
        def make(seed: int) -> Case:
            x, y, held_out, space = images(spec, n, seed)
            y = y if labels else y[torch.randperm(len(y), generator=child(seed, "labels"))]
            return ordinary(x, y, held_out, seed, space=space, **options)

        return make

    name, two = spec.removeprefix("npz:").removesuffix(".npz").split("/")[-1], (0, 1, 8, 9)
    return {
        f"{name}, 10 classes": of(16),
        f"{name}, 10 classes, no decay": of(16, weight_decay=0.0),
        f"{name}, 10 classes, deep": of(16, hidden=(150, 150)),
        f"{name}, 2 classes": of(16, two),
        f"{name}, 2 classes, no decay": of(16, two, weight_decay=0.0),
        f"{name}, 2 classes, deep": of(16, two, hidden=(150, 150), weight_decay=0.0),
        f"{name}, stopped early": of(16, steps=300),
        f"{name}, Adam": plain(40),
        f"{name}, Adam, one batch": plain(20, epochs=400, batch=20),
        f"{name}, Adam, decay": plain(20, weight_decay=1e-3),
        f"{name}, Adam, deep": plain(20, hidden=(64, 64)),
        f"{name}, Adam, dropout": plain(40, drop=0.3, epochs=100),
        f"{name}, Adam, random labels": plain(40, labels=False),
        f"{name}, SGD, decay": plain(16, kind="sgd", weight_decay=1e-3, epochs=1000),
    }
