"""One layer out of random weights, held against its definition row by row."""

import numpy as np
import pytest
import torch

from vestige.construct.prune.compare import on_the_sphere
from vestige.construct.prune.gadget import Draw, approximate, grow, open_gadget
from vestige.construct.prune.subset_sum import PruneMethod, random_subset_sum
from vestige.construct.prune.sup_error import Ball
from vestige.core.relu_chain import Affine
from vestige.core.rng import child


def gadget(method="subset_sum", *, signed=True, bias=False):
    draw = child(0, "gadget")
    weight = torch.rand(2, 3, generator=draw) - 0.5
    layer = Affine(weight, torch.rand(2, generator=draw) if bias else None)
    return open_gadget(layer, Draw(0, 0, "uniform", 1.0), PruneMethod(method), signed=signed)


def errors(gadget):
    """|sum of the kept products - what they must sum to|, one group and output at a time."""
    found = torch.zeros(gadget.wanted.shape)
    for group, rows in enumerate(gadget.rows):
        for out in range(found.shape[1]):
            kept = [q for q in rows if gadget.keep[q, out]]
            products = (abs(float(gadget.first[q, group // 2])) * float(gadget.second[q, out]) for q in kept)
            found[group, out] = abs(sum(products) - float(gadget.wanted[group, out]))
    return found


def test_a_row_goes_to_its_largest_entry_while_all_columns_lack_rows():
    made = gadget()
    grow(made, np.full(6, 50))
    size = made.first.abs()
    assert made.column[:40].tolist() == size[:40].argmax(1).tolist()
    for group, rows in enumerate(made.rows):
        assert len(rows) >= 50 and set(made.column[rows]) == {group // 2}
        assert ((made.first[rows, group // 2] < 0) == bool(group % 2)).all()


@pytest.mark.parametrize("bias", [False, True])
def test_the_errors_are_those_of_the_kept_products(bias):
    made = gadget(bias=bias)
    for tolerance, rows in ((0.2, 3), (0.01, 6), (1e-4, 12)):  # each search starts from the subsets of the last
        approximate(made, tolerance, rows, fixed=False)
        torch.testing.assert_close(made.error, errors(made), atol=1e-12, rtol=0)
        assert float(made.error.max()) <= tolerance


def test_errors_below_single_precision_are_reached():
    made = gadget()
    approximate(made, 1e-8, 28, fixed=False)
    assert float(errors(made).max()) <= 1e-8


def test_a_network_that_reads_no_negative_inputs_has_no_rows_for_them():
    made = gadget(signed=False, bias=True)
    approximate(made, 0.05, 5, fixed=False)
    assert [bool(rows) for rows in made.rows] == [True, False] * 4


def test_a_number_that_fits_exactly_is_taken():
    found = random_subset_sum(torch.tensor([2.0, 1.0, 5.0]), torch.tensor(3.0), method="greedy")
    assert found.mask.tolist() == [True, True, False] and float(found.error) == 0


@pytest.mark.parametrize("nonnegative", [False, True])
def test_probes_lie_on_the_sphere(nonnegative):
    ball = Ball(0.1, 2.5, nonnegative)
    probes, again = (on_the_sphere(7, ball, 30, "probes") for _ in range(2))
    torch.testing.assert_close(probes.norm(dim=1), torch.full((30,), 2.5))
    assert bool((probes >= 0).all()) == nonnegative and torch.equal(probes, again)
    assert not torch.equal(probes, on_the_sphere(7, ball, 30, "others"))
