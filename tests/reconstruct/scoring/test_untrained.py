"""The untrained twin: the same scales and ranks, nothing of the training, and no sample for the attack to find."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vestige.core.metrics import cosine
from vestige.core.rng import child
from vestige.nets.convolutional import Conv, cnn
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin
from vestige.reconstruct.scoring.untrained import untrained_like
from vestige.reconstruct.weights.from_weights import reconstruct_from_weights


def layers(model):
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            bias = [] if module.bias is None else [module.bias.detach()[:, None]]
            yield torch.cat([module.weight.detach().flatten(1), *bias], 1)


@given(width=st.integers(1, 7), depth=st.integers(1, 3), rank=st.integers(1, 4), seed=st.integers(0, 9))
def test_every_layer_keeps_its_singular_values_and_no_direction(width, depth, rank, seed):
    model = mlp([5, *[width] * depth, 3], bias="all", generator=child(seed))
    with torch.no_grad():  # as training leaves it: few directions
        first = model[1].weight
        first.copy_(first[:, :rank] @ torch.randn(first[:, :rank].shape[1], 5, generator=child(seed, "mix")))
    for before, after in zip(layers(model), layers(untrained_like(model, generator=child(seed))), strict=True):
        torch.testing.assert_close(torch.linalg.svdvals(after), torch.linalg.svdvals(before))
        assert before.numel() == 1 or not torch.allclose(after, before)


def test_directions_are_uniform():
    """The mean cosine of 4,000 draws to a fixed direction is within 5 standard errors of 0, its square of 1/d."""
    linear = nn.Linear(8, 1, bias=False)
    rows = torch.cat([untrained_like(linear, generator=child(k)).weight.detach() for k in range(4000)])
    value = cosine(linear.weight.detach(), rows)[0]
    assert value.mean().abs() < 5 * (1 / 8 / 4000) ** 0.5
    assert (value.square().mean() - 1 / 8).abs() < 5 * (2 * 7 / 8**2 / 10 / 4000) ** 0.5


@pytest.mark.parametrize("model", [mlp([4, 6, 2]), cnn((1, 6, 6), [Conv(3, 3), 2])])
def test_the_model_and_the_random_state_stay_as_they_were(model):
    state = torch.get_rng_state()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    first, again = untrained_like(model), untrained_like(model)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_other_parameters_are_permuted_and_buffers_kept():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten(), nn.Linear(16, 2))
    nn.init.uniform_(model[1].weight)
    model = model.float()
    twin = untrained_like(model)
    assert twin[1].weight.sort().values.equal(model[1].weight.sort().values)
    assert twin[1].running_var.equal(model[1].running_var) and twin[0].weight.dtype == torch.float32
    assert twin(torch.zeros(2, 1, 4, 4, dtype=torch.float32)).shape == (2, 2)


def test_damaged_weights_are_refused():
    model = mlp([4, 6, 2])
    nn.init.constant_(model[1].weight, torch.nan)
    with pytest.raises(ValueError, match=r"1\.weight"):
        untrained_like(model)


def test_the_attack_finds_the_samples_of_the_trained_network_and_none_in_its_twin():
    x, y = torch.randn(8, 40, generator=child(0, "x"), dtype=torch.float32), torch.arange(8) % 2
    x = x - x.mean(0)
    start = mlp([40, 400, 1], first_init=1e-3, generator=child(1), dtype=torch.float32)
    model = train_to_margin(start, x, y, weight_decay=1e-3, steps=4000).model

    def best(net):
        options = {"loss": "logistic", "weight_decay": 1e-3, "steps": 600, "restarts": 4, "generator": child(2)}
        return cosine(x, reconstruct_from_weights(net, (40,), **options).samples).max(1).values

    assert best(model).median() > 0.8
    assert best(untrained_like(model)).max() < 0.7
