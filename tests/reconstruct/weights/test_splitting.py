"""Data sets that the weights cannot tell apart: the split ones satisfy equation (1) as the true one does (C6)."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import vestige as vg
from vestige.core.kkt import weighted_gradient
from vestige.core.rng import child
from vestige.nets.fully_connected import mlp
from vestige.reconstruct.weights.splitting import TOLERANCE, split_kkt_point


def network(*widths, bias="first", seed=0):
    return mlp(widths, bias=bias, generator=child(seed, "net"), dtype=torch.float64)


def drawn(*shape, seed=0, name="x"):
    return torch.randn(*shape, generator=child(seed, name), dtype=torch.float64)


def change(model, x, coef, points, halves):
    """Largest change of an entry of the weighted gradient, relative to the largest entry of its tensor."""
    before, after = weighted_gradient(model, x, coef), weighted_gradient(model, points, halves)
    return max(float((after[k] - g).abs().max() / g.abs().max()) for k, g in before.items())


def pair(x, v, coef):
    return torch.cat([x + v, x - v]), torch.cat([coef, coef]) / 2


@given(
    n=st.integers(1, 4), width=st.integers(1, 12), depth=st.integers(0, 2), out=st.integers(1, 3),
    bias=st.sampled_from(["first", "all", "none"]), seed=st.integers(0, 50),
)  # fmt: skip
def test_layers_and_outputs_stay_as_they_are(n, width, depth, out, bias, seed):
    model = network(8, *[width] * depth, out, bias=bias, seed=seed)
    x, coef = drawn(n, 8, seed=seed), drawn(n, out, seed=seed, name="coef")
    found = split_kkt_point(model, x, coef, directions=16)
    assert found.outcome is vg.Outcome.CONVERGED
    assert max(found.layer_change.values()) <= TOLERANCE
    torch.testing.assert_close(model(found.points), model(x).repeat(2, 1), atol=1e-9, rtol=0)
    before, after = weighted_gradient(model, x, coef), weighted_gradient(model, found.points, found.coef)
    for name, gradient in before.items():
        torch.testing.assert_close(after[name], gradient, atol=1e-9, rtol=0)


def test_two_hidden_layers_at_their_size_and_the_distance_that_is_stated():
    """C6: d = 30, two hidden layers of 50."""
    model, x = network(30, 50, 50, 1), drawn(20, 30)
    coef = drawn(20, 1, name="coef")
    found = split_kkt_point(model, x, coef)
    assert change(model, x, coef, found.points, found.coef) <= 1e-9
    plus, minus = found.points.split(20)
    torch.testing.assert_close((plus + minus) / 2, x)
    torch.testing.assert_close((plus - minus).norm(dim=1) / 2, found.distance)
    torch.testing.assert_close(found.relative, found.distance / x.norm(dim=1))
    assert 0.003 < float(found.relative.median()) < 0.5


def test_a_longer_step_passes_a_kink():
    """Null: the same directions 1.1 times as far are no solution, so the limit is the true one."""
    model, x, coef = network(30, 50, 50, 1), drawn(20, 30), drawn(20, 1, name="coef")
    found = split_kkt_point(model, x, coef)
    v = found.points[:20] - x
    for i in range(20):
        row = slice(i, i + 1)
        assert change(model, x[row], coef[row], *pair(x[row], v[row], coef[row])) <= 1e-9
        assert change(model, x[row], coef[row], *pair(x[row], 1.1 * v[row], coef[row])) > 1e-5


def test_a_random_direction_moves_the_outputs():
    """Null: as long, but not orthogonal to the output's gradient; then the two new points have other margins."""
    model, x, coef = network(30, 50, 50, 1), drawn(20, 30), drawn(20, 1, name="coef")
    found = split_kkt_point(model, x, coef)
    u = drawn(20, 30, name="u")
    v = found.distance[:, None] * u / u.norm(dim=1, keepdim=True)
    assert found.output_change < 1e-12
    assert (model(x + v) - model(x)).abs().max() > 1e-3
    assert change(model, x, coef, x + (found.points[:20] - x), coef) > 1e-3  # moved, not split


def test_many_directions_reach_further_than_one():
    model, x, coef = network(20, 30, 1), drawn(6, 20), drawn(6, 1, name="coef")
    one, many = (split_kkt_point(model, x, coef, directions=k).distance.mean() for k in (1, 256))
    assert many > 1.5 * one


def test_a_kernel_of_the_first_layer_is_limited_by_the_option_alone():
    """20 neurons see 20 directions of 40: the rest is free, and points move as far as they are allowed to."""
    model, x = network(40, 20, 1), drawn(3, 40)
    found = split_kkt_point(model, x, torch.ones(3, 1), most=5.0)
    assert found.relative.min() > 1 and found.relative.max() <= 5.0 + 1e-12
    assert max(found.layer_change.values()) <= TOLERANCE


def test_a_trained_network_cannot_tell_either():
    """The residual of stationarity at digits that a network was trained on, and at digits split in two."""
    chosen, _ = vg.data.sample(vg.load_data("digits"), 10, generator=child(0, "draw"))
    x, _ = vg.data.center(chosen)
    start = network(64, 100, 10)
    trained = vg.train_to_margin(start, x, chosen.y, loss="cross_entropy", weight_decay=1e-2).model
    true = vg.stationarity(trained, x, chosen.y, loss="cross_entropy", weight_decay=1e-2)
    found = split_kkt_point(trained, x, true.cotangent)
    residual = [
        float(vg.core.stationarity_residual(trained.double(), *at))
        for at in ((x, true.cotangent), (found.points, found.coef))
    ]
    assert residual[1] == pytest.approx(residual[0], abs=1e-9)
    assert found.points.shape == (20, 1, 8, 8) and found.relative.min() > 0


def test_on_a_kink_nothing_moves_and_it_says_so():
    model = network(4, 3, 1, bias="none")
    x = drawn(2, 4)
    with torch.no_grad():
        model[1].weight[0] = torch.tensor([1.0, -1.0, 0.0, 0.0])
    x[0] = 1.0  # on the kink of the first neuron
    found = split_kkt_point(model, x, torch.ones(2, 1))
    assert found.distance[0] == 0 < found.distance[1]
    assert found.outcome is vg.Outcome.STAGNATED
    assert "1 of 2 samples lie on a ReLU kink" in found.warnings[0]


def test_equal_generators_give_equal_points_and_the_model_stays():
    model, x, coef = network(10, 12, 2), drawn(3, 10), drawn(3, 2, name="coef")
    before = [p.clone() for p in model.parameters()]
    first, second = (split_kkt_point(model, x, coef, generator=child(4)).points for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, split_kkt_point(model, x, coef, generator=child(5)).points)
    assert all(torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))


BAD = {
    "a convolution": (nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(4, 1)), (1, 2, 2), {}, "Conv2d"),
    "another activation": (mlp([4, 3, 1], activation="gelu"), (4,), {}, "GELU"),
    "as many outputs as numbers": (mlp([2, 3, 2]), (2,), {"out": 2}, "more dimensions"),
    "coefficients of another model": (mlp([4, 3, 1]), (4,), {"out": 2}, "columns"),
    "no distance": (mlp([4, 3, 1]), (4,), {"most": 0.0}, "most="),
    "no directions": (mlp([4, 3, 1]), (4,), {"directions": 0}, "directions="),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case):
    model, shape, options, message = BAD[case]
    out = options.pop("out", 1) if options else 1
    with pytest.raises(ValueError, match=message):
        split_kkt_point(model, drawn(2, *shape), torch.ones(2, out), **options)


def test_bad_values_are_refused():
    model, x = network(4, 3, 1), drawn(2, 4)
    with pytest.raises(ValueError, match="NaN"):
        split_kkt_point(model, x * torch.nan, torch.ones(2, 1))
    with pytest.raises(ValueError, match="zero"):
        split_kkt_point(model, 0 * x, torch.ones(2, 1))
    with pytest.raises(ValueError, match="one row of coefficients"):
        split_kkt_point(model, x, torch.ones(3, 1))
