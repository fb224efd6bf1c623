"""One basis for several matrices, and none where there is none."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_reference import gaussian

from vestige.core.rng import child
from vestige.reconstruct.kernels.simultaneous_diagonalization import _left, _scaled, _sweep, diagonalize


@given(n=st.integers(2, 12), q=st.integers(2, 5), seed=st.integers(0, 30))
def test_diagonalization_finds_the_common_basis(n, q, seed):
    v, d = gaussian(n, n, seed=seed) + 2 * torch.eye(n).double(), gaussian(q, n, seed=seed + 100)
    found = diagonalize(torch.stack([v @ part.diag() @ v.T for part in d]), child(0))
    overlap = (torch.nn.functional.normalize(v, dim=0).T @ found.vectors).abs()
    assert overlap.amax(1).min() > 1 - 1e-6
    assert sorted(overlap.argmax(1).tolist()) == list(range(n))


def test_matrices_without_a_common_basis_are_not_called_diagonal():
    noise = gaussian(4, 8, 8)
    assert diagonalize(noise + noise.mT, child(0)).left > 0.1


def test_a_sweep_squares_a_small_error():
    """It solves to first order: an error of 1e-4 in V becomes one of about its square."""
    v, d = gaussian(6, 6) + 2 * torch.eye(6).double(), gaussian(4, 6, seed=1)
    matrices = torch.stack([v @ part.diag() @ v.T for part in d])
    near = _scaled((torch.eye(6) + 1e-4 * gaussian(6, 6, seed=2)) @ torch.linalg.inv(v), matrices)
    before, after = _left(near, matrices), _left(_sweep(near, matrices), matrices)
    assert 1e-5 < before < 1e-2 and after < 100 * before**2
