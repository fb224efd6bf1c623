"""Sums of anchors: against double loops, and closed forms of the scaling, the shifts and the number of points."""

import pytest
import torch
from kernel_reference import box_of, gaussian, machine

from vestige.core.rng import child
from vestige.reconstruct.kernels.functions import Exponential, Gaussian
from vestige.reconstruct.kernels.matrix_pencil import (
    FURTHEST,
    OUTPUTS,
    Sums,
    add_anchors,
    choose_scale,
    equalized,
    mixed,
    no_sums,
    shifts_for,
    solve,
    spectrum,
)

D, CENTER = 6, 0.3 * torch.ones(6, dtype=torch.float64)
X, WEIGHT = gaussian(4, D), gaussian(4, 2, seed=1)


@pytest.mark.parametrize("kernel", [Gaussian(0.1), Exponential(0.1)])
def test_sums_of_anchors_are_products_of_what_the_anchors_see(kernel):
    """G_ab = sum_i V_ai b_i V_bi with V_ai = exp(rate u_a.(x_i - c)): a matrix of rank 4 for each output and shift."""
    anchors, shifts = 0.4 * gaussian(7, D, seed=2), torch.cat([torch.zeros(1, D), 0.5 * gaussian(1, D, seed=3)])
    box = box_of(machine(kernel, X, WEIGHT), D)
    sums = add_anchors(box, kernel, CENTER, no_sums(D, shifts, 2), anchors[:3])
    sums = add_anchors(box, kernel, CENTER, sums, anchors[3:])
    away = X - CENTER if isinstance(kernel, Gaussian) else X
    v = (kernel.rate * anchors @ away.T).exp()
    for k, shift in enumerate(shifts):
        # exp(-decay |u_a|^2) of the kernel itself is taken out of every row and column, that of the shift altogether
        at_center = kernel(CENTER[None], X)[0] * (kernel.rate * away @ shift).exp()
        for output in range(2):
            own = (-kernel.decay * anchors.square().sum(1)).exp()
            wanted = own[:, None] * own * ((v * (at_center * WEIGHT[:, output])) @ v.T)
            torch.testing.assert_close(sums.values[2 * k + output], wanted)
    assert box.used == 2 * 7 * 8 // 2
    assert (sums.noise > 0).all() and torch.equal(sums.noise, sums.noise.T)


def test_noise_is_the_largest_over_shifts_of_what_each_answer_carries():
    kernel, anchors = Gaussian(0.1), 0.4 * gaussian(5, D, seed=2)
    shifts = torch.cat([torch.zeros(1, D), 2 * gaussian(1, D, seed=3)])
    box = box_of(machine(kernel, X, WEIGHT), D, noise=1e-3, quantum=1e-5)
    found = add_anchors(box, kernel, CENTER, no_sums(D, shifts, 2), anchors).noise
    for a in range(5):
        for b in range(5):
            errors = []
            for shift in shifts:
                z = CENTER + anchors[a] + anchors[b] + shift
                size = (kernel(z[None], X) @ WEIGHT).abs().mean()
                inner = anchors[a] @ anchors[b] + (anchors[a] + anchors[b]) @ shift
                factor = (kernel.decay * (2 * inner + shift @ shift)).exp()
                errors.append((1e-3 * size + 1e-5) * factor)
            torch.testing.assert_close(found[a, b], torch.stack(errors).max())


def test_noise_that_factors_is_scaled_to_one():
    row = gaussian(9).exp()
    values = gaussian(3, 9, 9)
    scaled, found, noise = equalized(Sums(torch.zeros(9, D), torch.zeros(1, D), values, row[:, None] * row))
    torch.testing.assert_close(found, row)
    torch.testing.assert_close(scaled, values / row[:, None] / row)
    assert noise == pytest.approx(9**0.5 * (1 + 3**0.5))


def test_pure_noise_shows_no_point_and_points_above_it_are_counted():
    """Singular values over the noise: below 1 for white noise of the stated size, the true ones far above."""
    noise = gaussian(4, 30, 30)
    ones = torch.ones(30, 30, dtype=torch.float64)
    sums = Sums(torch.zeros(30, D), torch.zeros(1, D), (noise + noise.mT) / 2**0.5, ones)
    assert spectrum(sums)[1].max() < 1
    v = gaussian(30, 5, seed=4)
    points = torch.stack([1e3 * v @ part.diag() @ v.T for part in gaussian(4, 5, seed=5)])
    value = spectrum(Sums(sums.anchors, sums.shifts, sums.values + points, ones))[1]
    assert int((value > 10).sum()) == 5


def test_many_outputs_are_mixed_into_few_by_a_rotation():
    values = gaussian(30, 4, 4)
    few = mixed(values)
    assert len(few) == OUTPUTS and torch.equal(few, mixed(values)) and mixed(values[:5]) is not few
    same = gaussian(1, 4, 4).expand(30, 4, 4).contiguous()
    # orthonormal columns: a rotation of 30 equal outputs keeps at most their whole square
    assert mixed(same).square().sum() <= same.square().sum() * (1 + 1e-12)


@pytest.mark.parametrize(("outputs", "count"), [(1, 3), (2, 2), (3, 1), (7, 1)])
def test_shifts_make_three_matrices_at_least(outputs, count):
    shifts = shifts_for(outputs, 4_000, 0.5, child(0))
    assert shifts.shape == (count, 4_000) and not shifts[0].any()
    if count > 1:
        assert shifts[1:].std() == pytest.approx(1.0, rel=0.06)  # twice the anchors' scale; 5 sigma of 4,000


def test_every_query_stays_within_reach():
    """The largest scale leaves room for an anchor twice and a shift; random queries scatter by less than a quarter."""
    asked, kernel = [], Gaussian(1e-3)

    def predict(z):
        asked.append(torch.as_tensor(z))
        return machine(kernel, X, WEIGHT)(z)

    box = box_of(predict, D, reach=5.0, center=CENTER)
    scale = choose_scale(box, kernel, CENTER, child(0), n=None, outputs=2)
    assert scale <= 0.75**0.5 * 5 / (FURTHEST * (8 * D) ** 0.5) + 1e-12
    squares = torch.cat([(z - CENTER).square().sum(1) for z in asked])
    assert squares.mean().sqrt() < 5


@pytest.mark.parametrize(("n", "rank"), [(None, 4), (3, 3)])
def test_points_and_coefficients_of_one_set_of_anchors(n, rank):
    kernel = Gaussian(0.1)
    terms = solve(box_of(machine(kernel, X, WEIGHT), D), kernel, CENTER, child(0), outputs=2, n=n)
    assert terms.rank == rank and not terms.full
    if n is None:
        gap, match = torch.cdist(terms.points, X).min(1)
        assert gap.max() < 1e-6 and sorted(match.tolist()) == [0, 1, 2, 3]
        torch.testing.assert_close(terms.coefficients, WEIGHT[match], rtol=1e-5, atol=1e-6)
        # held-out steps: the estimated errors are small and of the size of the true ones, not zero
        assert terms.error.max() < 1e-6


def test_more_points_than_anchors_are_said_to_be_more():
    kernel, x, weight = Gaussian(0.1), gaussian(60, 30), gaussian(60, 3, seed=1)
    box = box_of(machine(kernel, x, weight), 30)
    terms = solve(box, kernel, torch.zeros(30).double(), child(0), outputs=3, most=32)
    assert terms.full and len(terms.points) == 0
