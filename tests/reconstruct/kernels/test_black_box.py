"""What stands between the attack and the sum of kernels: logarithms, votes, rounding, a budget and a reach."""

import math

import pytest
import torch
from kernel_reference import box_of, gaussian, machine

from vestige.reconstruct.kernels.black_box import BlackBox, BudgetSpentError, Scores, relative_noise
from vestige.reconstruct.kernels.functions import Gaussian
from vestige.reconstruct.kernels.probing import SINGLE, _read_precision

KERNEL, X, WEIGHT = Gaussian(0.1), gaussian(5, 4), gaussian(5, 3, seed=1)
Z = gaussian(20, 4, seed=2)


def test_votes_and_logarithms_are_undone():
    r = KERNEL(Z, X) @ WEIGHT
    votes = torch.tensor([0.0, 1.0, 2.0]) + r / (3 * r.abs() + 3)
    torch.testing.assert_close(BlackBox(lambda z: z, 4, Scores.VOTES, math.inf).read(votes), r)
    log = BlackBox(lambda z: z, 4, Scores.LOG, math.inf, log_scale=-700.0)
    torch.testing.assert_close(log.read(r.abs().log() - 700), r.abs())


def test_noise_is_relative_and_that_of_rounding_absolute():
    box = box_of(machine(KERNEL, X, WEIGHT), 4, noise=1e-3, quantum=1e-5)
    value, noise = box.measure(Z)
    torch.testing.assert_close(noise, 1e-3 * (KERNEL(Z, X) @ WEIGHT).abs().mean(1) + 1e-5)
    box.known = (lambda z: KERNEL(z, X[:2]) @ WEIGHT[:2], 1e-2)
    rest, more = box.measure(Z)
    torch.testing.assert_close(rest, KERNEL(Z, X[2:]) @ WEIGHT[2:])
    torch.testing.assert_close(more, noise + 1e-2 * (KERNEL(Z, X[:2]) @ WEIGHT[:2]).abs().mean(1))
    assert value.shape == rest.shape


def test_rounding_of_the_answers_is_measured():
    """Relative noise e on every answer: the second difference over sqrt(6) has it as its standard deviation."""
    noise = iter(gaussian(3, 400, 3, seed=5))
    box = box_of(lambda z: (KERNEL(torch.as_tensor(z), X) @ WEIGHT.abs()) * (1 + 1e-4 * next(noise)), 4)
    assert relative_noise(box, gaussian(400, 4, seed=6)) == pytest.approx(1e-4, rel=0.6)
    exact = box_of(machine(KERNEL, X, WEIGHT), 4)
    assert relative_noise(exact, Z) < 1e-14


def test_points_out_of_reach_are_brought_into_it_along_their_line():
    box = box_of(lambda z: z, 4, reach=2.0, center=torch.ones(4).double())
    moved = box.within(1 + Z)
    length = Z.norm(dim=1)
    torch.testing.assert_close((moved - 1).norm(dim=1), length.clamp(max=2.0), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close((moved - 1) / (moved - 1).norm(dim=1, keepdim=True), Z / length[:, None])
    assert (length > 2).any() and (length < 2).any()


def test_no_more_is_asked_than_allowed():
    box = BlackBox(machine(KERNEL, X, WEIGHT), 4, Scores.RAW, 30)
    box(Z)
    with pytest.raises(BudgetSpentError, match="20 queries made and 20 more wanted"):
        box(Z)
    assert box.used == 20
    box(Z[:10])
    assert box.used == 30


def test_answers_that_were_cut_short_are_said_to_be():
    answers, box = KERNEL(Z, X) @ WEIGHT, box_of(machine(KERNEL, X, WEIGHT), 4)
    assert _read_precision(box, answers) is None and box.quantum == 0
    assert "single precision" in _read_precision(box, answers.float().double()) and box.floor == SINGLE
    assert "3 decimals" in _read_precision(box, (answers * 1000).round() / 1000)
    assert box.quantum == pytest.approx(1e-3 / 12**0.5, rel=0.01)  # of a uniform error
