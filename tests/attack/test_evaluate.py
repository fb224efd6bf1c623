import numpy as np
import pytest
import torch
from torch import nn

from vestige.attack import evaluate
from vestige.attack.evaluate import evaluate_robustness
from vestige.attack.methods._malt import EFFORT, EFFORT_L1, Preset, malt
from vestige.attack.suite import AUTOATTACK, autoattack, read_stages
from vestige.core.rng import child


class Memory:
    """A checkpoint that dies after its first save."""

    def __init__(self):
        self.saved, self.dies = None, True

    def save(self, tensors):
        self.saved = dict(tensors)
        if self.dies:
            raise KeyboardInterrupt

    def load(self):
        return self.saved


def wilson(k, n, z=1.959963984540054):
    """The two p with |p - k/n| = z sqrt(p (1 - p) / n), roots of a quadratic."""
    return tuple(sorted(np.roots([1 + z * z / n, -(2 * k / n + z * z / n), (k / n) ** 2])))


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_report_agrees_with_an_evaluation_of_what_it_returns(make_net, classes):
    model, x, y = make_net(classes)
    y = torch.where(torch.arange(len(y)) < 3, (y + 1) % model(x).shape[1], y)  # three clean mistakes
    report = evaluate_robustness(model, x, y, eps=0.05, attacks=["fast", "standard"])
    assert report.robust_accuracy == (model(report.adv).argmax(1) == y).double().mean().item()
    assert report.clean_accuracy == pytest.approx(37 / 40)
    assert 0 <= report.robust_accuracy < report.clean_accuracy
    assert report.robust_interval == pytest.approx(wilson(int((~report.success).sum()), 40))
    assert report.clean_interval == pytest.approx(wilson(37, 40))
    assert report.gradient_evaluations == sum(stage.gradient_evaluations for stage in report.stages)
    assert report.stages[0].before == 37 and report.stages[1].before == report.stages[0].after


def test_killed_and_resumed_is_the_same_as_never_killed(one_net, monkeypatch):
    monkeypatch.setattr(evaluate, "CHUNK_SIZE", 15)
    model, x, y = one_net
    plain = evaluate_robustness(model, x, y, eps=0.05, generator=child(2))
    memory = Memory()
    with pytest.raises(KeyboardInterrupt):
        evaluate_robustness(model, x, y, eps=0.05, generator=child(2), checkpoint=memory)
    memory.dies = False
    resumed = evaluate_robustness(model, x, y, eps=0.05, generator=child(2), checkpoint=memory)
    for name in ("adv", "success", "stage", "target", "rank", "distance"):
        assert torch.equal(getattr(plain, name), getattr(resumed, name))
    assert (plain.stages, plain.warnings) == (resumed.stages, resumed.warnings)


@pytest.mark.parametrize(("preset", "cost"), [("published", 3 + 3 * 10), ("standard", 41 + 3 + 3 * 10)])
def test_malt_costs_what_its_searches_cost(preset, cost, one_net):
    model, x, y = one_net
    found = malt(model, x, y, eps=1e-6, steps=9, preset=preset)
    assert found.gradient_evaluations == len(x) * cost


@pytest.mark.parametrize(("table", "suite"), [(EFFORT, 101 + 909 + 900), (EFFORT_L1, 505 + 505 + 900)])
def test_a_robust_sample_costs_a_fourth_and_a_tenth_of_autoattack(table, suite):
    assert table[Preset.STANDARD].gradients <= suite / 4 and table[Preset.FAST].gradients <= suite / 10
    assert table[Preset.PUBLISHED].gradients == 100 + 909


@pytest.mark.parametrize(("norm", "preset", "told"), [("l1", "fast", 1), ("l1", "standard", 0), ("l2", "fast", 0)])
def test_fast_says_where_it_is_weak(norm, preset, told, one_net):
    model, x, y = one_net
    found = malt(model, x[:3], y[:3], eps=1e-6, norm=norm, preset=preset, steps=1)
    assert sum("less certain in l_1" in text for text in found.warnings) == told


def test_the_order_is_nearest_first_and_the_rank_is_told(one_net):
    model, x, y = one_net
    found = malt(model, x, y, eps=0.08, preset="published")
    assert bool(((found.rank >= 0) == (found.target >= 0)).all()) and bool((found.target != y).all())
    assert (found.rank[found.success] == 0).double().mean() > 0.7


def test_fast_breaks_what_standard_breaks_for_less(one_net):
    model, x, y = one_net
    fast, standard = (malt(model, x, y, eps=0.06, preset=preset) for preset in ("fast", "standard"))
    assert fast.robust_accuracy <= standard.robust_accuracy + 1 / 40
    assert fast.gradient_evaluations < standard.gradient_evaluations
    assert fast.skip is not None and standard.skip is None


def test_a_model_is_never_given_an_empty_batch(one_net):
    model, x, y = one_net

    class Refuses(nn.Module):
        def forward(self, z):
            assert len(z) > 0
            return model(z)

    for preset in ("fast", "standard"):
        assert bool(malt(Refuses().eval(), x, y, eps=0.9, preset=preset).success.all())
    assert bool(malt(Refuses().eval(), x, (y + 1) % 4, eps=0.1).success.all())  # nothing to attack at all


def test_hopeless_targets_are_skipped_and_counted():
    draw = child(1, "far")
    model = nn.Linear(8, 6).eval()
    model.weight.data = torch.randn((6, 8), generator=draw)
    x = torch.rand((300, 8), generator=draw)
    y = model(x).argmax(1)
    found = malt(model, x, y, eps=0.03, preset="fast")
    assert found.skip is not None and found.skip.skipped > 0 and found.skip.wrong == 0
    exact = malt(model, x, y, eps=0.03)
    assert torch.equal(found.success, exact.success)


def test_autoattack_passes_only_survivors_on(one_net):
    model, x, y = one_net
    given = {"x": x[:12], "y": y[:12], "eps": 0.05, "attacks": ["apgd-ce", "apgd-t", "fab-t"]}
    found, report = autoattack(model, **given), evaluate_robustness(model, **given)
    assert 0 < report.robust_accuracy < 1
    assert found.robust_accuracy == report.robust_accuracy
    assert [s.before for s in report.stages][1:] == [s.after for s in report.stages][:-1]
    assert len(AUTOATTACK) == 4


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda m: nn.Sequential(m, nn.Softmax(1)), "Softmax outputs"),
        (lambda m: nn.Sequential(Noise(), m), "Randomized model"),
        (lambda m: nn.Sequential(m, Scale(1e4)), "Zero gradients"),
        (lambda m: Optimizes(m), "Inference-time optimization"),
    ],
)
def test_signs_of_unreliability_are_named(one_net, build, word):
    model, x, y = one_net
    report = evaluate_robustness(build(model).eval(), x, y, eps=0.01, attacks=["apgd-ce"])
    assert any(word in warning for warning in report.warnings)


def test_a_plain_model_has_no_such_sign(one_net):
    model, x, y = one_net
    report = evaluate_robustness(model, x, y, eps=0.01)
    assert not any(":" in warning.split()[0] or "model" in warning for warning in report.warnings)


@pytest.mark.parametrize(("eps", "warned"), [(0.49, False), (0.51, True)])
def test_a_radius_beyond_half_of_the_range_is_named(one_net, eps, warned):
    model, x, y = one_net
    report = evaluate_robustness(model, x[:5], y[:5], eps=eps)
    assert any("more than half of the data's range" in warning for warning in report.warnings) == warned


def test_masked_gradients_show_when_the_black_box_wins():
    class Steps(nn.Module):
        def forward(self, x):
            rounded = torch.round(x.mean(1) * 64) / 64
            return torch.stack([rounded - 0.5, 0.5 - rounded, x.sum(1) * 0 - 1e3], 1)

    x = torch.full((6, 4), 0.52)
    report = evaluate_robustness(
        Steps().eval(), x, torch.zeros(6, dtype=torch.long), eps=0.1, attacks=["apgd-ce", "square"]
    )
    assert report.robust_accuracy == 0
    assert any("Zero gradients" in w for w in report.warnings)


class Noise(nn.Module):
    def __init__(self):
        super().__init__()
        self.draw = child(0, "noise")

    def forward(self, x):
        return x + 0.01 * torch.randn(x.shape, generator=self.draw)


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


class Optimizes(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        with torch.enable_grad():
            z = x.detach().clone().requires_grad_()
            torch.autograd.grad(self.model(z).sum(), z)
        return self.model(x)


def test_export(one_net, tmp_path):
    model, x, y = one_net
    report = evaluate_robustness(model, x, y, eps=0.05)
    report.export(tmp_path / "adv.pt")
    assert torch.equal(torch.load(tmp_path / "adv.pt", weights_only=True), report.adv)
    with pytest.raises(ValueError, match="safetensors"):
        report.export(tmp_path / "adv.npy")


@pytest.mark.parametrize("attacks", ["fast, autoattack", ["fast", "autoattack"], ["fast", *AUTOATTACK]])
def test_stages_are_read_in_order(attacks):
    assert [str(stage) for stage in read_stages(attacks)] == ["fast", "apgd-ce", "apgd-t", "fab-t", "square"]
