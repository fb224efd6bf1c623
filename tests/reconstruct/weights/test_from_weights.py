"""The attack from end to end on small networks, its nulls, and what it refuses."""

import pytest
import torch
from torch import nn

from vestige.core.metrics import cosine
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.data.dataset import sample
from vestige.data.load import load_data
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin
from vestige.reconstruct import reconstruct_from_weights


@pytest.fixture(scope="module")
def digits():
    chosen, _ = sample(load_data("digits"), 10, generator=child(0, "digits"))
    mean = chosen.x.double().mean(0)
    return chosen.x.double() - mean, chosen.y, mean


@pytest.fixture(scope="module")
def start():
    return mlp([64, 300, 10], first_init=1e-3, generator=child(0, "init"), dtype=torch.float32)


@pytest.fixture(scope="module")
def trained(digits, start):
    x, y, _ = digits
    return train_to_margin(start, x.float(), y, loss="cross_entropy", weight_decay=1e-3).model


def best(found, x):
    return cosine(x.float(), found.samples).max(1).values


def attack(model, mean, **changed):
    options = {"weight_decay": 1e-3, "space": InputSpace(mean=mean.float()), "steps": 1000, "restarts": 4}
    return reconstruct_from_weights(model, (1, 8, 8), **(options | changed), generator=child(0, "attack"))


def test_digits_are_read_back_and_not_from_an_untrained_network(digits, start, trained):
    x, _, mean = digits
    found, null = attack(trained, mean), attack(start, mean)
    assert found.identifiable == len(x)
    assert (best(found, x) > 0.95).sum() >= 7
    assert (best(null, x) > 0.95).sum() == 0
    assert found.samples.shape[1:] == (1, 8, 8)
    assert len(found.samples) == len(found.confidence) == len(found.support) == len(found.label)


def test_model_random_state_and_mode_stay_as_they_were(digits, trained):
    _, _, mean = digits
    before, state = {k: v.clone() for k, v in trained.state_dict().items()}, torch.get_rng_state()
    trained.train()
    attack(trained, mean, steps=3)
    assert trained.training and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[k], v) for k, v in trained.state_dict().items())
    assert all(p.grad is None for p in trained.parameters())


def test_the_same_generator_repeats_and_a_finished_state_gives_the_same_end(digits, trained):
    _, _, mean = digits

    class Memory:
        state = None

        def save(self, tensors):
            self.state = dict(tensors)

        def load(self):
            return self.state

    memory = Memory()
    first, again = attack(trained, mean, steps=50, checkpoint=memory), attack(trained, mean, steps=50)
    resumed = attack(trained, mean, steps=50, checkpoint=memory)
    assert torch.equal(first.samples, again.samples)
    assert torch.equal(first.samples, resumed.samples)


@pytest.mark.parametrize("loss", ["logistic", "mse", "huber", "cross_entropy"])
def test_every_loss_and_depth_gives_a_result(loss, digits):
    _, _, mean = digits
    net = mlp([64, 20, 20, 1 if loss != "cross_entropy" else 3], generator=child(0, "deep"), dtype=torch.float32)
    found = attack(net, mean, loss=loss, steps=5, n_candidates=6)
    assert found.gradient_evaluations == 20
    assert not found.verified.any()


def test_convolutions_are_searched_in_input_space():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).float()
    found = reconstruct_from_weights(net, (1, 8, 8), steps=5, restarts=2, n_candidates=4)
    assert found.candidates.shape == (8, 1, 8, 8)
    assert any("input space" in warning for warning in found.warnings)


def test_the_published_solver_runs_in_the_same_interface(digits, trained):
    _, _, mean = digits
    found = attack(trained, mean, solver="published", steps=5, restarts=None)
    assert found.gradient_evaluations == 5
    assert len(found.samples) == len(found.candidates) == 2 * found.identifiable  # all are offered
    assert torch.allclose(found.samples[found.cluster], found.candidates, rtol=1e-4)
    assert found.samples.dtype == torch.float32 and not found.verified.any() and not found.confidence.any()


def test_every_published_setting_runs_by_name_and_decay_changes_nothing(digits, trained):
    """The authors' objective follows the loss; an unknown name is refused before any work."""
    mean, options = digits[2], {"steps": 3, "restarts": None, "n_candidates": 20}
    own, named, undecayed = (
        attack(trained, mean, **options, solver=solver, weight_decay=decay).candidates
        for solver, decay in (("published", 1e-3), ("published:multiclass-run2", 1e-3), ("published", None))
    )
    assert torch.equal(own, named) and torch.equal(own, undecayed)
    other = attack(trained, mean, **options, solver="published:multiclass-sweep").candidates
    assert not torch.equal(own, other)
    with pytest.raises(ValueError, match="mnist-rbijxft7"):
        attack(trained, mean, **options, solver="published:best")


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"loss": "hinge"}, "hinge"),
        ({"solver": "best"}, "best"),
        ({"n_candidates": 0}, "n_candidates=0"),
        ({"weight_decay": float("nan")}, "weight_decay"),
        ({"reference_params": {}}, "reference_params"),
    ],
)
def test_bad_options_are_refused_by_name(changed, said, digits, trained):
    with pytest.raises(ValueError, match=said):
        attack(trained, digits[2], **changed)


def test_bad_models_are_refused(trained, digits):
    with pytest.raises(ValueError, match="input of shape"):
        reconstruct_from_weights(trained, (1, 7, 7))
    broken = mlp([64, 5, 2], dtype=torch.float32)
    with torch.no_grad():
        broken[1].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"1\.weight"):
        reconstruct_from_weights(broken, (64,))


def test_more_candidates_than_can_be_told_apart_is_said_with_the_number(digits, trained):
    found = attack(trained, digits[2], steps=3, n_candidates=100)
    assert any("at most 10 samples" in warning for warning in found.warnings)


def test_every_submodule_keeps_its_mode_also_after_a_refusal():
    model = mlp([6, 8, 1], generator=child(0, "modes"), dtype=torch.float64).train()
    model[1].eval()
    before = [module.training for module in model.modules()]
    with pytest.raises(ValueError, match="refuses an input of shape"):
        reconstruct_from_weights(model, (7,), loss="logistic")
    assert [module.training for module in model.modules()] == before
    reconstruct_from_weights(model, (6,), loss="logistic", steps=2, restarts=1)
    assert [module.training for module in model.modules()] == before
