"""Products by diagonals are products, for any matrix."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.construct.transformer.runs import runs


@given(out=st.integers(1, 12), columns=st.integers(1, 12), filled=st.floats(0, 1), seed=st.integers(0, 99))
def test_any_matrix_is_its_diagonals_and_full_rows(out, columns, filled, seed):
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randint(-3, 4, (out, columns), generator=draw) * (torch.rand(out, columns, generator=draw) < filled)
    weight, sums = weight.double(), torch.randint(-3, 4, (2, 3, out), generator=draw).double()
    x = torch.randint(-3, 4, (2, 3, columns), generator=draw).double()
    found = runs(weight)
    if found is not None:
        wanted = sums + x @ weight.T
        found.add_to(sums, x)
        assert torch.equal(sums, wanted)


def test_a_permutation_has_too_many_and_blocks_have_one_each():
    assert runs(torch.eye(40)[torch.randperm(40, generator=torch.Generator().manual_seed(0))]) is None
    weight = torch.zeros(20, 30)
    weight[2:12, 15:25], weight[19] = 3 * torch.eye(10), 1.0
    found = runs(weight)
    assert [(row, column, len(entries)) for row, column, entries in found.diagonals] == [(2, 15, 10)]
    assert found.full.tolist() == [19]
    nothing = runs(torch.zeros(3, 4))
    assert not nothing.diagonals and not len(nothing.full)
