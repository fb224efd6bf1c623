"""Off the span of the data: the law that training obeys there, the radius it leaves, and the remedy."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vestige.attack.theory.span import data_span, invariance_drift
from vestige.attack.theory.subspace import off_subspace_robustness, project_weights, subspace_attack
from vestige.core.rng import child
from vestige.nets.fixed_output import fixed_output_mlp
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin


def planar(d=200, codimension=100, n=30):
    """Samples of norm sqrt(d) in a random subspace, and its basis."""
    draw = child(0, "subspace")
    basis = torch.linalg.qr(torch.randn((d, d - codimension), generator=draw))[0]
    x = torch.randn((n, d - codimension), generator=draw) @ basis.T
    return x * math.sqrt(d) / x.norm(dim=1, keepdim=True), torch.arange(n) % 2, basis


def trained(x, y, *, beta=1.0, steps=100, decay=0.0, momentum=0.0, seed=1):
    start = fixed_output_mlp(x.shape[1], 400, init_scale=beta, generator=child(seed, "net"))
    options = {"schedule": "constant", "learning_rate": 0.1, "steps": steps, "weight_decay": decay}
    return start, train_to_margin(start, x, y, **options, momentum=momentum, span=False, tol_loss=1e-12).model


@pytest.mark.parametrize(
    ("decay", "momentum", "steps"), [(0.0, 0.0, 40), (0.0, 0.9, 60), (0.02, 0.0, 100), (0.05, 0.0, 300)]
)
def test_the_part_off_the_span_only_shrinks(decay, momentum, steps):
    x, y, basis = planar()
    start, net = trained(x, y, decay=decay, momentum=momentum, steps=steps)
    span = data_span(x, basis=basis)
    shrink = (1 - 0.1 * decay) ** steps
    assert invariance_drift(net, start, span, shrink)[0] < 1e-10
    assert off_subspace_robustness(net, x, span=span, start=start, shrink=shrink).certificate.holds
    # A law that forgets the decay, or that is asked of what training did move, does not hold.
    assert invariance_drift(net, start, span, 0.9 * shrink)[0] > 1e-4
    assert (net[1].weight - start[1].weight).abs().max() > 1e-4


def test_adam_breaks_the_law_and_is_named():
    x, y, _ = planar(60, 30, 10)
    start = fixed_output_mlp(60, 50, generator=child(1, "net"))
    net = fixed_output_mlp(60, 50, generator=child(1, "net"))
    optimizer = torch.optim.Adam([net[1].weight], lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.softplus(-(2 * y - 1) * net(x)[:, 0]).mean().backward()
        optimizer.step()
    found = off_subspace_robustness(net, x, start=start)
    assert not found.certificate.holds and "adaptive optimizer" in found.warnings[-1]


def test_the_gradient_off_the_span_has_the_predicted_size():
    """Its norm fluctuates by 1 / sqrt(2 l) = 7 % from network to network, hence the mean of six."""
    x, y, basis = planar()
    predicted, closed = [], []
    for seed in range(6):
        _, net = trained(x, y, seed=seed)
        found = off_subspace_robustness(net, x, span=data_span(x, basis=basis))
        predicted.append((found.off_gradient / found.predicted_gradient).mean())
        active = (net[1](x) > 0).double().sum(1).detach()
        closed.append((found.off_gradient / (active * 100 / (400 * 200)).sqrt()).mean())
    for ratio in (torch.stack(predicted), torch.stack(closed)):
        assert 0.95 <= float(ratio.mean()) <= 1.1 and bool(((ratio > 0.8) & (ratio < 1.2)).all())


def test_the_true_radius_is_the_linear_one_while_it_is_short():
    x, y, basis = planar()
    found = off_subspace_robustness(trained(x, y)[1], x, span=data_span(x, basis=basis))
    short = found.linear_radius <= math.sqrt(200) / 2
    error = (found.radius / found.linear_radius - 1).abs()[short]
    assert int(short.sum()) >= 10 and float(error.median()) <= 0.1
    assert found.null_flips == 0 and found.null_trials == 20 * 30
    assert 0.2 <= float(found.energy_share.mean()) <= 0.5  # l / d = 1/2 for a gradient without a preference


def test_a_smaller_start_is_as_many_times_more_robust():
    x, y, basis = planar()
    linear, true = [], []
    for beta in (1.0, 0.1, 0.01):
        _, net = trained(x, y, beta=beta)
        found = off_subspace_robustness(net, x, span=data_span(x, basis=basis))
        active = (net[1](x) > 0).double().sum(1).detach()
        linear.append((found.linear_radius / found.value * active.sqrt()).median())  # at equal margin and activity
        true.append((found.radius / found.value).median())
    for before, after in ((0, 1), (1, 2)):
        assert float(linear[after] / linear[before]) == pytest.approx(10, rel=0.05)
        assert 7 <= float(true[after] / true[before]) <= 15  # at ten norms of x and more other neurons decide


def test_projection_keeps_the_answers_and_ends_the_attack():
    x, y, _ = planar()
    _, net = trained(x, y)
    span = data_span(x)
    before = net[1].weight.clone()
    cleaned = project_weights(net, span)
    assert float((cleaned(x) - net(x)).detach().abs().max()) < 1e-10 and torch.equal(net[1].weight, before)
    assert bool(torch.isinf(off_subspace_robustness(cleaned, x, span=span).radius).all())
    far = 1e6 * span.off(torch.randn(x.shape, generator=child(3, "far")))
    torch.testing.assert_close(cleaned(x + far), cleaned(x), atol=1e-5, rtol=0)
    assert not bool(subspace_attack(cleaned, x, eps=1e9, span=span).success.any())
    # Nothing done is no remedy.
    assert bool(subspace_attack(net, x, eps=20.0, span=span).success.all())


def test_the_attack_stays_orthogonal_to_the_data_and_within_eps():
    x, y, _ = planar()
    _, net = trained(x, y)
    found = subspace_attack(net, x, eps=6.0)
    moved = found.adv - x
    assert 1 <= int(found.success.sum()) < 30
    assert float((moved @ x.T).abs().max()) < 1e-9
    assert bool((found.distance <= 6.0).all()) and bool((moved.norm(dim=1) - found.distance).abs().max() < 1e-9)
    assert torch.equal(found.success, (net(found.adv)[:, 0] * net(x)[:, 0] < 0))
    assert torch.equal(net.float()(found.adv.float())[:, 0] * net(x.float())[:, 0] < 0, found.success)
    net.double()
    # As long a step along a random direction off the span does nothing.
    z = data_span(x).off(torch.randn(x.shape, generator=child(5, "null")))
    assert not bool((net(x + 6.0 * z / z.norm(dim=1, keepdim=True)) * net(x) <= 0).any())


@pytest.mark.parametrize(("steepness", "changed"), [(1.1, 2), (0.9, 0), (0.01, 0)])
def test_far_outside_the_data_is_no_success(steepness, changed):
    """f = x_1 + a x_2 on (+-1, 0): the sign changes at |x_2| = 1 / a, and samples are 1 long."""
    net = nn.Linear(2, 1, bias=False)
    net.weight.data = torch.tensor([[1.0, steepness]])
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    found = subspace_attack(net, x, eps=1e6)
    assert int(found.success.sum()) == changed and int((net(found.adv) * net(x) < 0).sum()) == changed
    assert bool(found.warnings) == (changed == 0)
    assert bool(((found.adv - x).norm(dim=1) <= 1.0).all())


@pytest.mark.slow
def test_bands_open_with_a_small_start_on_the_diagonal():
    """Seven points on a line with labels in turn, and a constant third coordinate: three seeds, at margin 0.3."""
    t = torch.linspace(-1, 1, 7)
    x, y = torch.stack([t, t, torch.ones(7)], 1), torch.arange(7) % 2
    medians = {}
    for beta in (1.0, 0.1):
        medians[beta] = [diagonal(x, y, beta, seed) for seed in range(3)]
    assert torch.tensor(medians[0.1]).median() >= 5 * torch.tensor(medians[1.0]).median()


def diagonal(x, y, beta, seed):
    """Trained until every margin is 0.3; then the median radius of the five inner points off their line."""
    net = fixed_output_mlp(3, 400, init_scale=beta * math.sqrt(1.5), generator=child(seed, "diagonal"))
    options = {"schedule": "constant", "learning_rate": 0.5, "span": False, "tol_loss": 1e-12}
    for _ in range(60):
        net = train_to_margin(net, x, y, **options, steps=1000).model
        if bool(((2 * y - 1) * net(x)[:, 0] >= 0.3).all()):
            break
    found = off_subspace_robustness(net, x)
    assert found.span.codimension == 1 and float(found.value.min()) >= 0.3
    return float(found.radius[1:-1].median())


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(5, 9))
def test_span_is_orthonormal_holds_the_data_and_leaves_the_rest(seed, n, d):
    x = torch.randn((n, d), generator=torch.Generator().manual_seed(seed))
    span = data_span(x)
    assert (span.dimension, span.codimension) == (d, d - n)
    torch.testing.assert_close(span.basis.T @ span.basis, torch.eye(n))
    assert bool((span.off(x) == 0).all())
    z = span.off(torch.randn((3, d), generator=torch.Generator().manual_seed(seed + 1)))
    torch.testing.assert_close(z @ x.T, torch.zeros(3, n), atol=1e-12, rtol=0)


def test_constant_pixels_of_digits_are_a_span_of_their_own():
    from vestige.data.load import load_data

    digits = load_data("digits")
    constant = (digits.x.flatten(1).amax(0) == digits.x.flatten(1).amin(0)).sum()
    span = data_span(digits.x)
    assert span.codimension >= int(constant) > 0
    net = mlp([64, 30, 10], generator=child(0, "digits"))
    found = off_subspace_robustness(net, digits.x[:20], span=span)
    assert bool(torch.isfinite(found.radius).all()) and bool((found.energy_share < 0.5).all())


def test_networks_without_a_first_linear_layer_are_measured_only():
    x = torch.zeros((2, 1, 4, 4))
    x[:, :, 1:3, 1:3] = torch.rand((2, 1, 2, 2), generator=child(0, "x"))
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)).double()
    found = off_subspace_robustness(net, x, span=data_span(x))
    assert found.predicted_gradient is None and found.certificate is None
    with pytest.raises(ValueError, match="does not begin with a linear layer"):
        project_weights(net, found.span)


FULL = torch.eye(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": FULL}, "no direction is orthogonal"),
        ({"x": torch.full((2, 3), torch.nan)}, "NaN"),
        ({"span": data_span(torch.zeros(1, 5) + 1)}, "of other data"),
        ({"pair": (0, 1)}, "one output"),
        ({"start": nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 1))}, "give one network before and after"),
        ({"start": nn.Conv1d(1, 1, 1)}, "does not begin with a linear layer"),
    ],
)
def test_bad_input_is_refused_with_its_repair(change, message):
    net = mlp([3, 4, 1], generator=child(0, "bad"))
    options = {"x": FULL[:2], **change}
    with pytest.raises(ValueError, match=message):
        off_subspace_robustness(net, options.pop("x"), **options)


def test_bad_radii_bases_and_shares_are_refused():
    net = mlp([3, 4, 1], generator=child(0, "bad"))
    for eps in (0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="eps must be positive and finite"):
            subspace_attack(net, FULL[:2], eps=eps)
    with pytest.raises(ValueError, match=r"share in \(0, 1\]"):
        data_span(FULL, variance=0.0)
    with pytest.raises(ValueError, match="independent columns"):
        data_span(FULL, basis=torch.ones(3, 2))


def test_doubtful_ranks_and_means_are_told():
    rows = torch.diag(torch.tensor([1.0, 1.0, 0.3, 0.0]))
    clear = data_span(torch.cat([rows, -rows]))
    assert clear.codimension == 1 and not clear.warnings
    assert any("in doubt" in w for w in data_span(torch.diag(torch.tensor([1.0, -2e-14, 1e-15]))).warnings)
    nearly = data_span(torch.diag(torch.tensor([1.0, -1.0, 0.03])), variance=0.99)
    assert nearly.codimension == 1 and "training moves weights there" in nearly.warnings[0]
    off_center = torch.tensor([[5.0, 1.0, 0.0], [5.0, -1.0, 0.0]])
    assert any("not centered" in w for w in data_span(off_center).warnings)
