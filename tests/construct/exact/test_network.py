"""Exact networks against Fractions and against torch."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from vestige.construct.exact import evaluate as evaluation
from vestige.construct.exact.compose import in_parallel, in_series, pass_through
from vestige.construct.exact.evaluate import evaluate
from vestige.construct.exact.layers import layer, neuron
from vestige.construct.exact.network import ExactNetwork

integers = st.integers(-5, 5)
dyadics = st.builds(lambda a, s: Fraction(a, 2**s), st.integers(-9, 9), st.integers(0, 4))
long_numbers = st.builds(lambda a, s: Fraction(a, 2**s), st.integers(-(2**90), 2**90), st.integers(0, 90))


@st.composite
def rows_of_networks(draw, numbers=dyadics, inputs=None, outputs=None):
    sizes = [inputs or draw(st.integers(1, 3)), *draw(st.lists(st.integers(1, 4), max_size=3))]
    sizes.append(outputs or draw(st.integers(1, 3)))
    layers = []
    for before, after in itertools.pairwise(sizes):
        row = st.tuples(st.dictionaries(st.integers(0, before - 1), numbers), numbers)
        layers.append((before, draw(st.lists(row, min_size=after, max_size=after))))
    return layers


def built(rows):
    """Outside of the strategy: the checker of types draws random numbers, which hypothesis forbids in one."""
    return ExactNetwork(tuple(itertools.starmap(layer, rows)))


def reference(network, point):
    """One Fraction after the other, as the definition says."""
    values = [Fraction(v) for v in point]
    for depth, item in enumerate(network.layers):
        values = [
            (sum((w * values[c] for c, w in zip(r.columns, r.weights, strict=True)), Fraction(0)) + r.bias) / 2**r.shift
            for r in item.neurons
        ]
        if depth < network.depth - 1:
            values = [max(v, Fraction(0)) for v in values]
    return values


def points_for(data, network, numbers=st.floats(-8, 8)):
    point = st.lists(numbers, min_size=network.inputs, max_size=network.inputs)
    return data.draw(st.lists(point, min_size=1, max_size=12))


@given(rows=rows_of_networks(numbers=st.one_of(dyadics, long_numbers)), data=st.data())
def test_many_points_at_once_agree_with_fractions(rows, data):
    network = built(rows)
    points = points_for(data, network, st.one_of(st.floats(-8, 8), st.floats(-1e300, 1e300), integers))
    expected = [reference(network, point) for point in points]
    assert network(points).tolist() == expected
    assert evaluate(network.layers, points, chunk=3).tolist() == expected


def test_points_that_share_a_code_word_are_computed_with_once_and_right():
    """Four long words for 64 points: the classes path, which small examples do not reach."""
    word = 2**200 + 1
    rows = [({0: 1}, 0), ({1: word}, 0)]
    mixed = [({0: 1, 1: 3}, -word), ({1: Fraction(1, 2**190)}, 0), ({0: 1}, 0)]
    last = [({0: 1, 1: -5, 2: 7}, 0)]
    network = ExactNetwork((layer(2, rows), layer(2, mixed), layer(3, last)))
    points = [[i, i % 4] for i in range(64)]
    assert network(points).tolist() == [reference(network, point) for point in points]


@pytest.mark.parametrize("big", [int, pytest.param(None, id="whatever is installed")])
def test_it_works_with_integers_of_python(monkeypatch, big):
    if big is not None:
        monkeypatch.setattr(evaluation, "big", big)
    network = ExactNetwork((layer(1, [({0: 3**90}, -(5**60))]), layer(1, [({0: Fraction(1, 2**99)}, 1)])))
    points = [[k] for k in range(-3, 4)]
    assert network(points).tolist() == [reference(network, point) for point in points]


@given(rows=rows_of_networks(), data=st.data())
def test_a_float_module_that_passes_the_audit_is_exact(rows, data):
    network = built(rows)
    points = np.array(points_for(data, network, st.integers(-64, 64)), dtype=float)
    module = network.to_torch(torch.float64, at=points)
    assert [[Fraction(v) for v in row] for row in module(torch.from_numpy(points)).tolist()] == network(points).tolist()


def test_the_audit_counts_the_bits_of_a_sum():
    """x + 1 for x = 2**23 needs 24 bits, and for 2**24 it needs 25."""
    network = ExactNetwork((layer(1, [({0: 1}, 1)]),))
    assert network.audit([[2**23]]).bits == 24
    assert network.to_torch(torch.float32, at=[[2**23]])(torch.tensor([[2.0**23]], dtype=torch.float32)) == 2**23 + 1
    with pytest.raises(ValueError, match=r"24 bits of mantissa, .* needs 25 .*layer 0"):
        network.to_torch(torch.float32, at=[[2**24]])


@given(
    weights=st.lists(st.integers(-9, 9).filter(bool), min_size=1, max_size=5),
    bias=st.integers(-9, 9),
    point=st.integers(-9, 9).filter(bool),
)
@example(weights=[-3, -3, -3], bias=0, point=5)
@example(weights=[3, 3, 3], bias=0, point=5)
def test_the_audit_counts_the_bits_of_every_partial_sum(weights, bias, point):
    """Reference: all sets of terms that an order of summation can begin with."""
    network = ExactNetwork((layer(len(weights), [(dict(enumerate(weights)), bias)]),))
    terms = [w * point for w in weights] + [bias]
    numbers = [sum(part) for k in range(1, len(terms) + 1) for part in itertools.combinations(terms, k)]
    odd = [abs(v) // (v & -v) for v in (*numbers, *weights, point) if v]
    assert network.audit([[point] * len(weights)]).bits >= max(map(int.bit_length, odd))


def test_a_power_of_two_costs_one_bit_and_a_range():
    network = ExactNetwork((layer(1, [({0: 2**200}, 0)]),))
    assert network.audit([[1]]).bits == 1
    assert network.to_torch(torch.float64, at=[[1]])(torch.ones(1, 1)) == 2.0**200
    with pytest.raises(ValueError, match=r"holds numbers from"):
        network.to_torch(torch.float32, at=[[1]])


def test_a_module_that_rounds_is_made_only_when_asked_for():
    network = ExactNetwork((layer(1, [({0: 2**60 + 1}, 0)]),))
    with pytest.raises(ValueError, match="no points given"):
        network.to_torch()
    with pytest.raises(ValueError, match="53 bits of mantissa"):
        network.to_torch(at=[[1]])
    assert network.to_torch(exact=False)(torch.ones(1, 1)) == 2.0**60


def test_it_leaves_the_precision_alone():
    torch.set_default_dtype(torch.float32)
    module = ExactNetwork((layer(1, [({0: 1}, 1)]),)).to_torch(torch.float64, at=[[1]])
    assert torch.get_default_dtype() == torch.float32
    assert module[0].weight.dtype == torch.float64


@given(data=st.data(), relu=st.booleans())
def test_in_series_composes(data, relu):
    first = built(data.draw(rows_of_networks()))
    second = built(data.draw(rows_of_networks(inputs=first.outputs)))
    for point in points_for(data, first, integers):
        middle = reference(first, point)
        middle = [max(v, Fraction(0)) for v in middle] if relu else middle
        assert in_series(first, second, relu=relu)([point])[0].tolist() == reference(second, middle)


@given(data=st.data(), shared=st.booleans())
def test_in_parallel_gives_all_outputs(data, shared):
    parts = [built(data.draw(rows_of_networks(inputs=2))) for _ in range(3)]
    both = in_parallel(parts, shared=shared)
    point = data.draw(st.lists(integers, min_size=both.inputs, max_size=both.inputs))
    pieces = [point if shared else point[2 * k : 2 * k + 2] for k in range(3)]
    assert both([point])[0].tolist() == list(itertools.chain.from_iterable(map(reference, parts, pieces)))
    assert both.depth == max(network.depth for network in parts)


@given(size=st.integers(1, 3), depth=st.integers(1, 5), data=st.data())
def test_pass_through_is_the_identity(size, depth, data):
    point = data.draw(st.lists(st.floats(-4, 4), min_size=size, max_size=size))
    network = pass_through(size, depth)
    assert network([point])[0].tolist() == point
    assert network.depth == depth
    positive = [abs(v) for v in point]
    assert pass_through(size, depth, signed=False)([positive])[0].tolist() == positive


def test_sizes_of_a_known_network():
    network = ExactNetwork((layer(3, [({0: 1, 2: Fraction(5, 8)}, 0), ({1: -9}, 2)]), layer(2, [({0: 1}, 0)])))
    assert (network.depth, network.width, network.inputs, network.outputs) == (2, 2, 3, 1)
    assert (network.nonzeros, network.parameters) == (5, 11)
    assert network.weight_bits == 4  # of -9; 5/8 = .101 has three


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: neuron({0: Fraction(1, 3)}), "integers over powers of two"),
        (lambda: neuron({0: float("nan")}), "weights are finite"),
        (lambda: neuron({}, float("inf")), "weights are finite"),
        (lambda: layer(2, [({2: 1}, 0)]), "allowed are 0 to 1"),
        (lambda: ExactNetwork(()), "without layers"),
        (lambda: ExactNetwork((layer(1, [({}, 0)] * 2), layer(1, [({}, 0)]))), "2 outputs, layer 1 reads 1"),
        (lambda: pass_through(1, 1)([1.0]), r"shape \[1\] given"),
        (lambda: pass_through(1, 1)(np.empty((0, 1))), "both at least 1"),
        (lambda: pass_through(2, 1)([[1.0, float("nan")]]), "1 coordinates are NaN"),
        (lambda: pass_through(1, 1)([[Fraction(1, 3)]]), "1/3 is not an integer over a power of two"),
        (lambda: pass_through(1, 0), "both must be at least 1"),
        (lambda: in_series(pass_through(1, 1), pass_through(2, 1)), "1 outputs before one that reads 2"),
        (lambda: in_parallel([]), "at least one"),
        (lambda: pass_through(1, 1).to_torch(torch.int64, at=[[1]]), "allowed are torch.float64"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_kinds_of_points():
    network = pass_through(2, 3)
    for points in (
        torch.tensor([[0.1, 2.0]], dtype=torch.float32),
        torch.tensor([[0.5, 2.0]], dtype=torch.bfloat16),
        torch.tensor([[[1], [2]]]),
        np.array([[2**63, 1]], dtype=np.uint64),
        np.array([[-(2**63), 1]]),
        np.array([[True, False]]),
        [[Fraction(1, 2**80), 2**70]],
        [[5e-324, 1.7e308]],
    ):
        flat = points.flatten().tolist() if isinstance(points, torch.Tensor | np.ndarray) else points[0]
        assert network(points)[0].tolist() == flat
