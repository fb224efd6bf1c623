"""What an attack sees of a model, against the closed form of a linear one behind a normalization."""

import pytest
import torch
from torch import nn

from vestige.attack.methods.oracle import Oracle
from vestige.core.rng import child
from vestige.core.space import InputSpace

SPACE = InputSpace(0.0, 1.0, 0.5, 0.25)


@pytest.fixture
def linear():
    model = nn.Linear(6, 4)
    draw = child(0, "oracle")
    model.weight.data = torch.randn(model.weight.shape, generator=draw)
    return model, torch.rand(5, 6, generator=draw), torch.tensor([0, 1, 2, 3, 0])


def test_gradients_are_with_respect_to_the_data_not_to_what_the_model_takes(linear):
    model, x, y = linear
    oracle = Oracle(model, SPACE)
    value, logits, slope = oracle.gradient(x, lambda z: z.gather(1, y[:, None])[:, 0] ** 2)
    expected = ((x - 0.5) / 0.25) @ model.weight.T + model.bias
    torch.testing.assert_close(logits, expected.detach())
    own = expected.gather(1, y[:, None])[:, 0].detach()
    torch.testing.assert_close(value, own**2)
    torch.testing.assert_close(slope, 2 * own[:, None] * model.weight.detach()[y] / 0.25)


def test_class_gradients_are_differences_of_rows(linear):
    model, x, y = linear
    classes = torch.stack([(y + 1) % 4, (y + 3) % 4, y], 1)
    logits, slopes = Oracle(model, SPACE).class_gradients(x, y, classes)
    w = model.weight.detach() / 0.25
    torch.testing.assert_close(slopes, w[classes] - w[y][:, None])
    assert not slopes[:, 2].any() and slopes[:, :2].any()
    torch.testing.assert_close(logits, model(SPACE.to_model(x)).detach())


def test_costs_are_samples(linear):
    model, x, y = linear
    oracle = Oracle(model, SPACE)
    oracle.logits(x)
    oracle.logits(x[:2])
    assert (oracle.forwards, oracle.gradients) == (7, 0)
    oracle.gradient(x, lambda z: z.sum(1))
    assert (oracle.forwards, oracle.gradients) == (7, 5)
    oracle.class_gradients(x, y, torch.stack([(y + 1) % 4, (y + 2) % 4], 1))
    assert (oracle.forwards, oracle.gradients) == (7, 15)
    oracle.in_inference_mode(x)
    assert (oracle.forwards, oracle.gradients) == (7, 15) and oracle.box == (0.0, 1.0)


def test_no_graph_reaches_the_user_s_tensors(linear):
    model, x, y = linear
    oracle, x = Oracle(model, SPACE), x.requires_grad_()
    with torch.no_grad():  # a gradient is taken where the caller has switched them off
        slope = oracle.gradient(x, lambda z: z.sum(1))[2]
    assert slope.any() and not oracle.logits(x).requires_grad and x.grad is None
    oracle.class_gradients(x, y, (y[:, None] + 1) % 4)
    assert model.weight.grad is None and oracle.in_inference_mode(x.detach()).is_inference()


def test_batch_statistics_are_a_copy():
    norm = nn.BatchNorm1d(3).train()
    Oracle(norm, InputSpace(-9, 9)).logits(torch.arange(6.0).reshape(2, 3))
    assert int(norm.num_batches_tracked) == 0 and not norm.running_mean.any()
