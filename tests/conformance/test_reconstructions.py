"""What every reconstruction from weights keeps to, whatever the solver and the network; a new one of them adds a row.

The networks and the budgets are too small to recover anything, and the published step sizes diverge on them: what is
tested here is the contract.
"""

import itertools

import pytest
import torch
from torch import nn

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.nets.convolutional import Conv, cnn
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin
from vestige.reconstruct import reconstruct_from_weights
from vestige.reconstruct.scoring.untrained import untrained_like

SHAPE, OUT = (1, 4, 4), 3
START = {"first_init": 1e-3, "generator": child(0, "start"), "dtype": torch.float32}
NETWORKS = {
    "two layers": mlp([16, 40, OUT], **START),
    "three layers": mlp([16, 20, 20, OUT], **START),
    "convolution": cnn(SHAPE, [Conv(4, 3), OUT], **START),
}
ROWS = list(itertools.product(("default", "published"), NETWORKS))
every_row = pytest.mark.parametrize(("solver", "kind"), ROWS, ids=[" ".join(row) for row in ROWS])


@pytest.fixture(scope="module")
def trained():
    x = torch.rand(6, *SHAPE, generator=child(0, "x"), dtype=torch.float32)
    y = torch.arange(6) % OUT
    fit = {"loss": "cross_entropy", "weight_decay": 1e-3, "steps": 200}
    return {kind: train_to_margin(net, x - x.mean(0), y, **fit).model for kind, net in NETWORKS.items()}


def attack(model, solver, *, input_shape=SHAPE, **changed):
    options = {"weight_decay": 1e-3, "steps": 8, "restarts": 2, "n_candidates": 6, "generator": child(1, "attack")}
    return reconstruct_from_weights(model, input_shape, solver=solver, **(options | changed))


def tensors(found):
    return {name: value for name, value in vars(found).items() if isinstance(value, torch.Tensor)}


@every_row
def test_shapes_agree_and_everything_is_finite(solver, kind, trained):
    found = attack(trained[kind], solver)
    k, c, r = len(found.samples), len(found.candidates), len(found.residual)
    assert k >= 1 and c >= 6 and found.samples.shape == (k, *SHAPE) and found.candidates.shape == (c, *SHAPE)
    per_sample = (found.confidence, found.support, found.spread, found.label, found.verified)
    assert all(value.shape == (k,) for value in per_sample) and found.cotangents.shape == (k, OUT)
    assert found.restart.shape == found.cluster.shape == (c,) and found.candidate_cotangents.shape == (c, OUT)
    assert found.restart.min() >= 0 and found.restart.max() < r
    assert found.cluster.min() >= -1 and found.cluster.max() < k
    assert all(torch.isfinite(value).all() for value in tensors(found).values())
    assert found.samples.dtype == found.candidates.dtype == torch.float32
    assert (found.confidence >= 0).all() and (found.confidence <= 1).all() and (found.support >= 1).all()
    assert (found.label >= 0).all() and (found.label < OUT).all()
    assert found.gradient_evaluations > 0 and found.outcome.message and found.source
    assert all(isinstance(warning, str) and warning for warning in found.warnings)


@every_row
def test_the_generator_settles_everything(solver, kind, trained):
    first, again, other = (attack(trained[kind], solver, generator=child(s, "attack")) for s in (1, 1, 2))
    assert all(torch.equal(value, tensors(again)[name]) for name, value in tensors(first).items())
    assert not torch.equal(first.candidates[:6], other.candidates[:6])


@every_row
def test_nothing_of_the_callers_changes(solver, kind, trained):
    model, generator = trained[kind], child(1, "attack")
    model.train()
    for p in model.parameters():
        p.grad = torch.full_like(p, 7.0)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state, own = torch.get_rng_state(), generator.get_state()
    attack(model, solver, generator=generator)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(generator.get_state(), own)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is not None and (p.grad == 7).all() for p in model.parameters())
    assert torch.get_default_dtype() == torch.float64 and torch.get_num_threads() == 1
    model.zero_grad()


@every_row
@pytest.mark.parametrize(
    "changed", [{}, {"input_shape": (1, 5, 5)}, {"on_step": None}], ids=["runs", "refused", "stops"]
)
def test_every_submodule_keeps_its_own_mode(solver, kind, changed, trained):
    """A layer that the user froze in a model that trains, and the other way round, also after an error."""

    def stop(step):
        raise KeyboardInterrupt

    changed = {"on_step": stop} if "on_step" in changed else changed
    model, outcomes = trained[kind], []
    for k in (0, 1):
        for place, module in enumerate(model.modules()):
            module.training = place % 2 == k
        before = [module.training for module in model.modules()]
        try:
            attack(model, solver, **changed)
        except (ValueError, KeyboardInterrupt):
            outcomes.append("error")
        assert [module.training for module in model.modules()] == before
    assert len(outcomes) == (2 if changed else 0)


@every_row
def test_candidates_live_in_model_space(solver, kind, trained):
    """Two descriptions of one box in model space are one problem; another box is another, except to the papers."""
    plain = attack(trained[kind], solver, space=InputSpace(-1.0, 1.0))
    normalized = attack(trained[kind], solver, space=InputSpace(0.0, 1.0, mean=0.5, std=0.5))
    assert torch.equal(plain.samples, normalized.samples)
    wide = attack(trained[kind], solver, space=InputSpace(-9.0, 9.0))
    assert torch.equal(plain.candidates, wide.candidates) == (solver == "published")


@every_row
def test_steps_are_told_in_order(solver, kind, trained):
    seen = []
    found = attack(trained[kind], solver, on_step=seen.append)
    assert (len(seen) >= 8 or found.outcome is Outcome.NOT_FINITE) and set(found.history) <= set(seen)
    assert all(1 <= step.index <= step.total and isinstance(step.value, float) for step in seen)
    for _, search in itertools.groupby(seen, key=lambda step: (step.note, step.total)):
        index = [step.index for step in search]
        assert index == list(range(index[0], index[0] + len(index)))


@every_row
def test_an_interrupted_attack_leaves_the_model_as_it_was(solver, kind, trained):
    def stop(step):
        raise KeyboardInterrupt

    trained[kind].train()
    with pytest.raises(KeyboardInterrupt):
        attack(trained[kind], solver, on_step=stop)
    assert all(module.training for module in trained[kind].modules())
    assert all(p.requires_grad and p.grad is None for p in trained[kind].parameters())


@every_row
def test_the_weights_are_what_is_read(solver, kind, trained):
    """A method that ignores them would give the same samples for a network that no data has touched."""
    twin = untrained_like(trained[kind])
    assert not torch.allclose(attack(trained[kind], solver).candidates[:6], attack(twin, solver).candidates[:6])


@every_row
@pytest.mark.parametrize("damage", [float("nan"), float("inf")])
def test_damaged_weights_are_refused_by_name(solver, kind, damage, trained):
    twin = untrained_like(trained[kind])
    name, weight = list(twin.named_parameters())[-1]
    nn.init.constant_(weight, damage)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        attack(twin, solver)
