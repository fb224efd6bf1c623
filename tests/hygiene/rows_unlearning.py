"""Rows of `unlearning`."""

import torch
from hygiene_rows import Row, classifier, gaussian, mixed, trained

import vestige as vg


def request(_):
    return trained(frozen="3.weight") | {"forget": [1, 4], "loss": "logistic"}


def stepped(_):
    given = request(_)
    return given, mixed(vg.unlearn(**given, certify=False).model)


def certified(_):
    given, model = stepped(_)
    return {"model": model, "original": given["model"], **{k: given[k] for k in ("x", "y", "forget")}}


def compared(_):
    given, model = stepped(_)
    held_out = (gaussian(8, 20, seed=5), torch.arange(8) % 2)
    same = {"retrained": trained()["model"], "original": given["model"], "held_out": held_out}
    return {"model": model, **same, **{k: given[k] for k in ("x", "y", "forget")}}


def few(**options):
    return lambda _: request(_) | options


def random(**options):
    """A network with BatchNorm and Dropout in training mode."""
    return lambda _: classifier() | {"forget": [1, 4], "loss": "cross_entropy"} | options


NOBODY, EVERYBODY = {"forget": []}, {"forget": torch.ones(6, dtype=torch.bool)}
ROWS = {
    "unlearning.unlearn": Row(request, {"loss": "mse"}),
    "unlearning.retrain": Row(few(steps=20), NOBODY),
    "unlearning.fine_tune": Row(few(steps=20), EVERYBODY),
    "unlearning.neggrad_plus": Row(random(steps=3), NOBODY),
    "unlearning.random_labels": Row(random(steps=3, generator=torch.Generator()), NOBODY),
    "unlearning.salun": Row(random(steps=3, generator=torch.Generator()), {"share": 0.0}),
    "unlearning.scrub": Row(random(steps=3), EVERYBODY),
    "unlearning.minimum_norm": Row(random(rounds=2, steps=3), {"fraction": 0.0}),
    "unlearning.newton_step": Row(random(steps=3), NOBODY),
    "unlearning.unlearning_certificate": Row(certified, NOBODY),
    "unlearning.evaluate_unlearning": Row(compared, {"held_out": (gaussian(0, 20), torch.arange(0))}),
}
