"""The parts of a cubic kernel machine that sums of signs single out, and the points that follow."""

import pytest
import torch
from kernel_reference import box_of, gaussian, machine

from vestige.core.rng import child
from vestige.reconstruct.kernels.cubic import cubic_part, solve_cubic, square_part
from vestige.reconstruct.kernels.functions import Polynomial

D, KERNEL = 9, Polynomial(0.2, 0.7, 3)
X, WEIGHT = gaussian(5, D), gaussian(5, 2, seed=1)


@pytest.mark.parametrize("reach", [0.5, 1.0, 3.0])
def test_sums_of_signs_leave_one_homogeneous_part(reach):
    p, q, r = gaussian(3, 8, D, seed=2)
    box = box_of(machine(KERNEL, X, WEIGHT), D)
    cubes = torch.einsum("mi,mi,mi,ic->mc", p @ X.T, q @ X.T, r @ X.T, WEIGHT)
    torch.testing.assert_close(cubic_part(box, p, q, r, reach), KERNEL.gamma**3 * cubes)
    assert box.used == 8 * 8
    squares = torch.einsum("mi,mi,ic->mc", p @ X.T, q @ X.T, WEIGHT)
    torch.testing.assert_close(square_part(box, p, q, reach), 3 * KERNEL.coef0 * KERNEL.gamma**2 * squares)
    assert box.used == 8 * 8 + 4 * 8


@pytest.mark.parametrize("n", [None, 5])
def test_points_with_their_coefficients(n):
    terms = solve_cubic(box_of(machine(KERNEL, X, WEIGHT), D), KERNEL, D, child(0), n=n, most=50)
    gap, match = torch.cdist(terms.points, X).min(1)
    assert terms.rank == 5 and gap.max() < 1e-6 and sorted(match.tolist()) == list(range(5))
    torch.testing.assert_close(terms.coefficients, WEIGHT[match], rtol=1e-5, atol=1e-6)
    assert terms.error.max() < 1e-6


def test_rounded_scores_show_only_what_stands_above_the_rounding():
    """A point of small weight is not counted; the noise of eight answers over 48 reach^3 is known."""
    weight = WEIGHT * torch.tensor([1, 1, 1, 1, 1e-9]).double()[:, None]

    def rounded(z):
        return (machine(KERNEL, X, weight)(z) * 1e6).round() / 1e6

    terms = solve_cubic(box_of(rounded, D, quantum=0.29e-6), KERNEL, D, child(0), n=None, most=50)
    assert terms.rank == 4
    assert 0.05 < terms.singular_values[4:].max() < 10
