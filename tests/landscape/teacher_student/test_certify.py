"""A certificate of a minimum is never wrong, and is there where it should be."""

import math

import numpy as np
import pytest
import torch
from minima_reference import PUBLISHED, minimum, orthonormal, structured, valley

from vestige.core.rng import child
from vestige.landscape import Neurons, certify_minimum, population_gradient, split_neuron, split_spectrum
from vestige.landscape.teacher_student.certify import lowest_curvature
from vestige.landscape.teacher_student.interval import Interval


@pytest.mark.parametrize("k", PUBLISHED)
def test_minima_with_40_digits_are_found_and_proved(k):
    _, loss, curvature = PUBLISHED[k]
    found = minimum(k)
    proof = certify_minimum(found, orthonormal(k))
    assert proof.kind == "spurious" and proof.is_minimum and proof.certificate.holds
    assert proof.loss[0] <= loss <= proof.loss[1] and proof.loss[1] - proof.loss[0] < 1e-11
    assert 0.99 * curvature < proof.curvature <= curvature
    assert float((found.weight - structured(k)).abs().max()) < 1e-12 + proof.distance
    assert proof.distance < proof.ball < 1e-8


def test_a_gradient_of_1e_6_is_too_large():
    found = minimum(6)
    g = torch.randn(6, 6, generator=child(0, "push"))
    moved = Neurons(found.weight + 1e-6 * g)
    assert 1e-7 < float(population_gradient(moved, orthonormal(6)).weight.norm()) < 1e-5
    proof = certify_minimum(moved, orthonormal(6))
    assert proof.kind == "undecided" and not proof.certificate.holds
    assert "curvature" in proof.reason


def test_a_ball_whose_curvature_is_too_small_for_its_gradient_proves_nothing():
    """Pushed farther and farther: between proof and a curvature that is not positive, there is neither."""
    found, g = minimum(7), torch.randn(7, 7, generator=child(0, "push"))
    proofs = [certify_minimum(Neurons(found.weight + size * g), orthonormal(7)) for size in torch.logspace(-8, -4, 60)]
    assert proofs[0].is_minimum and proofs[-1].curvature < 0
    for proof in proofs:
        assert proof.distance < proof.ball / 2 * (1 + 1e-9) if proof.is_minimum else math.isinf(proof.distance)
    assert any(proof.curvature > 0 and not proof.is_minimum for proof in proofs)


def test_a_split_minimum_is_none():
    found = minimum(7)
    split = split_neuron(found, split_spectrum(found, orthonormal(7)).best)
    proof = certify_minimum(split, orthonormal(7))
    assert proof.kind == "no_minimum" and proof.curvature < 0 and proof.certificate.holds and not proof.is_minimum


def test_the_global_minimum_is_a_minimum_that_is_not_called_spurious():
    order = torch.randperm(5, generator=child(0, "order"))
    proof = certify_minimum(Neurons(torch.eye(5)[order]), orthonormal(5))
    assert proof.kind == "minimum" and proof.loss[0] == 0
    assert 0.0907 < proof.curvature <= 1 / 4 - 1 / (2 * math.pi)


def points_of_known_kind(seed):
    """(student, teacher, kinds that may be claimed of it)."""
    g = child(seed, "points")
    k = int(torch.randint(2, 7, (1,), generator=g))
    weight = torch.randn(k, k, generator=g)
    yield Neurons(weight), orthonormal(k), {"no_minimum", "undecided"}  # has a gradient
    yield valley(k, float(0.1 + 0.8 * torch.rand(1, generator=g))), orthonormal(k), {"no_minimum", "undecided"}  # flat
    q = torch.linalg.qr(torch.randn(k, k, generator=g))[0]
    yield Neurons(q[torch.randperm(k, generator=g)]), Neurons(q), {"minimum", "undecided"}
    bad = minimum(6 + seed % 2).weight
    share = float(0.2 + 0.6 * torch.rand(1, generator=g))
    index = int(torch.randint(len(bad), (1,), generator=g))
    yield split_neuron(Neurons(bad), index, share=share), orthonormal(len(bad)), {"no_minimum"}
    turn = torch.linalg.qr(torch.randn(len(bad), len(bad), generator=g))[0]
    yield Neurons(bad @ turn), Neurons(turn), {"spurious"}  # the same problem, turned


def test_certificates_are_never_wrong():
    for seed in range(6):
        for student, teacher, allowed in points_of_known_kind(seed):
            assert str(certify_minimum(student, teacher).kind) in allowed


def test_flat_and_undifferentiable_points_get_no_proof():
    assert certify_minimum(valley(3), orthonormal(3)).kind == "undecided"
    zero = torch.eye(3)
    zero[0] = 0
    assert "weight 0" in certify_minimum(Neurons(zero), orthonormal(3)).reason


@pytest.mark.parametrize("seed", range(5))
def test_curvature_bounds_contain_the_eigenvalue(seed):
    a = torch.randn(8, 8, generator=child(seed, "matrix"))
    matrix = ((a + a.T) / 2).numpy()
    exact = float(np.linalg.eigvalsh(matrix)[0])
    low, high = lowest_curvature(Interval.around(matrix))
    assert low <= exact <= high and high - low < 0.01 * abs(exact)
    low, high = lowest_curvature(Interval.around(matrix, 0.01))
    assert low <= exact - 0.01 and exact + 0.01 <= high + 1e-12  # matrix -+ 0.01 I are in there too


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (orthonormal(2), orthonormal(3), "as many inputs"),
        (Neurons(torch.eye(3)[:2]), orthonormal(3), "at least as many students"),
        (Neurons(torch.eye(3), torch.zeros(3)), orthonormal(3), "biases"),
        (Neurons(torch.eye(3), None, 2 * torch.ones(3)), orthonormal(3), "output weights"),
        (Neurons(torch.eye(3)[None]), orthonormal(3), "one network at a time"),
        (Neurons(torch.full((3, 3), math.inf)), orthonormal(3), "infinite"),
    ],
)
def test_what_no_proof_covers_is_refused(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        certify_minimum(student, teacher)
