"""A retained sample that resembles the forgotten one: the flag of harm says what retraining says."""

import pytest
import torch
from torch import nn

import vestige as vg
from vestige.unlearning.measures import is_farther, one_minus_cosine

SIZES = {"linear": [150, 1], "two layers": [150, 40, 1]}


def twins(kind, cosine, seed):
    """The network of eight samples, the one retrained without the first, and the samples."""
    x = torch.randn(8, 150, generator=torch.Generator().manual_seed(seed)) / 150**0.5
    x[2] = cosine * x[0] + (1 - cosine**2) ** 0.5 * x[2]
    y, draw = torch.arange(8) % 2, torch.Generator().manual_seed(seed)
    start = vg.nets.mlp(SIZES[kind], bias="none", first_init=1e-4, generator=draw, dtype=torch.float64)
    whole, rest = (
        vg.train_to_margin(start, a, b, loss="logistic", tol_loss=1e-11).model for a, b in ((x, y), (x[1:], y[1:]))
    )
    return whole, rest, x, y


def check(kind, cosine, seed):
    model, retrained, x, y = twins(kind, cosine, seed)
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for step in ("clarke", "resolve"):
        found = vg.unlearn(model, x, y, [0], loss="logistic", step=step)
        harm = is_farther(found.model, model, retrained, x, y, torch.arange(1, 8), layers)
        assert found.certificate.harmful is harm, (kind, cosine, seed, step)
        assert not (harm and found.certificate.provable)
    assert not found.certificate.harmful
    away = [one_minus_cosine(net, retrained, layers) for net in (found.model, model)]
    assert away[0] <= away[1] + 1e-6  # no farther than doing nothing


def test_a_twin_of_a_linear_network():
    check("linear", 0.9, 1)


@pytest.mark.slow
@pytest.mark.parametrize("cosine", [0.3, 0.5, 0.7, 0.8, 0.9, 0.97, 0.999])
@pytest.mark.parametrize("kind", SIZES)
def test_the_flag_agrees_with_retraining(kind, cosine):
    for seed in (1, 2, 11):
        check(kind, cosine, seed)
