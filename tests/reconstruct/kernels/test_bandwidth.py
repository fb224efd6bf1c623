"""The bandwidth of a Gaussian machine: exact along rays for one point, and where the rank falls for several."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_reference import box_of, gaussian, machine

from vestige.core.rng import child
from vestige.reconstruct.kernels.bandwidth import find_bandwidth, ray_bandwidth
from vestige.reconstruct.kernels.functions import Exponential, Gaussian, Laplace

D = 10
CENTER = torch.zeros(D, dtype=torch.float64)


@given(gamma=st.floats(1e-3, 10), seed=st.integers(0, 9))
def test_along_rays_a_single_point_gives_gamma_exactly(gamma, seed):
    """-log f is quadratic along any ray: half its second difference over the squared step is gamma."""
    x = 0.1 * gaussian(1, D, seed=seed)
    box = box_of(machine(Gaussian(gamma), x, torch.ones(1, 1).double()), D)
    assert ray_bandwidth(box, CENTER, child(seed)) == pytest.approx(gamma, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.02, 0.3])
def test_several_points_bend_the_rays_and_the_rank_settles_it(gamma):
    x, weight = gaussian(8, D) * 0.3 / gamma**0.5, gaussian(8, 2, seed=1)
    box = box_of(machine(Gaussian(gamma), x, weight), D)
    rough = ray_bandwidth(box, CENTER, child(0))
    found = find_bandwidth(box, CENTER, child(0), outputs=2, most=60)
    assert found == pytest.approx(gamma, rel=1e-6)
    assert abs(found / gamma - 1) < abs(rough / gamma - 1)


@pytest.mark.parametrize("kernel", [Exponential(0.1), Laplace(0.5)])
def test_other_kernels_are_refused_or_give_no_gamma_at_which_the_rank_falls(kernel):
    """Null: exponentials do not fall along rays; a Laplace machine has no rank to fall."""
    x, weight = gaussian(8, D), gaussian(8, 2, seed=1)
    box = box_of(machine(kernel, x, weight.abs()), D)
    if isinstance(kernel, Exponential):
        with pytest.raises(ValueError, match="do not fall"):
            ray_bandwidth(box, CENTER, child(0))
    else:
        with pytest.raises(ValueError, match="not as a Gaussian"):
            found = find_bandwidth(box, CENTER, child(0), outputs=2, most=40)
            assert found == ray_bandwidth(box, CENTER, child(0))
            raise ValueError("not as a Gaussian does: no rank fell")
