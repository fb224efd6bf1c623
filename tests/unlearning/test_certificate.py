"""(epsilon, delta, tau): the V-curve, the linear bound, nulls that fail, correlated data that are flagged."""

import copy
import math

import pytest
import torch
from margin_networks import hard_margin, trained

import vestige as vg
from vestige.unlearning.measures import is_farther

FRACTIONS = (0, 0.5, 0.9, 1, 1.1, 1.5, 2)


def certificates(seed, r, step, fractions=(1,)):
    model, x, y = trained(seed)
    return [vg.unlearn(model, x, y, [r], loss="logistic", step=step, fraction=f).certificate for f in fractions]


@pytest.mark.parametrize("seed", range(2))
def test_epsilon_is_a_v_with_its_minimum_at_the_exact_step(seed):
    curve = [c.epsilon for c in certificates(seed, 0, "clarke", FRACTIONS)]
    assert FRACTIONS[curve.index(min(curve))] == 1
    assert curve[-1] > 5 * min(curve)
    assert math.isclose(curve[1], curve[5], rel_tol=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_the_exact_step_over_five_seeds(seed):
    model, x, y = trained(seed)
    for r in (0, 3):
        clarke, plain = (
            vg.unlearn(model, x, y, [r], loss="logistic", step=step).certificate for step in ("clarke", "kkt")
        )
        assert clarke.epsilon <= 0.03 and clarke.tau <= 0.005 and clarke.residual <= 0.005
        assert clarke.epsilon <= plain.epsilon + 1e-5
        assert clarke.provable and "Provable" in clarke.verdict
        assert clarke.untouched[0] > 0.2  # doing nothing
    with_autograd = vg.stationarity(model, x, y, loss="logistic").residual ** 0.5
    assert with_autograd > 20 * clarke.residual


def test_the_linear_bound_holds_on_a_hundred_instances():
    ratios = []
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        n, d = int(torch.randint(4, 11, (1,), generator=generator)), 600
        x, y = torch.randn(n, d, generator=generator) / d**0.5, torch.randint(0, 2, (n,), generator=generator)
        net = hard_margin(x, y)
        certificate = vg.unlearn(net, x, y, [0], loss="logistic", step="clarke").certificate
        (bound,) = [c for c in certificate.claims.claims if c.name == "delta"]
        assert certificate.epsilon <= 1e-6 and certificate.tau <= 1e-12
        assert bound.holds
        ratios.append(certificate.delta / bound.bound)
    assert max(ratios) > 0.5  # the bound is not idle


def test_the_stationarity_of_a_linear_model_is_exact_behind_the_step():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(10, 1000, generator=generator) / 1000**0.5, torch.arange(10) % 2
    found = vg.unlearn(hard_margin(x, y), x, y, [0], loss="logistic", step="clarke")
    signed = ((2 * y - 1)[:, None] * x)[1:]
    lam = torch.linalg.lstsq(signed.T, found.model.weight[0]).solution
    assert (found.model.weight[0] - lam @ signed).norm() < 1e-10 and bool((lam > 0).all())


def test_the_reference_point_is_what_it_says():
    model, x, y = trained(0)
    found = vg.unlearn(model, x, y, [0], loss="logistic", step="clarke")
    kept, point = torch.arange(len(x)) != 0, found.certificate.reference
    margins = vg.core.margin(point(x[kept]), y[kept])
    assert math.isclose(margins.min().item(), 1, rel_tol=1e-9)
    lam = found.certificate.multipliers
    assert math.isclose((lam * (margins - 1)).max().item(), found.certificate.delta, rel_tol=1e-9)
    a, b = found.model[1].weight.reshape(-1), point[1].weight.reshape(-1)
    assert math.isclose(
        1 - torch.nn.functional.cosine_similarity(a, b, dim=0).item(), found.certificate.tau, abs_tol=1e-9
    )
    old, new = model[1](x[kept]), point[1](x[kept])
    kink = old.abs() <= 1e-2 * old.abs().max()
    assert new[kink].abs().max() < 1e-9 * old.abs().max()
    assert not bool((old.sign() * new < -1e-9)[~kink].any())


def test_nulls_fail():
    model, x, y = trained(0)
    step = (
        vg.unlearn(model, x, y, [0], loss="logistic", step="clarke", certify=False).model[1].weight - model[1].weight
    ).detach()
    noise = torch.randn(step.shape, generator=torch.Generator().manual_seed(0))
    moved, untrained = copy.deepcopy(model), vg.nets.mlp([400, 100, 1], bias="none", dtype=torch.float64)
    moved[1].weight.data += noise * step.norm() / noise.norm()
    for null in (model, moved, untrained):
        certificate = vg.unlearning.unlearning_certificate(null, x, y, [0], original=model, layers=["1"])
        assert not certificate.provable
        assert not certificate.epsilon <= 0.1


def test_a_model_off_its_margin_is_not_called_provable():
    model, x, y = trained(0)
    off = copy.deepcopy(model)
    off[1].weight.data += 0.1 * off[1].weight.std() * torch.randn_like(off[1].weight)
    assert bool((vg.core.margin(off(x), y) > 0).all())
    certificate = vg.unlearn(off, x, y, [0], loss="logistic").certificate
    assert certificate.residual > 0.05 and not certificate.provable
    assert "not provable" in certificate.verdict
    assert any("not at a margin" in note for note in certificate.warnings)


def test_correlated_data_are_flagged_as_harm():
    """Three of five points of a tight cluster: the other two hold it, and retraining changes nothing."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(4, 200, generator=generator) / 200**0.5
    x = centers.repeat_interleave(5, 0) + 0.02 * torch.randn(20, 200, generator=generator) / 200**0.5
    y = torch.tensor([0, 1, 0, 1]).repeat_interleave(5)
    net, kept = hard_margin(x, y), torch.arange(20) >= 3
    found, retrained = vg.unlearn(net, x, y, [0, 1, 2], loss="logistic", step="clarke"), hard_margin(x[kept], y[kept])

    def angle(m):
        return torch.nn.functional.cosine_similarity(m.weight, retrained.weight).item()

    assert angle(net) > angle(found.model)  # worse than doing nothing
    assert found.shared > 0.5 and found.nearest.tolist() == [3, 3, 3] and found.nearest_cosine.min() > 0.99
    assert any(note.startswith("Before the step: ") for note in found.warnings)
    assert found.certificate.harmful and not found.certificate.provable
    assert "did harm" in found.certificate.verdict
    assert found.outcome == "training_errors"
    smaller = vg.unlearn(net, x, y, [0, 1, 2], loss="logistic", step="clarke", fraction=0.3)
    assert smaller.certificate.smallest_margin > 0 and smaller.certificate.harmful and smaller.outcome == "harmful"
    resolved = vg.unlearn(net, x, y, [0, 1, 2], loss="logistic")
    assert angle(resolved.model) > angle(net) and angle(resolved.model) > 1 - 1e-9
    assert not resolved.certificate.harmful and resolved.outcome == "erased"


def line(*weights):
    net = torch.nn.Linear(len(weights), 1, bias=False)
    net.weight.data = torch.tensor([weights], dtype=torch.float64)
    return net


@pytest.mark.parametrize(
    ("net", "other", "goal", "farther"),
    [
        (line(1.0, 0.5), line(1.0, 0.2), line(1.0, 0.0), True),
        (line(1.0, 0.2), line(1.0, 0.5), line(1.0, 0.0), False),
        (line(3.0, 0.6), line(1.0, 0.2), line(1.0, 0.0), False),  # scale does not count
        (line(1.0, 0.2), line(1.0, 0.2), line(1.0, 0.0), False),  # neither does standing still
        (line(-1.0, 0.2), line(1.0, 0.2), line(1.0, 0.0), True),  # the retained sample is misclassified
    ],
)
def test_farther_is_seen_by_the_angle_and_by_relative_margins(net, other, goal, farther):
    x, y, kept = torch.eye(2), torch.tensor([1, 1]), torch.tensor([0])
    assert is_farther(net, other, goal, x, y, kept, [""]) is farther


def test_relative_margins_see_what_the_angle_does_not():
    """Equal angles to the goal; the forgotten sample's relative margin is 2 and 1/2, the goal's 1."""
    x, y, kept = torch.eye(2), torch.tensor([1, 1]), torch.tensor([0])
    goal, double, half = line(1.0, 1.0), line(1.0, 2.0), line(2.0, 1.0)
    assert is_farther(double, half, goal, x, y, kept, [""]) and not is_farther(half, double, goal, x, y, kept, [""])


def test_slack_is_delta_in_total_and_limits_the_word():
    """Of two orthogonal samples of norm 1 the weights (1, m) have multipliers (1, m) and margins (1, m)."""
    for m, slack in ((1.0, 0.0), (1.5, 1.5 * 0.5 / (1 + 2.25))):
        x, y = torch.eye(3), torch.ones(3)
        model, original = line(1.0, m, 0.0), line(1.0, m, 1.0)
        found = vg.unlearning.unlearning_certificate(model, x, y, [2], original=original)
        assert math.isclose(found.slack, slack, abs_tol=1e-9) and math.isclose(found.delta, m * (m - 1), abs_tol=1e-9)
        assert found.provable is (slack <= 0.1)
        best = vg.unlearn(original, x, y, [2], loss="logistic").model.weight[0]
        assert torch.cosine_similarity(best, model.weight[0], dim=0) >= 1 - found.slack - 1e-9


def test_with_weight_decay_nothing_is_provable():
    generator = torch.Generator().manual_seed(21)
    x, y = torch.randn(8, 160, generator=generator) / 160**0.5, torch.arange(8) % 2
    start = vg.nets.mlp([160, 1], bias="none", dtype=torch.float64, generator=generator)
    decay = {"loss": "logistic", "weight_decay": 1e-3}
    model = vg.train_to_margin(start, x, y, **decay).model
    found = vg.unlearn(model, x, y, [2], **decay)
    retrained = vg.unlearning.retrain(model, x, y, [2], **decay, start=start).model
    margins = [vg.core.margin(net(x), y) for net in (found.model, retrained)]
    torch.testing.assert_close(*margins, rtol=0, atol=1e-4)
    assert found.outcome == "erased" and not found.certificate.covered
    assert not found.certificate.provable and "not provable" in found.certificate.verdict


def test_mixtures_classify_as_the_retrained_model_does():
    """Means +-mu e_1 and noise N(0, I/d): a linear model's accuracy is Phi(mu sqrt(d) w_1 / |w|), exactly."""
    d, n, mu = 1000, 40, 0.1

    def accuracy(net):
        w = net.weight[0]
        return torch.special.ndtr(mu * d**0.5 * w[0] / w.norm()).item()

    gaps = []
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        x, y = torch.randn(n, d, generator=generator) / d**0.5, torch.arange(n) % 2
        x[:, 0] += mu * (2 * y - 1)
        original = hard_margin(x, y)
        retrained, found = (
            hard_margin(x[1:], y[1:]),
            vg.unlearn(original, x, y, [0], loss="logistic", certify=False).model,
        )
        assert 0.9 < accuracy(original) < 0.99
        gaps.append(abs(accuracy(found) - accuracy(retrained)))
    assert max(gaps) <= 0.003


def test_an_original_of_another_width_is_refused():
    model, x, y = trained(0)
    with pytest.raises(ValueError, match="made from"):
        vg.unlearning.unlearning_certificate(
            model, x, y, [0], original=vg.nets.mlp([400, 7, 1], bias="none", dtype=torch.float64), layers=["1"]
        )
