"""Models, labels and inputs as users have them: the result is that of the plain module, or says what is missing."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from vestige.attack.evaluate import evaluate_robustness
from vestige.attack.methods._apgd import apgd
from vestige.attack.methods._fab import fab
from vestige.attack.methods._malt import malt
from vestige.attack.methods._square import square
from vestige.attack.methods.targets import rank_targets
from vestige.attack.suite import autoattack

EPS = 0.05


class Returns(nn.Module):
    """A model and what is made of its logits."""

    def __init__(self, model, form):
        super().__init__()
        self.model, self.form = model, form

    def forward(self, x):
        return self.form(self.model(x))


def same(found, plain):
    return torch.equal(found.adv, plain.adv) and found.robust_accuracy == plain.robust_accuracy


@pytest.fixture
def one_net(make_net):
    model, x, y = make_net()
    return model, x[:10], y[:10]


@pytest.fixture
def plain(one_net):
    return evaluate_robustness(*one_net, eps=EPS)


FORMS = {
    "tuple": lambda m: Returns(m, lambda z: (z, z[:, None])),
    "dictionary": lambda m: Returns(m, lambda z: {"logits": z, "embedding": z}),
    "dictionary of one table": lambda m: Returns(m, lambda z: {"scores": z, "loss": z.sum()}),
    "object": lambda m: Returns(m, lambda z: SimpleNamespace(logits=z, hidden=(z, z))),
    "function": lambda m: lambda x: m(x),
    "TorchScript": lambda m: torch.jit.trace(m, torch.rand(2, 12), check_trace=False),
    "DataParallel": nn.DataParallel,
    "bound method": lambda m: m.forward,
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("form", FORMS)
def test_the_logits_are_found(form, one_net, plain):
    model, x, y = one_net
    built = FORMS[form](model)
    assert same(evaluate_robustness(built.eval() if isinstance(built, nn.Module) else built, x, y, eps=EPS), plain)
    assert not any(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("kind", [list, np.asarray])
def test_lists_and_arrays_are_samples_and_labels(kind, one_net, plain):
    model, x, y = one_net
    assert same(evaluate_robustness(model, kind(x.tolist()), kind(y.tolist()), eps=EPS), plain)


def test_gradients_are_taken_under_inference_mode_too(one_net, plain):
    model, x, y = one_net
    with torch.inference_mode():
        assert same(evaluate_robustness(model, x, y, eps=EPS), plain)
        inside = model(x).argmax(1)  # labels and samples that were made there
        assert same(evaluate_robustness(model, x.clone(), inside, eps=EPS), plain)
        for attack in (apgd, fab, square, malt):
            few = {"queries": 9} if attack is square else {"steps": 9}
            assert attack(model, x[:3], inside[:3], eps=EPS, **few).clean_correct.all()
        assert autoattack(model, x[:3], inside[:3], eps=EPS, attacks="apgd-ce").clean_correct.all()
        rank_targets(model, x, inside)
    assert not torch.is_inference_mode_enabled()


BLIND = {
    "detached": lambda m: Returns(m, lambda z: z.detach()),
    "labels": lambda m: Returns(m, lambda z: one_hot(z.argmax(1), z.shape[1])),
    "computed elsewhere": lambda m: lambda x: torch.from_numpy(m(x).detach().numpy().copy()),
}


@pytest.mark.parametrize("form", BLIND)
def test_without_gradients_square_is_offered_and_works(form, one_net):
    model, x, y = one_net
    blind = BLIND[form](model)
    blind = blind.eval() if isinstance(blind, nn.Module) else blind
    for attacks in ("fast", "autoattack", ("square", "fast")):
        with pytest.raises(ValueError, match=r"no gradients.*attacks='square'"):
            evaluate_robustness(blind, x, y, eps=EPS, attacks=attacks)
    for attack in (apgd, fab, malt, rank_targets):
        with pytest.raises(ValueError, match="no gradients"):
            attack(blind, x, y, **({} if attack is rank_targets else {"eps": EPS}))
    found = evaluate_robustness(blind, x, y, eps=0.5, attacks="square")
    assert found.robust_accuracy < 0.5 and found.gradient_evaluations == 0
    assert any(text.startswith("Labels only") for text in found.warnings) == (form == "labels")
    assert bool(square(blind, x, y, eps=0.5, queries=50).success.any())


def test_class_numbers_alone_are_asked_for_as_one_hot(one_net):
    model, x, y = one_net
    with pytest.raises(ValueError, match="one_hot"):
        evaluate_robustness(lambda z: model(z).argmax(1), x, y, eps=EPS)


@pytest.mark.parametrize("attack", [apgd, fab, square, evaluate_robustness])
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_every_sample_may_have_a_radius_of_its_own(attack, norm, one_net):
    model, x, y = one_net
    eps = torch.linspace(0.01, 0.3, len(x)) * (1 if norm == "linf" else 5)
    few = {square: {"queries": 99}, fab: {"steps": 20}, apgd: {"steps": 20}}.get(attack, {})
    found = attack(model, x, y, eps=eps, norm=norm, **few)
    size = torch.linalg.vector_norm(found.adv - x, ord=torch.inf if norm == "linf" else 1, dim=1)
    assert bool((size <= eps * (1 + 1e-6)).all()) and bool((size[found.success] > 0).all())
    assert 0 < int(found.success.sum()) < len(x)
    assert int(found.success[5:].sum()) > int(found.success[:5].sum())  # the larger balls
    with pytest.raises(ValueError, match="10 samples"):
        attack(model, x, y, eps=eps[:3], norm=norm)
    with pytest.raises(ValueError, match="positive and finite"):
        attack(model, x, y, eps=eps - eps[0], norm=norm)


def test_equal_radii_are_one_radius(one_net, plain):
    model, x, y = one_net
    assert same(evaluate_robustness(model, x, y, eps=[EPS] * len(x), attacks="fast"), plain)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_only_the_model_is_in_half_precision(kind, one_net):
    model, x, y = one_net
    found = evaluate_robustness(model.to(kind), x, y, eps=EPS)
    assert found.adv.dtype == torch.float32
    x = x.float()
    assert bool(((found.adv - x).abs().amax(1) <= EPS * (1 + 1e-6)).all())
    assert torch.equal(found.adv[~found.success], x[~found.success])
    assert bool((model(found.adv.to(kind)).argmax(1) != y)[found.success].all()) and bool(found.success.any())
    soft = evaluate_robustness(nn.Sequential(model, nn.Softmax(1)).eval(), x, y, eps=EPS)
    assert any(text.startswith("Softmax outputs") for text in soft.warnings)


def test_no_pass_is_larger_than_batch_size(one_net):
    model, x, y = one_net
    sizes = []

    def watched(z):
        sizes.append(len(z))
        return model(z)

    for attack in (apgd, fab, malt):
        attack(watched, x, y, eps=EPS, steps=3, batch_size=7)
    rank_targets(watched, x, y, batch_size=7)
    square(watched, x, y, eps=EPS, queries=5, batch_size=7)
    autoattack(watched, x, y, eps=EPS, attacks="fast,fast", batch_size=7)
    evaluate_robustness(watched, x, y, eps=EPS, batch_size=7)
    assert max(sizes) == 7 and min(sizes) > 0


@pytest.mark.parametrize("part", ["", "1", "1.0"])
def test_one_part_in_training_mode_is_refused_before_the_first_pass(part, one_net):
    model = nn.Sequential(nn.Linear(12, 12), nn.Sequential(nn.BatchNorm1d(12), nn.ReLU()), one_net[0]).eval()
    model.get_submodule(part).training = True
    before = model[1][0].running_mean.clone()
    for attack in (apgd, fab, square, malt, autoattack, evaluate_robustness):
        with pytest.raises(ValueError, match=f"{part!r}.*is in training mode" if part else "it is in training mode"):
            attack(model, one_net[1], one_net[2], eps=EPS)
    with pytest.raises(ValueError, match="is in training mode"):
        rank_targets(model, one_net[1], one_net[2])
    assert torch.equal(model[1][0].running_mean, before) and int(model[1][0].num_batches_tracked) == 0


def test_where_a_model_answers_its_samples_alone_it_is_not_robust(one_net):
    model, x, y = one_net

    def memory(z):
        known = (z[:, None] == x[None]).all(-1).any(1)
        return torch.where(known[:, None], model(z), torch.nan)

    found = evaluate_robustness(memory, x, y, eps=EPS)
    assert found.clean_accuracy == 1 and found.robust_accuracy == 0
    assert any("returns NaN for 10 of the adversarial examples" in text for text in found.warnings)


@pytest.mark.parametrize("preset", ["fast", "standard", "published"])
def test_the_presets_have_one_name_everywhere(preset, one_net):
    model, x, y = one_net
    direct = malt(model, x, y, eps=EPS, preset=preset)
    suite = autoattack(model, x, y, eps=EPS, attacks=[preset])
    report = evaluate_robustness(model, x, y, eps=EPS, attacks=preset)
    assert [stage.name for stage in report.stages] == [preset]
    for found in (suite, report):
        assert found.robust_accuracy == pytest.approx(direct.robust_accuracy, abs=0.05)
