"""Networks that an auditor may hand over and the theory does not cover: a right answer, or one clear sentence."""

import pytest
import torch
from torch import nn

from vestige.core.metrics import cosine
from vestige.core.rng import child
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin
from vestige.reconstruct.weights.from_weights import reconstruct_from_weights

D, N, CLASSES = 12, 10, 3


def drawn(n=N):
    return torch.randn(n, D, generator=child(0, "odd"), dtype=torch.float64), torch.arange(n) % CLASSES


def trained(x, y, *, width=100, outputs=CLASSES, loss="cross_entropy"):
    start = mlp([D, width, outputs], first_init=1e-3, generator=child(0, "init"), dtype=torch.float64)
    return train_to_margin(start, x, y, loss=loss, weight_decay=1e-3, steps=1500).model


def plain(activation=nn.ReLU):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(D, 20), activation(), nn.Linear(20, CLASSES)).double()


def attacked(model, **options):
    return reconstruct_from_weights(model, (D,), steps=120, restarts=2, generator=child(1), **options)


def frozen():
    model = plain()
    model[0].requires_grad_(False)
    return model


@pytest.mark.parametrize(
    "model", [plain(nn.Tanh), plain(nn.Identity), nn.Linear(D, CLASSES).double(), frozen()],
    ids=["tanh", "no activation", "one layer", "frozen first layer"],
)  # fmt: skip
def test_where_there_is_no_first_relu_layer_to_read_nothing_is_verified_and_the_warning_says_why(model):
    found = attacked(model)
    assert not found.verified.any() and found.identifiable == 0
    assert "Not a ReLU MLP with a trained first layer" in found.warnings[0]


def test_a_quantized_first_layer_tells_no_number_of_samples():
    """Rounding to eight bits is noise in every direction, well above what training left there."""
    model = trained(*drawn())
    assert attacked(model).identifiable == N
    first = next(m for m in model.modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        unit = first.weight.abs().max() / 127
        first.weight.copy_((first.weight / unit).round() * unit)
    found = attacked(model)
    assert not found.verified.any() and "singular values" in found.warnings[0]


def test_fewer_neurons_than_samples_tell_nothing():
    found = attacked(trained(*drawn(30), width=8))
    assert "different neurons" in found.doubt and not found.confidence.any() and not found.verified.any()


@pytest.mark.parametrize(("outputs", "loss"), [(CLASSES, "cross_entropy"), (1, "logistic")])
def test_one_class_alone_tells_nothing(outputs, loss):
    x, y = drawn()
    found = attacked(trained(x, torch.zeros_like(y), outputs=outputs, loss=loss), loss=loss)
    assert found.doubt and not found.confidence.any() and not found.verified.any()


def test_copies_of_a_sample_are_one_sample():
    """The samples ten times three are the network of the ten."""
    x, y = drawn()
    found = attacked(trained(x.repeat(3, 1), y.repeat(3)))
    assert found.identifiable == N and len(found.samples) <= 2 * N


@pytest.mark.parametrize(("outputs", "loss"), [(CLASSES, "cross_entropy"), (1, "logistic")])
def test_a_single_sample_is_offered_and_not_told_from_a_mean(outputs, loss):
    x, y = drawn(1)
    found = attacked(trained(x, y, outputs=outputs, loss=loss), loss=loss)
    assert found.identifiable == 1 and "class means" in found.doubt and not found.confidence.any()
    assert cosine(x, found.samples).max() > 0.999


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("factor", [0.0, 1e-200])
def test_a_layer_that_nothing_passes_is_refused(layer, factor):
    model = plain()
    with torch.no_grad():
        model[layer].weight.mul_(factor)
    with pytest.raises(ValueError, match=f"layer {layer // 2 + 1} has weights of norm"):
        attacked(model)


def test_weights_that_are_all_zero_or_overflow_are_refused():
    for factor, words in ((0.0, "all zero"), (1e200, "squares overflow")):
        model = plain()
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(factor)
        with pytest.raises(ValueError, match=words):
            attacked(model)
    model = plain().float()
    with torch.no_grad():
        model[0].weight.mul_(1e30)
    with pytest.raises(ValueError, match="did the training diverge"):
        attacked(model)
