"""What a row of the hygiene table is, and the small networks and samples that rows are made of."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import vestige as vg
from vestige.core.rng import child

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One public callable.

    Attributes:
        make: valid arguments by name, small enough for a fraction of a second; files go into the folder it is given.
        bad: what replaces some of them so that the call is refused; a sentence where nothing can be refused.
        call: how it is called; None for the function itself. For a class: what is done with it.
        steps: whether `on_step` is called at this size, so that a callback that raises can be tested.
        draws: whether the caller's own generator is drawn from, as torch's initializers do; elsewhere only its seed
            counts.
    """

    make: Callable[[Path], Arguments]
    bad: Arguments | str
    call: Callable[..., Any] | None = None
    steps: bool = True
    draws: bool = False


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=child(seed, "hygiene"), dtype=dtype)


def mixed(model: nn.Module, frozen: str = "") -> nn.Module:
    """In training mode but for one layer, with a gradient on every weight, and one weight frozen."""
    model.train()
    list(model.children())[0 if len(list(model.children())) == 1 else 1].eval()
    for name, p in model.named_parameters():
        p.grad = torch.full_like(p, 7.0)
        p.requires_grad_(name != frozen)
    return model


def classifier(outputs=3, inputs=6, norm=True):
    """A network with everything that has a mode, and 8 samples with the labels that it gives them."""
    draw = child(outputs, "classifier")
    middle = [nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(0.5)] if norm else [nn.ReLU()]
    model = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 10), *middle, nn.Linear(10, outputs)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=draw, dtype=torch.float64) / 2)
        x = torch.rand(8, inputs, generator=draw, dtype=torch.float64)
        logits = model.eval()(x)
        y = logits.argmax(1) if outputs > 1 else (logits[:, 0] > 0).long()
    return {"model": mixed(model), "x": x, "y": y}


@functools.cache
def _trained(outputs, depth):
    x, y = gaussian(6, 20) / 20**0.5, torch.arange(6) % max(outputs, 2)
    start = vg.nets.mlp([20, *[12] * depth, outputs], bias="none", first_init=1e-2, generator=child(1, "start"))
    loss = "logistic" if outputs == 1 else "cross_entropy"
    return vg.train_to_margin(start.double(), x, y, loss=loss, steps=1500).model, x, y


def trained(outputs=1, depth=1, frozen=""):
    """A ReLU network that separates 6 points in 20 dimensions."""
    model, x, y = _trained(outputs, depth)
    return {"model": mixed(copy.deepcopy(model), frozen), "x": x.clone(), "y": y.clone()}
