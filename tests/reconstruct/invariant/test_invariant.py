"""Orbits out of invariant networks: the collapse of the usual attack, what comes back, and the nulls that fail."""

from dataclasses import replace

import pytest
import torch

import vestige as vg
from vestige.core.rng import child
from vestige.nets.architecture import parse_architecture
from vestige.nets.groups import Permutations, Rotations, Shifts
from vestige.nets.orbits import symmetric_energy
from vestige.nets.training import train_to_margin
from vestige.reconstruct.invariant.from_invariant import reconstruct_invariant
from vestige.reconstruct.invariant.sets import join_by_direction
from vestige.reconstruct.invariant.views import lift_of
from vestige.reconstruct.scoring.score import score_reconstruction
from vestige.reconstruct.scoring.untrained import untrained_like
from vestige.reconstruct.weights.chain import span_chain
from vestige.reconstruct.weights.joint import sums_over_views

DECAY = 1e-3


def trained(text, x, y, loss="cross_entropy", steps=2000):
    start = parse_architecture(text, first_init=1e-3, generator=child(0, "i"), dtype=torch.float32)
    return train_to_margin(start, x, y, loss=loss, weight_decay=DECAY, steps=steps).model


@pytest.fixture(scope="module")
def digits():
    """16 digits, even against odd, and an average over quarter turns trained on them."""
    data = vg.data.binarize(vg.load_data("digits"), [0, 2, 4, 6, 8])
    chosen, _ = vg.data.sample(data, 16, generator=child(0, "draw"))
    x = (chosen.x - chosen.x.mean()).float()
    return x, trained("c4@1x8x8:mlp:64-200-1", x, chosen.y, "logistic")


@pytest.fixture(scope="module")
def noise():
    """Six Gaussian images in three classes, an average over quarter turns, and images that it never saw."""
    x = torch.randn(406, 1, 10, 10, generator=child(0, "x")).float()
    x, held_out = x[:6], x[6:]
    return x, held_out, trained("c4@1x10x10:mlp:100-300-3", x, torch.arange(6) % 3)


def energies(digits, **how):
    found = reconstruct_invariant(
        digits[1], (1, 8, 8), Rotations(), loss="logistic", weight_decay=DECAY, n_candidates=32, restarts=1, steps=500,
        conventional=True, generator=child(0, "r"), **how,
    )  # fmt: skip
    return symmetric_energy(found.candidates, Rotations())


def test_a_small_start_collapses_to_symmetric_inputs(digits):
    assert symmetric_energy(digits[0], Rotations()).median() < 0.5
    assert energies(digits, init_scale=1e-3).median() > 0.99


def test_a_start_of_the_size_of_the_data_does_not(digits):
    assert energies(digits, init_scale=1.0).median() < 0.6


def test_the_penalty_holds_the_symmetric_energy(digits):
    free, held = energies(digits, init_scale=0.4), energies(digits, init_scale=0.4, most_symmetric=0.6)
    assert free.max() > 0.7
    assert held.max() <= 0.62


def test_a_faster_rest_lowers_it(digits):
    assert energies(digits, init_scale=0.4, rest_rate=3.0).median() < energies(digits, init_scale=0.4).median() - 0.05


def test_orbits_come_back_and_nulls_do_not(noise):
    x, held_out, net = noise
    group = Rotations()
    how = {"weight_decay": DECAY, "restarts": 1, "steps": 800, "n_candidates": 18}
    found = reconstruct_invariant(net, (1, 10, 10), group, generator=child(0, "r"), **how)
    twin = untrained_like(net, generator=child(0, "u"))
    null = reconstruct_invariant(twin, (1, 10, 10), group, generator=child(0, "r"), **how)
    score = score_reconstruction(found, x, held_out=held_out, group=group, null={"untrained": null.samples})
    assert score.n_recovered >= 4
    # The mean of six images knows the truth and may come near one of them.
    assert not {n.name for n in score.nulls if n.n_recovered} - {"mean of the truth"}
    assert {"untrained", "symmetrized noise", "held-out samples"} <= {n.name for n in score.nulls}
    assert found.identifiable == 6
    # The same samples count whatever member of each orbit is offered.
    moved = replace(found, samples=found.samples.rot90(1, (-2, -1)))
    again = score_reconstruction(moved, x, held_out=held_out, group=group)
    torch.testing.assert_close(again.similarity, score.similarity)
    alone = [
        score_reconstruction(replace(found, samples=found.samples.rot90(k, (-2, -1))), x, held_out=held_out).recovered
        for k in range(4)
    ]
    assert min(int(one.sum()) for one in alone) < score.n_recovered, "one member of each orbit is not enough"


def test_the_same_seed_gives_the_same_and_the_model_is_left_alone(noise):
    _, _, net = noise
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.train()
    ends = [
        reconstruct_invariant(net, (1, 10, 10), Rotations(), restarts=1, steps=20, generator=child(0, "r"))
        for _ in range(2)
    ]
    assert torch.equal(ends[0].candidates, ends[1].candidates) and net.training
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("c4@1x4x4:mlp:16-60-3", (1, 4, 4)),
        ("shifts:3@1x6x6w4:mlp:16-20-3", (1, 6, 6)),
        ("set:3@3x5:mlp:5-20-3", (3, 5)),
    ],
)
def test_lifted_gradients_are_those_of_the_network(text, shape):
    """Sums over views in span coordinates against automatic differentiation of the network itself."""
    net = parse_architecture(text, generator=child(0, "i"), dtype=torch.float64)
    x, multipliers = torch.randn(4, *shape, generator=child(0, "x")), torch.randn(4, 3, generator=child(0, "l"))
    chain = span_chain(net.base, None, torch.float64)
    lift = lift_of(net, chain, shape)
    sharp = 1e6  # the exact gate
    z = x.flatten(1) @ lift.inputs
    torch.testing.assert_close(z @ lift.inputs.T, x.flatten(1))
    ours = sums_over_views(chain, z, multipliers, sharp, lift)
    theirs = vg.core.weighted_gradient(net, x, multipliers)
    torch.testing.assert_close(ours[0][0] @ chain.basis.T, theirs["base.1.weight"], atol=1e-8, rtol=0)
    torch.testing.assert_close(ours[0][1], theirs["base.1.bias"], atol=1e-8, rtol=0)
    torch.testing.assert_close(ours[1][0], theirs["base.3.weight"], atol=1e-8, rtol=0)


def test_candidates_of_windows_stay_where_all_their_windows_are_in_the_span():
    """A first layer that spans few windows: only images made of them are sought, the training images among them."""
    x = torch.randn(2, 1, 8, 8, generator=child(0, "x")).float()
    net = trained("shifts:4@1x8x8w6:mlp:36-60-2", x, torch.tensor([0, 1]), steps=1500)
    chain = span_chain(net.base, None, torch.float32)
    lift = lift_of(net, chain, (1, 8, 8))
    assert chain.basis.shape[1] < 36 and lift.inputs.shape[1] < 64
    inside = x.flatten(1) @ lift.inputs @ lift.inputs.T
    assert (inside - x.flatten(1)).norm() < 0.05 * x.norm()


def test_elements_come_back_as_sets():
    x = torch.randn(4, 3, 30, generator=child(0, "x")).float()
    net = trained("set:3@3x30:mlp:30-300-4", x, torch.arange(4), steps=3000)
    group = Permutations(3)
    found = reconstruct_invariant(net, (3, 30), group, weight_decay=DECAY, generator=child(0, "r"), steps=600)
    assert found.samples.shape[1:] == (3, 30)
    held_out = torch.randn(400, 3, 30, generator=child(1, "x"))
    score = score_reconstruction(found, x, held_out=held_out, group=group)
    assert score.n_recovered >= 2
    assert not {n.name for n in score.nulls if n.n_recovered} - {"mean of the truth"}


def test_sets_are_joined_by_their_multipliers_only():
    base = torch.nn.functional.normalize(torch.randn(5, 8, generator=child(0, "v")), dim=1)
    vectors = base.repeat_interleave(3, 0) * torch.rand(15, 1, generator=child(1, "v")).add(0.5)
    order = torch.randperm(15, generator=child(2, "v"))
    joined = join_by_direction(vectors[order], 3)
    assert sorted(sorted(int(order[k]) for k in group) for group in joined) == [
        [3 * i, 3 * i + 1, 3 * i + 2] for i in range(5)
    ]
    assert join_by_direction(torch.eye(6), 2) == []


@pytest.mark.parametrize(
    ("group", "options", "message"),
    [
        (Shifts(3), {}, "does not act"),
        (Permutations(4), {}, "does not act"),
        (Rotations(mirror=True), {}, "not invariant to d4"),
        (Rotations(), {"init_scale": 0.0}, "init_scale=0.0"),
        (Rotations(), {"most_symmetric": 1.5}, "most_symmetric=1.5"),
        (Rotations(), {"rest_rate": float("nan")}, "rest_rate=nan"),
        (Rotations(), {"steps": 0}, "steps=0"),
        (Rotations(), {"loss": "hinge"}, "hinge"),
    ],
)
def test_mistakes_are_told(noise, group, options, message):
    with pytest.raises(ValueError, match=message):
        reconstruct_invariant(noise[2], (1, 10, 10), group, **options)


def test_a_score_needs_a_group_that_acts(noise):
    x, held_out, net = noise
    found = reconstruct_invariant(net, (1, 10, 10), Rotations(), restarts=1, steps=2, generator=child(0, "r"))
    with pytest.raises(ValueError, match="does not act"):
        score_reconstruction(found, x, held_out=held_out, group=Shifts(3))
