"""The door: sizes, certificates, safe inputs, and every kind of bad input."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from narrow_reference import random_net
from torch import nn

from vestige.construct.exact.layers import Layer, Neuron, layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.narrowing.agreement import SafeRegion
from vestige.construct.narrowing.bounded import halvings
from vestige.construct.narrowing.fixed_point import fixed_point
from vestige.construct.narrowing.narrower import narrow
from vestige.construct.narrowing.promise import read_promise
from vestige.core.outcome import Outcome
from vestige.core.relu_chain import read_relu_chain
from vestige.core.rng import child
from vestige.nets.fully_connected import mlp

NEAR = {"exact": False, "radius": 1.0, "tolerance": 0.1, "delta": 0.02}


def uniform(n, d, seed=1):
    return 2 * torch.rand((n, d), generator=child(seed, "uniform")) - 1


def zero_network(inputs, outputs):
    return ExactNetwork((layer(inputs, [({}, 0)] * outputs),))


def one_bit_off(network, at_layer):
    """The last bit of the first weight of the last neuron of a layer."""
    item = network.layers[at_layer]
    row = item.neurons[-1]
    changed = Neuron(row.columns, (row.weights[0] + 1, *row.weights[1:]), row.bias, row.shift)
    layers = list(network.layers)
    layers[at_layer] = Layer(item.inputs, (*item.neurons[:-1], changed))
    return ExactNetwork(tuple(layers))


@pytest.mark.parametrize("width", ["2d+2", "2d+3"])
@pytest.mark.parametrize("widths", [[2, 5, 1], [3, 4, 4, 1], [2, 3, 3, 3, 1], [2, 6, 3]], ids=str)
def test_equal_everywhere_in_float64(widths, width):
    model = random_net(widths)
    built = narrow(model, width=width)
    d, n, depth = widths[0], max(widths[1:-1]), len(widths) - 1
    assert built.certificate.holds and built.outcome is Outcome.CONVERGED
    assert built.network.width == 2 * (d + depth - 1) + (width == "2d+3") + 2 * (widths[-1] - 1)
    assert built.network.depth <= (2 * n) ** (depth - 1) + 2
    module = built.to_torch(exact=False)
    assert isinstance(module, nn.Sequential) and module[0].weight.dtype == torch.float64
    for scale in (1e-3, 1.0, 1e3, 1e6):
        x = scale * torch.randn((500, d), generator=child(3, "inputs"))
        wanted = model(x).detach()
        assert float((module(x) - wanted).abs().max()) <= 1e-12 * float(wanted.abs().max())
    assert bool(built.specification.is_safe(1e9 * torch.ones(1, d)).all())


def test_pipelined_is_equal_to_the_last_bit_and_one_bit_shows():
    built = narrow(random_net([2, 5, 1]), width="2d+3")
    assert built.specification.tolerance == 0 and built.verify().holds
    off = replace(built, network=one_bit_off(built.network, built.network.depth - 1))
    assert not off.verify().holds


@pytest.mark.parametrize("options", [{}, NEAR])
def test_nulls_fail(options):
    model = random_net([2, 5, 1])
    built = narrow(model, **options)
    other = narrow(random_net([2, 5, 1], seed=1), **options)
    for network in (zero_network(2, 1), other.network):
        assert not replace(built, network=network).verify().holds


@pytest.mark.parametrize("width", ["5d", "d+2"])
@pytest.mark.parametrize("widths", [[2, 4, 1], [3, 5, 2], [2, 4, 3, 1], [9, 9, 1]], ids=str)
def test_near_its_target_on_safe_inputs(widths, width):
    model = random_net(widths, dtype=torch.float32)
    built = narrow(model, width=width, **NEAR)
    assert built.certificate.holds and built.numbers["sampled_error"] <= built.numbers["certified_error"] <= 0.1
    d = widths[0]
    assert built.network.width <= max({"5d": 5 * d, "d+2": d + 2}[width], 10)
    x = uniform(40, d)
    x = x[built.specification.is_safe(x)]
    assert len(x) > 30
    wanted, found = built.specification.target(x), built.network(x)
    assert float(abs(wanted - found).max()) <= built.numbers["certified_error"]
    reference = np.array([float(v) for v in wanted.ravel()])
    np.testing.assert_allclose(reference, model(x.float()).detach().double().ravel(), rtol=0, atol=1e-5)


def test_unsafe_inputs_are_as_rare_as_promised():
    """20000 draws; the promise is an upper bound on the mean, so that 5 standard errors above it is no accident."""
    model = random_net([2, 4, 1])
    ramps = []
    for delta in (0.3, 0.03, 0.003):
        built = narrow(model, exact=False, radius=1.0, tolerance=0.1, delta=delta)
        share = 1 - float(built.specification.is_safe(uniform(20_000, 2)).double().mean())
        assert delta / 4 < share <= delta + 5 * math.sqrt(delta / 20_000)
        ramps.append(1 / built.specification.ramp)
        assert built.network.depth == narrow(model, **NEAR).network.depth  # only weights grow as delta falls
    assert ramps == sorted(ramps) and 50 <= ramps[2] / ramps[0] <= 200


def test_safe_in_closed_form():
    region = SafeRegion(1.0, 2, Fraction(1, 4))  # steps of 1/4, the last sixteenth of each is unsafe
    x = np.array([[0.0], [3 / 16], [3.001 / 16], [np.nextafter(0.25, 0)], [0.25], [-1.0], [-1e-300], [1.0], [1.1]])
    assert region.holds(x).tolist() == [True, True, False, False, True, True, False, True, False]
    assert region.unsafe_probability(1, 0.5) == region.unsafe_probability(1, None) == Fraction(9, 32)
    assert region.unsafe_probability(3, 0.25) == 3 * 2 * Fraction(9, 32)


@pytest.mark.parametrize("bound", [2, 16])
def test_bounded_weights_give_the_same_outputs(bound):
    model = random_net([2, 4, 2])
    free, bounded = narrow(model, **NEAR), narrow(model, weight_bound=bound, **NEAR)
    weights = [
        abs(Fraction(int(w), 1 << row.shift))
        for item in bounded.network.layers
        for row in item.neurons
        for w in (*row.weights, row.bias)
    ]
    assert max(weights) <= bound and bounded.certificate.holds
    assert bounded.network.width == free.network.width and bounded.network.depth > free.network.depth
    x = uniform(40, 2)  # unsafe ones too
    assert (free.network(x) == bounded.network(x)).all()


def test_many_outputs_are_doubled_side_by_side():
    built = narrow(random_net([2, 2, 12]), weight_bound=16, **NEAR)
    assert built.network.width == 24 and built.certificate.holds


def test_halvings_are_the_fewest():
    rows = [[({0: 9}, 40), ({0: -1}, 0)], [({0: 2}, -1)], [({0: Fraction(1, 3)}, 0)]]
    assert halvings(rows, 2) == [5, 0, 0] and halvings(rows, 16) == [2, 0, 0]


def test_no_field_overflows_on_ten_thousand_inputs():
    fixed = fixed_point(read_relu_chain(random_net([3, 8, 8, 1])), 1.0, 10)
    values = np.floor(uniform(10_000, 3).numpy() * 2.0**10).astype(np.int64) + 2**11
    longest = []
    for item in fixed.layers:
        longest.append(int(values.max()).bit_length())
        assert values.min() >= 0 and longest[-1] <= item.fields
        values = np.maximum((values >> item.dropped) @ np.array(item.weights).T + np.array(item.biases), 0)
    assert longest[0] == fixed.layers[0].fields and longest[1] >= fixed.layers[1].fields - 3  # no room to waste


def test_given_inputs_are_what_is_checked():
    model = random_net([2, 4, 1])
    x = uniform(30, 2).reshape(30, 1, 2) * 0.7
    built = narrow(model, x, exact=False, tolerance=0.1)
    assert built.numbers["radius"] == float(x.abs().max())
    kept = x.flatten(1)[built.specification.is_safe(x)]
    np.testing.assert_array_equal(built.specification.points, kept.numpy())
    assert len(narrow(model, x).specification.points) > 0


def test_leaves_model_and_random_state_alone():
    model, before = random_net([2, 4, 1]).train(), torch.get_rng_state()
    weights = [p.clone() for p in model.parameters()]
    first, again = narrow(model, **NEAR), narrow(model, **NEAR)
    assert model.training and torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert first.network == again.network and first.numbers == again.numbers
    other = narrow(model, generator=child(7, "x"), **NEAR)
    assert not np.array_equal(other.specification.points, first.specification.points)


def test_a_wide_box_in_many_dimensions_is_not_out_of_range():
    """(2 radius)^-d underflows to 0 as a float."""
    options = {"tolerance": None, "delta": None, "radius": 10.0, "weight_bound": None}
    assert read_promise(400, None, density=None, **options).density is None
    assert SafeRegion(10.0, 8, Fraction(1, 2)).unsafe_probability(400, None) == 200 * (1 + Fraction(1, 256 * 20))
    with pytest.raises(ValueError, match="density=1e-300 given"):
        read_promise(1, None, density=1e-300, **options)


def test_extreme_biases_are_reported_and_repaired():
    model = random_net([2, 4, 1])
    model[0].weight.data[0] *= 1e-9
    model[2].weight.data[0, 0] = 1.0
    built = narrow(model)
    assert built.outcome is Outcome.STAGNATED and "Rounding shows" in built.warnings[-2]
    assert narrow(model, width="2d+3").certificate.holds


def test_constant_and_dead_networks():
    model = random_net([2, 3, 1])
    model[0].weight.data.zero_()
    assert narrow(model).network.depth == 1 and narrow(model).certificate.holds
    built = narrow(model, **NEAR)
    assert built.certificate.holds and built.numbers["sampled_error"] < 0.1


def test_model_as_vestige_makes_it():
    built = narrow(mlp([2, 7, 3], bias="first"))
    assert built.certificate.holds and len(built.warnings) == 1 and "as narrow already" in built.warnings[0]
    assert not narrow(mlp([2, 9, 1])).warnings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0.1}, "tolerance given with exact=True"),
        ({"radius": 1.0, "delta": 0.1}, "delta, radius given with exact=True"),
        ({"width": "5d"}, r"'5d' given for ExactWidth; allowed are '2d\+2' and '2d\+3'"),
        ({**NEAR, "width": "2d+2"}, r"'2d\+2' given for NearWidth; allowed are '5d' and 'd\+2'"),
        ({**NEAR, "tolerance": 0}, "tolerance=0 given"),
        ({**NEAR, "tolerance": 1e-320}, "a larger tolerance would work"),
        ({**NEAR, "delta": 1.0}, "delta=1.0 given"),
        ({"exact": False}, "no radius given"),
        ({**NEAR, "radius": math.inf}, "radius=inf given"),
        ({**NEAR, "density": 0.1}, r"density=0.1 given; no distribution on \[-1, 1\]\^2 is below 0.25 everywhere"),
        ({**NEAR, "weight_bound": 3}, "weight_bound=3 given; a power of two from 2 on"),
        ({"max_depth": 5}, "would have 6 layers of weights, max_depth=5 are allowed. exact=False"),
        ({**NEAR, "max_depth": 50}, "would have 1[0-9][0-9] layers of weights.*A larger tolerance"),
        ({**NEAR, "weight_bound": 2, "max_depth": 500}, "layers of weights.*A larger weight_bound or tolerance"),
        ({"x": torch.ones(3, 5)}, r"inputs of shape \[3, 5\] given; the network reads \(n, 2\)"),
        ({"x": torch.full((1, 2), torch.nan)}, "x holds 2 NaN or infinite"),
        ({**NEAR, "x": torch.full((1, 2), 1.5)}, "x reaches 1.5, radius=1 was given; radius=1.5 would work"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        narrow(random_net([2, 5, 1]), **options)


def test_refuses_what_is_narrow_already():
    with pytest.raises(ValueError, match=r"6 inputs and hidden width 4.*A hidden width of 6 would work"):
        narrow(random_net([6, 4, 1]))


def test_the_depth_that_is_predicted_is_the_depth_that_is_built():
    model = random_net([2, 4, 4, 4, 1])
    with pytest.raises(ValueError, match="would have 85 layers") as refusal:
        narrow(model, max_depth=80)
    assert "max_depth=85 would allow it" in str(refusal.value)
    assert narrow(model, max_depth=85).network.depth == 1 + 4 * (1 + 4 * (1 + 4))
    near = narrow(model, **NEAR).network.depth
    with pytest.raises(ValueError, match=f"would have {near} layers"):
        narrow(model, **NEAR, max_depth=near - 1)
