"""Truth meets reconstruction in the model's own space, beside nulls that know nothing of the training."""

import pytest
import torch
from bare import reconstruction
from safetensors.torch import save_file
from torch import nn

from vestige.audit import comparison
from vestige.audit.comparison import at_truth, compare, score
from vestige.audit.search import Search
from vestige.audit.target import read_target
from vestige.audit.truth import Truth, read_data
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin

SPACE = InputSpace(0.0, 1.0, 0.5, 0.25)


def data(n, seed=0):
    return read_data((torch.rand(n, 1, 2, 4, generator=child(seed, "data")), torch.arange(n) % 2))


@pytest.fixture(scope="module")
def target():
    net = mlp([8, 20, 1], generator=child(0, "net"), dtype=torch.float64)
    return read_target(net, input_shape=(8,), space=SPACE, loss="logistic", weight_decay=0.0)


def test_data_reach_the_model_normalized_and_in_its_shape(target):
    x = data(3).x
    torch.testing.assert_close(target.inputs(x), (x.reshape(3, 8) - 0.5) / 0.25)
    with pytest.raises(ValueError, match=r"samples of shape 1x3x3, the model takes 8; is it another data set"):
        target.inputs(torch.rand(2, 1, 3, 3))


def test_the_truth_offered_as_the_reconstruction_is_recovered_whole_and_noise_is_not(target):
    truth = Truth(data(6), data(300, seed=1), ())
    for offered, recovered in ((target.inputs(truth.train.x), 6), (torch.randn(6, 8, generator=child(2, "noise")), 0)):
        found = score(target, reconstruction(offered), truth)
        assert found.n_recovered == recovered
    assert found.nulls[0].name == "held-out samples"


def test_nulls_are_drawn_from_a_twin_with_less_effort_and_from_the_first_layer(target, monkeypatch):
    asked = []

    def search(twin, how, *, generator, on_step, checkpoint):
        asked.append((twin.model, how, generator.initial_seed()))
        return reconstruction(torch.cat([torch.full((1, 8), torch.nan), torch.rand(9, 8)]))

    monkeypatch.setattr(comparison, "search", search)
    truth, how = Truth(data(6), data(300, seed=1), ()), Search(restarts=9, steps=20, seed=5)
    found = compare(target, reconstruction(torch.rand(4, 8)), truth, how, on_step=None, checkpoint=None)
    counts = {null.name: null.count for null in found.nulls}
    assert counts["untrained network"] == 3  # as many as were offered, without those that are not finite
    assert counts["first-layer rows"] == 20
    ((twin, less, seed),) = asked
    assert (less.restarts, less.steps) == (1, 20) and seed != child(5, "audit").initial_seed()
    for own, other in zip(target.model.parameters(), twin.parameters(), strict=True):
        assert not torch.equal(own, other)
    before = torch.linalg.svdvals(torch.cat([target.model[1].weight, target.model[1].bias[:, None]], 1))
    torch.testing.assert_close(before, torch.linalg.svdvals(torch.cat([twin[1].weight, twin[1].bias[:, None]], 1)))


def test_a_network_whose_first_layer_takes_something_else_has_no_rows_to_offer():
    net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(12, 1)).double()
    target = read_target(net, input_shape=(1, 8), space=(0, 1), loss="logistic")
    assert comparison._first_rows(target) is None


def test_stationarity_at_the_truth_is_small_where_the_model_was_trained_on_it():
    x, y = torch.randn(6, 20, generator=child(0, "x")), torch.arange(6) % 2
    net = train_to_margin(
        mlp([20, 30, 1], bias="none", first_init=1e-3, dtype=torch.float64), x, y, tol_loss=1e-8
    ).model
    at = {"input_shape": (20,), "space": (-9.0, 9.0), "weight_decay": 0.0}
    truth = Truth(read_data((x, y)), None, ())
    plain, best = at_truth(read_target(net, loss="logistic", **at), truth)[0]
    assert best.residual <= plain.residual and best.residual < 1e-2
    other = Truth(read_data((x, 1 - y)), None, ())
    assert at_truth(read_target(net, loss="logistic", **at), other)[0][1].residual > 0.5


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_another_activation_than_the_assumed_one_is_named(activation, tmp_path):
    x, y = torch.randn(6, 20, generator=child(0, "x")), torch.arange(6) % 2
    made = mlp([20, 30, 1], activation=activation, first_init=1e-3, dtype=torch.float64)
    save_file(train_to_margin(made, x, y, weight_decay=1e-2, steps=400).model.state_dict(), tmp_path / "m.safetensors")
    at = {"space": (-9.0, 9.0), "weight_decay": 1e-2, "loss": "logistic"}
    truth = Truth(read_data((x, y)), None, ())
    said = [note for note in at_truth(read_target(tmp_path / "m.safetensors", **at), truth)[1] if "assumed" in note]
    assert [":tanh" in note for note in said] == ([True] if activation == "tanh" else [])
    stated = read_target(tmp_path / "m.safetensors", architecture="mlp:20-30-1", **at)
    assert not any("assumed" in note for note in at_truth(stated, truth)[1])


def test_there_is_no_such_number_for_many_samples_or_a_regression(target, monkeypatch):
    truth = Truth(data(6), None, ())
    regression = read_target(target.model, input_shape=(8,), space=SPACE, loss="mse")
    assert at_truth(regression, truth) == ((), ())
    measured, notes = at_truth(target, truth)
    assert len(measured) == 2 or notes
    monkeypatch.setattr(comparison, "LARGEST_CHECK", 5)
    assert at_truth(target, truth) == ((), ())
