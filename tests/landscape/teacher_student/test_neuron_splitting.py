"""One neuron more turns a minimum into a saddle; which neuron it is decides where that leads."""

import math

import pytest
import torch
from minima_reference import minimum, orthonormal

from vestige.landscape import (
    Neurons,
    certify_minimum,
    descend,
    grow,
    one_point_convexity,
    population_gradient,
    population_loss,
    split_neuron,
    split_spectrum,
)


def test_the_second_order_change_is_the_splitting_matrix():
    student, teacher = minimum(6), orthonormal(6)
    spectrum, base = split_spectrum(student, teacher), population_loss(student, teacher)
    for index in (0, 3):
        for share in (0.5, 0.2):
            moved = split_neuron(student, index, share=share, distance=1e-3, direction=spectrum.directions[index])
            change = float(population_loss(moved, teacher) - base)
            predicted = 1e-6 * float(spectrum.curvature[index]) / (2 * share * (1 - share))
            assert predicted < 0 and abs(change / predicted - 1) < 0.02
    same = split_neuron(student, 2, share=0.3)
    torch.testing.assert_close(population_loss(same, teacher), base)


def test_every_neuron_of_a_minimum_bends_down():
    """Checked by others on all 2,235 minima that they found."""
    spectrum = split_spectrum(minimum(7), orthonormal(7))
    assert bool((spectrum.curvature < 0).all()) and bool((spectrum.averages < 0).all())
    assert bool((spectrum.curvature <= spectrum.averages + 1e-12).all())
    assert spectrum.norm_sum < spectrum.teacher_norm_sum == 7
    along = (spectrum.directions * minimum(7).weight).sum(1)
    assert float(along.abs().max()) < 1e-9
    assert abs(float(spectrum.curvature.min()) + 0.1083) < 1e-4 and spectrum.best != 0


def test_the_right_neuron_leads_down_and_the_wrong_one_to_another_minimum():
    student, teacher = minimum(7), orthonormal(7)
    assert bool(grow(student, teacher).solved.all())
    wrong = grow(student, teacher, neuron=0)
    assert bool(wrong.stationary.all())
    assert abs(float(wrong.loss[0]) - 0.022147443365) < 1e-10
    proof = certify_minimum(Neurons(wrong.student.weight[0]), teacher)
    assert proof.kind == "spurious" and abs(proof.curvature / 0.00260854 - 1) < 0.01


@pytest.mark.slow
def test_the_right_neuron_leads_all_the_way_down():
    student, teacher = minimum(7), orthonormal(7)
    spectrum = split_spectrum(student, teacher)
    best = spectrum.best
    start = split_neuron(student, best, distance=1e-2, direction=spectrum.directions[best])
    assert float(descend(Neurons(start.weight[None]), teacher, solved=1e-6).loss) < 1e-6


def test_the_valley_is_cubic_and_its_gradient_quadratic():
    """F = 4 eps^3 / (3 pi) where halves of a neuron move to both sides; so no quadratic growth, and no dominance."""
    teacher, u, slopes = orthonormal(4), torch.eye(4)[1], []
    for eps in (1e-2, 1e-3):
        moved = split_neuron(teacher, 0, distance=eps, direction=u)
        loss = float(population_loss(moved, teacher))
        assert abs(loss / (4 * eps**3 / (3 * math.pi)) - 1) < 2 * eps
        slopes.append(float(population_gradient(moved, teacher).weight.norm()))
    assert abs(slopes[0] / slopes[1] / 100 - 1) < 0.01


def test_more_neurons_are_not_convex_but_convex_seen_from_the_minimum_in_most_directions():
    k, teacher = 5, orthonormal(5)
    more = split_neuron(teacher, 0)
    around = one_point_convexity(more, teacher, directions=60)
    assert bool((around.worst > 0.1).all()) and bool((around.negative_curvature > 0.5).all())
    exact = one_point_convexity(teacher, teacher, directions=20)
    assert bool((exact.negative_curvature == 0).all()) and float(exact.worst.min()) >= 1 / 4 - 1 / (2 * math.pi)
    apart = torch.zeros(1, k + 1, k)
    apart[0, -2, 1], apart[0, -1, 1] = 1.0, -1.0
    valley = one_point_convexity(more, teacher, radii=(0.1, 0.01), directions=apart)
    assert float(valley.ratio[1, 0]) < 0.2 * float(valley.ratio[0, 0]) < 0.1
    assert float(valley.gradient_dominance[1, 0]) < 0.2 * float(valley.gradient_dominance[0, 0])


def test_bad_input_is_refused():
    V = orthonormal(3)
    for call, message in (
        (lambda: split_neuron(V, 3), "0 to 2"),
        (lambda: split_neuron(V, 0, share=1.0), "shares in"),
        (lambda: split_neuron(V, 0, distance=0.1), "direction"),
        (lambda: split_spectrum(Neurons(V.weight, torch.zeros(3)), V), "biases|One network"),
        (lambda: split_spectrum(Neurons(torch.ones(2, 1)), Neurons(torch.ones(1, 1))), "one input"),
        (lambda: split_spectrum(Neurons(torch.zeros(3, 3)), V), "weight 0"),
        (lambda: one_point_convexity(V, V, radii=(0.0,)), "positive"),
        (lambda: one_point_convexity(V, V, directions=0), "at least 1"),
        (lambda: descend(V, V), "runs"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
