"""The narrow network that is equal everywhere, against exact evaluation; and the printed lemma, which is not."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from narrow_reference import dense_rows, points, random_net, true_value, value

from vestige.construct.narrowing.equal_layers import ExactWidth, exact_depth, exact_rows, exact_width
from vestige.core.relu_chain import read_relu_chain

SIZES = [[2, 5, 1], [3, 4, 4, 1], [2, 3, 3, 3, 1], [1, 4, 1], [2, 6, 3, 1], [2, 4, 3, 2], [3, 7, 4]]


@pytest.mark.parametrize("base", ExactWidth)
@pytest.mark.parametrize("widths", SIZES, ids=str)
def test_equal_in_fractions_at_the_promised_size(widths, base):
    model = random_net(widths)
    chain = read_relu_chain(model)
    rows = exact_rows(chain, base)
    for scale in (1e-3, 1.0, 1e6):
        for x in points(3, widths[0], scale=scale):
            assert value(rows, x) == true_value(model, x)
    d, n, depth = widths[0], max(widths[1:-1]), len(widths) - 1
    promised = 2 * (d + depth - 1) + (base is ExactWidth.PIPELINED) + 2 * (widths[-1] - 1)
    assert {len(layer) for layer in rows[:-1]} == {promised} == {exact_width(chain, base)}
    assert len(rows) == exact_depth(chain) <= (2 * n) ** (depth - 1) + 2


@given(st.integers(1, 3), st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(0, 99), st.booleans())
def test_equal_with_dead_rows_and_small_integers(d, hidden, seed, rotating):
    """Small integers make zero rows, equal rows and ties between pivots; also inputs at the kinks."""
    model = random_net([d, *hidden, 1], seed, scale=1.6)
    for parameter in model.parameters():
        parameter.data.round_()
    rows = exact_rows(read_relu_chain(model), ExactWidth.ROTATING if rotating else ExactWidth.PIPELINED)
    for x in [*points(2, d, seed, 3.0), [0] * d, [1] * d]:
        assert value(rows, x) == true_value(model, x)
    assert len(rows) == exact_depth(read_relu_chain(model))


def test_pipelined_weights_are_the_floats_that_they_were():
    model = random_net([2, 5, 3, 1])
    stored = {abs(v) for layer in dense_rows(model) for row, b in layer for v in (*row.values(), b)}
    written = {
        abs(Fraction(v))
        for layer in exact_rows(read_relu_chain(model), ExactWidth.PIPELINED)
        for r, b in layer
        for v in (*r.values(), b)
    }
    assert written <= stored | {0, 1}


def test_weights_of_any_size_are_brought_to_one():
    model = random_net([2, 4, 1])
    model[0].weight.data *= torch.tensor([1e-200, 1e-3, 1.0, 1e200])[:, None]
    rows = exact_rows(read_relu_chain(model), ExactWidth.ROTATING)
    entries = [abs(v) for layer in rows[:-1] for j, (row, _) in enumerate(layer) if j > 1 for v in row.values()]
    assert max(entries) <= 2
    assert value(rows, [0.3, -0.7]) == true_value(model, [0.3, -0.7])


def printed_lemma_16(model, with_factor):
    """Both accumulators take u_i (<w_i, x> + b_i) in before the ReLU; as printed, b_i even without its u_i."""
    (first, last), d = (dense_rows(model)[k] for k in (0, 1)), model[0].in_features
    copies = [({j: 1}, 0) for j in range(d)] + [({j: -1}, 0) for j in range(d)]
    carried = [({k: 1}, 0) for k in range(2 * d)]
    rows = [[*copies, ({}, 0), ({}, 0)]]
    for (w, b), u in zip(first, last[0][0].values(), strict=True):
        accumulators = [({2 * d: 1}, 0), ({2 * d + 1: 1}, 0)]
        added = {j: abs(u) * v for j, v in w.items()} | {d + j: -abs(u) * v for j, v in w.items()}
        accumulators[u < 0][0].update(added)
        accumulators[u < 0] = (accumulators[u < 0][0], abs(u) * b if with_factor else b)
        rows.append([*carried, *accumulators])
    return [*rows, [({2 * d: 1, 2 * d + 1: -1}, last[0][1])]]


@pytest.mark.parametrize("with_factor", [False, True])
def test_the_printed_lemma_is_another_function(with_factor):
    model = random_net([3, 7, 1], scale=2.0)
    xs = points(50, 3, scale=2.0)
    wrong = printed_lemma_16(model, with_factor)
    assert len(wrong) == 7 + 2 and {len(layer) for layer in wrong[:-1]} == {2 * 3 + 2}
    error = [abs(float(value(wrong, x)[0] - true_value(model, x)[0])) for x in xs]
    assert max(error) > 1 and sum(e > 0.1 for e in error) > 25
    for base in ExactWidth:
        fixed = exact_rows(read_relu_chain(model), base)
        assert all(value(fixed, x) == true_value(model, x) for x in xs)


def test_one_bit_of_one_weight_shows():
    model = random_net([2, 5, 1])
    rows = exact_rows(read_relu_chain(model), ExactWidth.PIPELINED)
    row, _ = next(r for r in rows[1] if any(w not in (0, 1) for w in r[0].values()))
    row[list(row)[-1]] *= 1 + Fraction(1, 2**52)
    assert any(value(rows, x) != true_value(model, x) for x in points(20, 2))
