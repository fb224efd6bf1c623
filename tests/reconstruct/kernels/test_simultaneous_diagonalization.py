"""One basis for several matrices, and none where there is none."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_reference import gaussian

from vestige.core.rng import child
from vestige.reconstruct.kernels.simultaneous_diagonalization import diagonalize


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
