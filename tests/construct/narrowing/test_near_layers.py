"""The network of bits against the integers that it should compute, and these against the target."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from narrow_reference import points, random_net, true_value, value

from vestige.construct.narrowing.fixed_point import error_bound, fewest_bits, fixed_point, paper_bits, shift_exponent
from vestige.construct.narrowing.near_layers import NearWidth, bit_depth, bit_rows, bit_width
from vestige.core.relu_chain import read_relu_chain

SIZES = [[2, 4, 1], [1, 3, 1], [3, 5, 2], [2, 3, 3, 1], [7, 8, 1]]


def integers(fixed, x):
    """The layers in plain integers, and every field's values."""
    values = [math.floor((Fraction(t) + Fraction(2) ** fixed.shift) * 2**fixed.bits) for t in x]
    seen = [(values, fixed.layers[0].fields)]
    for k, layer in enumerate(fixed.layers):
        values = [v >> layer.dropped for v in values]
        sums = zip(layer.weights, layer.biases, strict=True)
        values = [sum(w * v for w, v in zip(row, values, strict=True)) + c for row, c in sums]
        if k < len(fixed.layers) - 1:
            values = [max(0, v) for v in values]
            seen.append((values, fixed.layers[k + 1].fields))
    return [Fraction(v, 4**fixed.bits) for v in values], seen


def is_safe(fixed, ramp, x):
    scaled = [(Fraction(t) + Fraction(2) ** fixed.shift) * 2**fixed.bits for t in x]
    return all(math.floor(v) == v or math.ceil(v) - v >= ramp for v in scaled)


@pytest.mark.parametrize("width", NearWidth)
@pytest.mark.parametrize("widths", SIZES, ids=str)
def test_equal_to_the_integers_and_near_the_target(widths, width):
    model, tolerance, ramp = random_net(widths), 0.1, Fraction(1, 64)
    chain = read_relu_chain(model)
    fixed = fixed_point(chain, 1.0, fewest_bits(chain, 1.0, tolerance))
    rows = bit_rows(fixed, width, ramp)
    corners = [[1.0] * widths[0], [-1.0] * widths[0], [0.0] * widths[0], [0.5] * widths[0]]
    safe = [x for x in [*points(12, widths[0]), *corners] if is_safe(fixed, ramp, x)]
    assert len(safe) > 8
    for x in safe:
        found = value(rows, x)
        assert found == integers(fixed, x)[0]
        assert max(abs(a - b) for a, b in zip(found, true_value(model, x), strict=True)) <= fixed.error <= tolerance
    d, promised = widths[0], {"5d": 5 * widths[0], "d+2": widths[0] + 2}[width]
    assert max(map(len, rows[:-1])) <= max(promised, 10, 4 + widths[-1]) == bit_width(d, widths[-1], width)
    assert len(rows) == bit_depth(fixed, width)


def test_fields_never_overflow():
    for seed in range(5):
        chain = read_relu_chain(random_net([3, 8, 8, 1], seed))
        fixed = fixed_point(chain, 1.0, 10)
        for x in points(400, 3, seed):
            for values, field in integers(fixed, x)[1]:
                assert 0 <= min(values) and max(values).bit_length() <= field
            read = zip(fixed.layers, integers(fixed, x)[1], strict=True)
            assert all(v >> layer.dropped <= g for layer, (vs, _) in read for v, g in zip(vs, layer.most, strict=True))


def test_fields_are_no_longer_than_the_largest_value():
    chain = read_relu_chain(random_net([1, 1, 1], scale=0.0))
    chain.weights[0][:], chain.weights[1][:] = 1.0, 1.0
    fixed = fixed_point(chain, 1.0, 4)
    # u = 16 (x + 2) in 16..48; H = 16 u - 2 * 16^2 reaches 256, 9 bits, at x = 1.
    assert [layer.fields for layer in fixed.layers] == [6, 9] and fixed.layers[1].most == (16,)
    assert integers(fixed, [1.0])[0] == [1]


@given(st.integers(0, 999), st.integers(1, 12), st.sampled_from([0.3, 1.0, 5.0]))
def test_the_error_bound_holds(seed, bits, radius):
    model = random_net([2, 3, 3, 1], seed, scale=2.0)
    chain = read_relu_chain(model)
    bits = max(bits, -shift_exponent(radius))
    fixed = fixed_point(chain, radius, bits)
    for x in points(4, 2, seed, radius):
        assert abs(integers(fixed, x)[0][0] - true_value(model, x)[0]) <= error_bound(chain, radius, bits)


def test_fewest_bits_are_fewer_than_the_papers_and_no_fewer_would_do():
    chain = read_relu_chain(random_net([2, 4, 1]))
    bits = fewest_bits(chain, 1.0, 0.1)
    assert error_bound(chain, 1.0, bits) <= 0.1 < error_bound(chain, 1.0, bits - 1)
    c0, c = paper_bits(chain, 1.0, 0.1)
    assert c0 == pytest.approx(4 * math.log2(5 * 4 * 2 / 0.1)) and bits <= c0
    assert c == pytest.approx(2 * c0 + 2 + 2 * math.log2(5)) and fixed_point(chain, 1.0, bits).field <= c
    with pytest.raises(ValueError, match="a larger tolerance would work"):
        fewest_bits(chain, 1.0, 1e-320)


def test_unsafe_inputs_are_wrong_by_more_than_the_tolerance():
    """Half a ramp below an integer every bit is a fraction, and then the fields are garbage: no small error."""
    model = random_net([2, 4, 1])
    chain = read_relu_chain(model)
    fixed = fixed_point(chain, 1.0, fewest_bits(chain, 1.0, 0.1))
    rows = bit_rows(fixed, NearWidth.SIDE_BY_SIDE, Fraction(1, 64))
    off = [k / 8 - 2.0 ** -(fixed.bits + 7) for k in range(-7, 9)]
    errors = [abs(value(rows, [t, 0.25])[0] - true_value(model, [t, 0.25])[0]) for t in off]
    assert not any(is_safe(fixed, Fraction(1, 64), [t, 0.25]) for t in off) and max(errors) > 0.1


def slope(x, y):
    return math.log(y[-1] / y[0]) / math.log(x[-1] / x[0])


@pytest.mark.parametrize("width", NearWidth)
def test_layers_grow_with_the_square_of_the_width_and_linearly_in_the_depth(width):
    """Theorem 2: n^2 L^2 log(...), of which one L comes from bits that these networks do not need."""

    def layers(widths):
        chain = read_relu_chain(random_net(widths, scale=widths[1] ** -0.5))
        return bit_depth(fixed_point(chain, 1.0, fewest_bits(chain, 1.0, 0.01)), width)

    sizes = (16, 32, 64)
    assert 1.8 < slope(sizes, [layers([2, n, n, 1]) for n in sizes]) < 2.4  # the logarithm adds a little
    depths = (3, 9)
    assert 0.8 < slope(depths, [layers([2, *[8] * depth, 1]) for depth in depths]) < 2


def printed_lemma_15(x, bits, doubled):
    """Bits from thresholds; the weight of bit i is 2^(c - i), printed as 2^(c - i + 1)."""
    return sum(2 ** (bits - i + doubled) * (math.floor(x * 2**i) % 2) for i in range(1, bits + 1))


def test_the_printed_weight_of_a_bit_is_twice_the_right_one():
    xs = [x for (x,) in points(50, 1) if x > 0]
    right = [printed_lemma_15(x, 12, doubled=False) == math.floor(x * 2**12) for x in xs]
    printed = [printed_lemma_15(x, 12, doubled=True) == math.floor(x * 2**12) for x in xs]
    assert all(right) and sum(printed) < 0.1 * len(xs)
