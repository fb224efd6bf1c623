"""Formulas compiled to ReLU layers give the values that they are made for, exactly."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.construct.transformer import gadgets
from vestige.construct.transformer.wires import Wire, compiled, relu

INTEGERS = torch.arange(-9, 10).double()
X, Y = Wire({0: 1.0}), Wire({1: 1.0})


def values(wire, *columns):
    """Of a compiled formula, at inputs given by column."""
    x = torch.stack([torch.as_tensor(c).double() for c in columns], 1)
    return compiled([wire], x.shape[1])(x)[:, 0]


def grid(a, b):
    return torch.cartesian_prod(a, b).T


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (gadgets.is_zero(X), lambda z: (z == 0).double()),
        (gadgets.at_least_zero(X), lambda z: (z >= 0).double()),
        (gadgets.squared(X, 9), lambda z: z * z),
        (relu(X) + relu(-X) * 2 - 1, lambda z: z.relu() + 2 * (-z).relu() - 1),
        (Wire({0: 3.0}, 2.0), lambda z: 3 * z + 2),
        (1 - X, lambda z: 1 - z),
    ],
)
def test_exact_at_integers(made, wanted):
    assert torch.equal(values(made, INTEGERS), wanted(INTEGERS))


def test_products_and_gates_of_integers():
    a, b = grid(INTEGERS, INTEGERS)
    assert torch.equal(values(gadgets.product(X, Y, 9), a, b), a * b)
    bit, z = grid(torch.tensor([0.0, 1.0]), INTEGERS)
    assert torch.equal(values(gadgets.gated(X, Y, 9), bit, z), bit * z)
    assert torch.equal(values(gadgets.both(X, Y), *grid(bit[:2], bit[:2])), bit.new_zeros(4))
    ones = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    assert values(gadgets.both(X, Y), *ones).tolist() == [0, 0, 0, 1]


def test_snapping_takes_a_quarter_and_no_more():
    near = torch.arange(8).double()[:, None] + torch.tensor([-0.25, -0.1, 0.0, 0.25]).double()
    flat = near.flatten()
    torch.testing.assert_close(values(gadgets.snapped(X, 7), flat), flat.round(), rtol=0, atol=1e-12)
    torch.testing.assert_close(values(gadgets.snapped_bit(X), flat), flat.round().clamp(max=1), rtol=0, atol=1e-12)
    assert (values(gadgets.snapped(X, 7), torch.tensor([2.4])) - 2).abs() > 0.1


@given(numbers=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_the_maximum_of_any_numbers(numbers):
    found = gadgets.largest_of([Wire({k: 1.0}) for k in range(len(numbers))])
    assert values(found, *[[n] for n in numbers]).item() == pytest.approx(max(numbers), rel=1e-9, abs=1e-9)


@given(seed=st.integers(0, 99), rounds=st.integers(1, 4))
def test_what_is_compiled_is_what_is_written(seed, rounds):
    """A naive evaluation of random formulas in which early values are used late."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 3, generator=draw, dtype=torch.float64)
    wires, columns = [Wire({k: 1.0}) for k in range(3)], list(x.T)
    for _ in range(rounds):
        factors = torch.randn(len(wires), generator=draw).tolist()
        wires.append(relu(sum((f * w for f, w in zip(factors, wires, strict=True)), Wire({})) + factors[0]))
        columns.append((sum(f * c for f, c in zip(factors, columns, strict=True)) + factors[0]).relu())
    both = compiled([wires[-1] - wires[0], wires[3]], 3)(x)
    torch.testing.assert_close(both, torch.stack([columns[-1] - columns[0], columns[3]], 1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("n", "tolerance", "pieces"), [(100, 0.5, 9), (100, 0.45, 10), (1000, 0.45, 33), (10_000, 0.45, 105)]
)
def test_the_inverse_has_the_fewest_pieces_and_exactly_the_error(n, tolerance, pieces):
    places, weights, _ = gadgets.inverse_hinges(n, tolerance)
    assert len(places) == len(weights) == pieces
    counts = torch.arange(1, n + 1).double()
    error = (values(gadgets.inverse(X, n, tolerance), 1 / counts) - counts).abs().max()
    assert error <= tolerance + 1e-9
    at_a_corner = values(gadgets.inverse(X, n, tolerance), torch.tensor(places))
    torch.testing.assert_close(at_a_corner, 1 / torch.tensor(places) - tolerance, rtol=1e-9, atol=1e-9)
    if n == 1000:
        assert 0.99e6 < sum(weights) < 1.06e6


def fewest_pieces(n, tolerance):
    """Greedy from the right: a piece goes on as long as some line is within the tolerance at all its counts."""
    pieces, start = 0, 1
    while start <= n:
        end = start
        while end < n:
            t1, t2 = 1 / start, 1 / (end + 1)
            slope = (start - (end + 1)) / (t1 - t2)
            inside = range(start, end + 2)
            gap = max(start + slope * (1 / c - t1) - c for c in inside)
            if gap > 2 * tolerance + 1e-9:
                break
            end += 1
        pieces, start = pieces + 1, end + 1
    return pieces


def test_no_line_through_fewer_pieces_stays_within_the_tolerance():
    for n in (50, 500):
        assert fewest_pieces(n, 0.45) <= len(gadgets.inverse_hinges(n, 0.45)[0]) <= 3 * fewest_pieces(n, 0.45)
        assert fewest_pieces(n, 1e-7) == n // 2  # exact interpolation: a convex curve meets a line twice


def test_a_lookup_gives_the_others_no_more_than_asked():
    factor = gadgets.lookup_temperature(0.5, 200, 0.01)
    logits = torch.full((200,), 0.5).double()
    logits[7] = 1.0
    assert (factor * logits).softmax(0)[7] >= 0.99
    assert (0.9 * factor * logits).softmax(0)[7] < 0.99
    with pytest.raises(ValueError, match="above 0"):
        gadgets.lookup_temperature(0.0, 3, 0.1)
    assert math.isfinite(gadgets.lookup_temperature(1.0, 1, 0.5))
