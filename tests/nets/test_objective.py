"""What training minimizes is torch's loss, computed in double precision on data that were checked."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vestige.core.margins import Loss
from vestige.nets.objective import checked_data, loss_of_outputs

Z1 = torch.tensor([[2.0], [-1.0], [0.5], [3.0]], dtype=torch.float64)
Z3 = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(4, 3) ** 3
Y2, Y3 = torch.tensor([1, 0, 0, 1]), torch.tensor([2, 0, 1, 1])
SIGN = 2.0 * Y2.to(Z1) - 1


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "expected"),
    [
        (Loss.LOGISTIC, Z1, Y2, F.binary_cross_entropy_with_logits(Z1[:, 0], Y2.to(Z1))),
        (Loss.EXPONENTIAL, Z1, Y2, torch.exp(-SIGN * Z1[:, 0]).mean()),
        (Loss.CROSS_ENTROPY, Z3, Y3, F.cross_entropy(Z3, Y3)),
        (Loss.MSE, Z1, Z1.flip(0), F.mse_loss(Z1, Z1.flip(0))),
        (Loss.HUBER, Z1, 3 * Z1.flip(0), F.huber_loss(Z1, 3 * Z1.flip(0))),
    ],
)
def test_losses_are_torchs(loss, outputs, y, expected):
    measure = loss_of_outputs(outputs, y, loss)
    torch.testing.assert_close(measure(outputs), expected)
    torch.testing.assert_close(measure(outputs.float()), expected, rtol=1e-6, atol=0)
    assert measure(outputs.float()).dtype == torch.float64
    assert not torch.isclose(measure(-2 * outputs), expected)


def test_single_precision_does_not_end_the_loss_at_1e_7():
    outputs = torch.tensor([[20.0, 0.0], [0.0, 20.0]], dtype=torch.float32)
    found = loss_of_outputs(outputs, torch.tensor([0, 1]), Loss.CROSS_ENTROPY)(outputs)
    assert found.item() == pytest.approx(2.061153618e-9, rel=1e-8)


def test_flat_and_column_outputs_are_one():
    assert torch.equal(
        loss_of_outputs(Z1, Y2, Loss.LOGISTIC)(Z1), loss_of_outputs(Z1[:, 0], Y2, Loss.LOGISTIC)(Z1[:, 0])
    )


def test_data_come_in_the_model_s_precision_and_leave_it_alone():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)).float().train()
    x = torch.rand(5, 3)
    found, outputs = checked_data(model, x)
    assert found.dtype == torch.float32 and outputs.shape == (5, 2) and not outputs.requires_grad
    assert int(model[0].num_batches_tracked) == 0


def frozen():
    return nn.Linear(3, 2).requires_grad_(False)


@pytest.mark.parametrize(
    ("model", "x", "said"),
    [
        (frozen(), torch.rand(5, 3), "no trainable parameters"),
        (nn.Linear(3, 2), torch.zeros(0, 3), "empty or holds NaN"),
        (nn.Linear(3, 2), torch.full((2, 3), torch.nan), "empty or holds NaN"),
        (nn.Linear(3, 2), torch.rand(5, 4), r"does not accept samples of shape \(4,\)"),
        (nn.Sequential(nn.Linear(3, 2), nn.Dropout()).train(), torch.rand(5, 3), "two forward passes differ"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(model, x, said):
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=said):
        checked_data(model, x)
    assert torch.equal(torch.get_rng_state(), state)
