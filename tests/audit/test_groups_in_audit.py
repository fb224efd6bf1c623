"""A group in an audit: what is refused, samples side by side, and what is trained."""

import pytest
import torch
from bare import bare, reconstruction

from vestige.audit.groups import aligned, average_of, group_of, mean_of
from vestige.audit.target import read_target
from vestige.audit.training import untrained
from vestige.audit.truth import read_data
from vestige.core.rng import child
from vestige.nets.architecture import parse_architecture
from vestige.nets.fully_connected import mlp
from vestige.nets.groups import parse_group
from vestige.reconstruct.scoring.score import ReconstructionScore

SHAPE = (1, 4, 4)


def target(model):
    return read_target(model, input_shape=SHAPE, space=(0, 1), loss="logistic")


def test_a_group_is_taken_where_the_network_is_invariant_and_refused_elsewhere():
    net = parse_architecture("c4@1x4x4:mlp:16-10-1", dtype=torch.float64, generator=child(0, "net"))
    assert str(group_of("c4", target(net))) == "c4" and group_of(parse_group("c4"), target(net)) == parse_group("c4")
    with pytest.raises(ValueError, match=r"invariant|changes"):
        group_of("c4", target(mlp([16, 10, 1], dtype=torch.float64)))
    with pytest.raises(ValueError, match="shifts"):
        group_of("shifts:x", target(net))


def test_matched_samples_are_turned_to_their_truth_and_others_stay():
    x = torch.rand(3, *SHAPE, generator=child(0, "x"))
    samples = torch.cat([torch.rot90(x[1:2], 1, (2, 3)), torch.rand(1, *SHAPE), torch.rot90(x[:1], 3, (2, 3))])
    found = aligned(
        reconstruction(samples), bare(ReconstructionScore, match=torch.tensor([2, 0, -1])), x, parse_group("c4")
    )
    assert torch.equal(found.samples[2], x[0]) and torch.equal(found.samples[0], x[1])
    assert torch.equal(found.samples[1], samples[1]) and not torch.equal(samples[0], x[1])


def test_without_a_match_nothing_is_turned():
    samples = torch.rand(2, *SHAPE)
    found = aligned(
        reconstruction(samples), bare(ReconstructionScore, match=torch.tensor([-1, -1])), samples, parse_group("c4")
    )
    assert torch.equal(found.samples, samples)


@pytest.mark.parametrize(
    ("group", "shape", "text"),
    [("c4", SHAPE, "c4@1x4x4:mlp:16-7-1"), ("shifts:2", SHAPE, "shifts:2@1x4x4:mlp:16-7-1"), ("set:3", (3, 5), None)],
)
def test_the_architecture_of_an_average_is_one_that_is_read(group, shape, text):
    chosen = read_data((torch.rand(2, *shape), torch.tensor([0, 1])))
    found = average_of(group, chosen, 7, 1)
    assert found == (text or found) and parse_architecture(found)(torch.rand(2, *shape)).shape == (2, 1)


def test_an_architecture_that_the_group_does_not_leave_alone_is_not_trained():
    chosen = read_data((torch.rand(2, *SHAPE), torch.tensor([0, 1])))
    assert untrained(chosen, architecture="c4@1x4x4:mlp:16-7-1", group="c4")
    with pytest.raises(ValueError, match=r"does not average.* \(--arch\) out for c4@1x4x4:mlp:16-1000-1"):
        untrained(chosen, architecture="mlp:16-7-1", group="c4")
    with pytest.raises(ValueError, match="not invariant to c4"):
        untrained(chosen, architecture="cnn:1x4x4-c2k3-1", group="c4")


def test_the_mean_that_is_subtracted_does_not_move_under_the_group():
    chosen = read_data((torch.rand(5, *SHAPE, generator=child(1, "x")), torch.arange(5) % 2))
    plain, average = mean_of(chosen, None), mean_of(chosen, "c4")
    torch.testing.assert_close(plain, chosen.x.mean(0))
    turns = torch.stack([torch.rot90(plain, k, (1, 2)) for k in range(4)])
    torch.testing.assert_close(average, turns.mean(0))
    assert not torch.allclose(plain, average)
