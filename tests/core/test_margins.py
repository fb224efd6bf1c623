import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.margins import (
    Loss,
    loss_cotangent,
    loss_value,
    margin,
    margin_directions,
    multiplier_cotangent,
    predict,
    signs,
)
from vestige.core.rng import child

CASES = [
    ("logistic", 1, "class"),
    ("exponential", 1, "class"),
    ("cross_entropy", 1, "class"),
    ("cross_entropy", 4, "class"),
    ("mse", 1, "class"),
    ("mse", 3, "class"),
    ("mse", 3, "float"),
    ("huber", 1, "float"),
    ("huber", 3, "class"),
]


def draw(out, kind, n=6, seed=0):
    generator = child(seed)
    outputs = 2 * torch.randn(n, out, generator=generator)
    y = torch.randint(max(out, 2), (n,), generator=generator)
    return outputs, torch.randn(n, out, generator=generator) if kind == "float" else y


@pytest.mark.parametrize(("loss", "out", "kind"), CASES)
def test_cotangent_is_the_derivative_of_the_mean_loss(loss, out, kind):
    outputs, y = draw(out, kind)
    outputs.requires_grad_()
    (gradient,) = torch.autograd.grad(loss_value(outputs, y, loss), outputs)
    torch.testing.assert_close(loss_cotangent(outputs, y, loss) / len(y), gradient)
    torch.testing.assert_close(multiplier_cotangent(outputs, y, loss, 0.1), -gradient / 0.1)


def test_losses_are_torchs():
    outputs, y = draw(1, "class")
    bce = F.binary_cross_entropy_with_logits(outputs[:, 0], y.double())
    torch.testing.assert_close(loss_value(outputs[:, 0], y, "logistic"), bce)
    torch.testing.assert_close(loss_value(outputs, y, Loss.CROSS_ENTROPY), bce)


@given(seed=st.integers(0, 99))
def test_two_classes_agree_with_their_difference(seed):
    """A11: cross-entropy on (f0, f1) is the logistic loss of f1 - f0, with cotangent (-s, s)."""
    outputs, y = draw(2, "class", seed=seed)
    single = outputs[:, 1] - outputs[:, 0]
    torch.testing.assert_close(loss_value(outputs, y, "cross_entropy"), loss_value(single, y, "logistic"))
    torch.testing.assert_close(margin(outputs, y), margin(single, y))
    s = loss_cotangent(single, y, "logistic")
    torch.testing.assert_close(loss_cotangent(outputs, y, "cross_entropy"), torch.cat([-s, s], 1))
    for competitors in ("max", "all", 1):
        rows, index = margin_directions(outputs, y, competitors)
        binary, _ = margin_directions(single, y)
        torch.testing.assert_close(rows, torch.cat([-binary, binary], 1))
        assert torch.equal(index, torch.arange(len(y)))


def test_competitors():
    outputs, y = torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0])
    assert margin_directions(outputs, y)[0].tolist() == [[1, 0, -1]]
    assert margin_directions(outputs, y, 1)[0].tolist() == [[1, 0, -1]]
    rows, index = margin_directions(outputs, y, "all")
    assert rows.tolist() == [[1, 0, -1], [1, -1, 0]]
    assert index.tolist() == [0, 0]
    for bad in ("most", 0, 3):
        with pytest.raises(ValueError, match="competitors"):
            margin_directions(outputs, y, bad)


def test_the_margin_is_what_the_directions_measure():
    outputs, y = draw(5, "class")
    rows, index = margin_directions(outputs, y)
    torch.testing.assert_close((rows * outputs[index]).sum(1), margin(outputs, y))
    assert torch.equal(margin(outputs, y) > 0, predict(outputs) == y)


def test_both_binary_conventions():
    y = torch.tensor([0, 1, 1, 0])
    assert torch.equal(signs(y), signs(2 * y - 1))
    assert torch.equal(predict(torch.tensor([-1.0, 2.0])), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("outputs", "y", "loss", "match"),
    [
        (torch.zeros(3, 2), torch.tensor([0, 1, 2]), "cross_entropy", "run from 0 to 2"),
        (torch.zeros(3, 2), torch.tensor([0.0, 1.0, 1.0]), "cross_entropy", "y.long"),
        (torch.zeros(3), torch.tensor([0, 1, 2]), "logistic", "one output"),
        (torch.zeros(3), torch.tensor([-1, 0, 1]), "logistic", "one output"),
        (torch.zeros(3), torch.tensor([0, 1]), "logistic", "shape"),
        (torch.zeros(3, 2), torch.eye(3, 2), "cross_entropy", "One-hot"),
        (torch.zeros(3, 2), torch.tensor([0, 1, 1]), "logistic", "Use 'cross_entropy'"),
        (torch.zeros(3, 2), torch.zeros(3), "mse", "targets"),
        (torch.full((3, 2), torch.nan), torch.tensor([0, 1, 1]), "mse", "NaN"),
        (torch.zeros(3, 2, 2), torch.tensor([0, 1, 1]), "mse", "shape"),
        (torch.zeros(3, 2), torch.tensor([0, 1, 1]), "hinge", "allowed are"),
    ],
)
def test_bad_input(outputs, y, loss, match):
    with pytest.raises(ValueError, match=match):
        loss_value(outputs, y, loss)
    with pytest.raises(ValueError, match="must be positive"):
        multiplier_cotangent(torch.zeros(1), torch.tensor([1]), "mse", 0.0)
