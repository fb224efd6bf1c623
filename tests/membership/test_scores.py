"""Members are named, at the error rates that are stated; invariances; what is refused and what is said."""

import copy
import dataclasses
from functools import partial

import pytest
import torch
from overfitted import FEATURES, MEMBERS, UNSEEN, drawn, overfitted
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score
from torch import nn

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.membership import membership_scores
from vestige.membership.coefficients import coefficients
from vestige.membership.pool import pool_of
from vestige.nets.fully_connected import mlp

CE = {"loss": "cross_entropy"}


def auc(member, scores):
    return roc_auc_score(member.numpy(), scores.numpy())


@pytest.mark.parametrize("outputs", [1, 3])
def test_members_are_named_at_the_false_discovery_rate(outputs):
    named, wrong = 0, 0
    for seed in range(3):
        model, x, y, reference, member = overfitted(seed, outputs)
        found = membership_scores(model, x, y, reference=reference, **CE)
        assert auc(member, found.scores) > 0.9 and found.outcome is Outcome.CONVERGED
        held = found.held(0.1)
        named, wrong = named + len(held), wrong + int((~member[held]).sum())
        assert (found.scores[held].diff() <= 0).all() and (found.q_values[held] <= 0.1).all()
    assert named > 90 and wrong <= 0.2 * named  # expected at most 0.1


def test_it_sees_what_the_loss_does_not():
    model, x, y, _, member = overfitted()
    found = membership_scores(model, x, y, **CE)
    losses = nn.functional.cross_entropy(model(x), y, reduction="none").detach()
    others = found.scores[~member].max()
    assert (
        (found.scores[member] > others).double().mean() > 0.4 > (losses[member] < losses[~member].min()).double().mean()
    )


def null_p_values(model, seed, candidates=12, unseen=49, layers="1"):
    """Of candidates in a pool that no network saw, with one of them spread evenly over its step."""
    x, y = drawn(candidates + unseen, 1000 + seed)
    mixed = torch.randperm(len(x), generator=child(seed, "mixed"))
    x, y = x[mixed], y[mixed]
    reference = (x[candidates:], y[candidates:])
    found = membership_scores(model, x[:candidates], y[:candidates], reference=reference, layers=layers, **CE)
    step = 1 / (len(found.reference_scores) + 1)
    return found, float(found.p_values[0]) - step * float(torch.rand(1, generator=child(seed, "tie")))


def one_p_value(model, seed):
    return null_p_values(model, seed)[1]


def test_p_values_of_unseen_samples_are_uniform_under_a_trained_network():
    model = overfitted()[0]
    assert kstest([one_p_value(model, seed) for seed in range(200)], "uniform").pvalue > 1e-3


def test_p_values_of_an_untrained_network_are_uniform():
    nets = [mlp([40, 10, 3], bias="all", generator=child(seed, "null"), dtype=torch.float64) for seed in range(200)]
    assert kstest([one_p_value(net, seed) for seed, net in enumerate(nets)], "uniform").pvalue > 1e-3


def test_p_values_of_members_are_not_uniform():
    model, x, y, reference, member = overfitted()
    p = membership_scores(model, x, y, reference=reference, layers="1", **CE).p_values
    assert kstest(p[member].numpy(), "uniform").pvalue < 1e-12


def test_p_values_stay_uniform_where_layers_are_chosen():
    """As above with the reference that weighs a layer and the losses; rate .1 of 200 x 12 within 5 deviations."""
    model, ones, hits, counted = overfitted()[0], [], [], 0
    for seed in range(200):
        found, one = null_p_values(model, seed, unseen=160, layers="auto")
        assert len(found.reference_scores) == 160 - 53
        ones.append(one)
        hits.append((found.p_values <= 0.1).double().mean().item())
        counted += found.weights["loss"] > 0
    assert kstest(ones, "uniform").pvalue > 1e-3 and 10 < counted < 190
    hits = torch.tensor(hits)
    assert abs(hits.mean() - 0.1) < 5 * hits.std() / len(hits) ** 0.5


def test_order_batches_and_precision_change_nothing():
    model, x, y, reference, _ = overfitted()
    found = membership_scores(model, x, y, reference=reference, layers=["1", "3"], **CE)
    small = membership_scores(model, x, y, reference=reference, layers=["1", "3"], batch_size=7, **CE)
    torch.testing.assert_close(small.scores, found.scores)
    order = torch.randperm(len(x), generator=child(0, "order"))
    turned = membership_scores(model, x[order], y[order], reference=reference, layers=["1", "3"], **CE)
    torch.testing.assert_close(turned.scores, found.scores[order])
    single = membership_scores(copy.deepcopy(model).float(), x, y, reference=reference, layers=["1", "3"], **CE)
    torch.testing.assert_close(single.scores, found.scores, atol=1e-3, rtol=1e-3)
    half = copy.deepcopy(model).half()
    assert membership_scores(half, x, y, **CE).scores.equal(membership_scores(half.float(), x, y, **CE).scores)


def test_a_score_is_the_coefficient_of_a_stationary_point():
    """A linear network that is its start plus known multiples of the samples."""
    x, y = drawn(30, 0, outputs=2)
    truth = torch.rand(30, generator=child(0, "truth"))
    start, tuned = nn.Linear(40, 1, bias=False), nn.Linear(40, 1, bias=False)
    unit = x * (2 * y[:, None] - 1) / x.norm(dim=1, keepdim=True)
    with torch.no_grad():
        start.weight.copy_(10 * torch.randn(1, 40, generator=child(0, "base")))
        tuned.weight.copy_(start.weight + truth @ unit)
    inverse = torch.linalg.inv(unit @ unit.T + 1e-9 * torch.eye(30))
    found = membership_scores(tuned, x, y, loss="logistic", base=start, ridge=1e-9)
    torch.testing.assert_close(found.per_layer[""] * inverse.diagonal().sqrt(), truth, atol=1e-5, rtol=1e-5)
    without = membership_scores(tuned, x, y, loss="logistic", ridge=1e-9)
    assert (without.per_layer[""] * inverse.diagonal().sqrt() - truth).abs().max() > 1


class Adapted(nn.Module):
    """A frozen layer with an adapter of low rank beside it, which starts at zero."""

    def __init__(self, frozen, rank):
        super().__init__()
        self.frozen = frozen.requires_grad_(False)
        self.down, self.up = nn.Linear(FEATURES, rank, bias=False), nn.Linear(rank, frozen.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.frozen(x) + self.up(self.down(x))


def test_an_adapter_is_read_against_its_start():
    _, x, y, reference, member = overfitted()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        start = nn.Sequential(Adapted(nn.Linear(FEATURES, 60), 20), nn.ReLU(), nn.Linear(60, 3).requires_grad_(False))
    tuned = copy.deepcopy(start.double())
    optimizer = torch.optim.Adam([p for p in tuned.parameters() if p.requires_grad], 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(tuned(x[:MEMBERS]), y[:MEMBERS]).backward()
        optimizer.step()
    areas = {}
    for name, base in (("base", start), ("none", None)):
        found = membership_scores(tuned, x, y, reference=reference, base=base, **CE)
        areas[name] = auc(member, found.scores)
        assert set(found.per_layer) == {"0.down", "0.up"}
    assert areas["base"] > 0.8 > areas["none"]


def copies(x):
    return [x, -x, x.roll(7, 1)]


def test_copies_that_training_saw_count_as_one_candidate():
    _, x, y, _, member = overfitted()
    net = mlp([40, 60, 3], bias="all", generator=child(0, "copies"), dtype=torch.float64)
    optimizer, seen = torch.optim.Adam(net.parameters(), 1e-2), torch.cat(copies(x[:MEMBERS]))
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(seen), y[:MEMBERS].repeat(3)).backward()
        optimizer.step()
    alone, grouped = (membership_scores(net, x, y, augment=views, **CE) for views in (None, copies))
    assert auc(member, grouped.scores) > 0.99 > auc(member, alone.scores)
    same = membership_scores(net, x, y, augment=lambda x: [x], **CE)
    torch.testing.assert_close(same.scores, alone.scores)


@pytest.mark.parametrize("outputs", [1, 4])
def test_a_squared_loss_is_its_own_evidence(outputs):
    x, _ = drawn(320, 3)
    y = torch.randn(320, outputs, generator=child(3, "targets"))
    net = mlp([40, 60, outputs], bias="all", generator=child(3, "start"), dtype=torch.float64)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x[:60]), y[:60]).backward()
        optimizer.step()
    found = membership_scores(net, x[:120], y[:120], loss="mse", reference=(x[120:], y[120:]))
    assert auc(torch.arange(120) < 60, found.scores) > 0.95 and found.weights["loss"] > 0
    linear = nn.Linear(40, outputs).double()
    assert list(membership_scores(linear, x[:120], y[:120], loss="mse").weights) == [""]


def test_equal_candidates_are_one():
    model, x, y, reference, _ = overfitted()
    alone = membership_scores(model, x, y, reference=reference, **CE)
    twice = membership_scores(model, torch.cat([x, x[:5]]), torch.cat([y, y[:5]]), reference=reference, **CE)
    torch.testing.assert_close(twice.scores[: len(x)], alone.scores)
    torch.testing.assert_close(twice.scores[len(x) :], alone.scores[:5])
    torch.testing.assert_close(twice.p_values[len(x) :], alone.p_values[:5])
    torch.testing.assert_close(twice.q_values[: len(x)], alone.q_values)
    both_labels = pool_of(torch.cat([x, x[:1]]), torch.cat([y, 1 - y[:1]]), None)
    assert both_labels.candidates == len(x) + 1
    assert any("5 candidates equal another" in w for w in twice.warnings)


def test_a_pool_that_is_too_large_to_factorize_is_scored_as_well(monkeypatch):
    """Lambda of the whole pool, variances of parts of 64: the same order but for a few."""
    model, x, y, reference, member = overfitted()
    exact = membership_scores(model, x, y, reference=reference, **CE)
    monkeypatch.setattr("vestige.membership.scores.coefficients", partial(coefficients, exact=0))
    monkeypatch.setattr("vestige.membership.coefficients.PART", 64)
    monkeypatch.setattr("vestige.membership.coefficients.LANDMARKS", 40)
    found = membership_scores(model, x, y, reference=reference, **CE)
    assert found.outcome is Outcome.CONVERGED and not found.scores.equal(exact.scores)
    assert torch.corrcoef(torch.stack([found.per_layer["1"], exact.per_layer["1"]]))[0, 1] > 0.98
    assert auc(member, found.scores) > auc(member, exact.scores) - 0.02


def test_the_worst_outcome_of_all_layers_is_told(monkeypatch):
    model, x, y, _, _ = overfitted()
    outcomes = iter([Outcome.CONVERGED, Outcome.BUDGET_SPENT])

    def one_after_the_other(*given, **options):
        return dataclasses.replace(coefficients(*given, **options), outcome=next(outcomes))

    monkeypatch.setattr("vestige.membership.scores.coefficients", one_after_the_other)
    assert membership_scores(model, x, y, layers=["1", "3"], **CE).outcome is Outcome.BUDGET_SPENT


def test_without_reference_there_is_no_error_rate():
    model, x, y, _, _ = overfitted()
    found = membership_scores(model, x, y, **CE)
    assert found.p_values is found.q_values is found.reference_scores is found.blind_auc is None
    assert list(found.weights) == ["1"] and any("no reference" in w for w in found.warnings)
    with pytest.raises(ValueError, match="give reference"):
        found.held()


def said(*words, **changed):
    model, x, y, reference, _ = overfitted()
    given = {"model": model, "x": x, "y": y, "reference": reference, **CE} | changed
    found = membership_scores(given.pop("model"), given.pop("x"), given.pop("y"), **given)
    assert any(all(word in w for word in words) for w in found.warnings), found.warnings
    return found


def test_a_reference_of_another_distribution_is_said():
    model, x, y, (unseen, labels), _ = overfitted()
    assert said("two distributions", reference=(unseen + 0.5, labels)).blind_auc > 0.6
    assert not [w for w in membership_scores(model, x, y, reference=(unseen, labels), **CE).warnings if "distrib" in w]


def test_wrong_labels_and_scale_are_said():
    _, x, y, _, _ = overfitted()
    said("labels", "scale", y=(y + 1) % 3)
    said("labels", "scale", x=-x)


def test_one_class_and_few_reference_samples_are_said():
    _, x, y, (unseen, labels), _ = overfitted()
    said("one label", x=x[y == 0], y=y[y == 0])
    twice = (unseen[:29].repeat(2, 1), labels[:29].repeat(2))
    said("29 reference samples are too few", "0.033", reference=twice)


def test_a_pool_larger_than_the_layer_is_said():
    _, x, y, _, _ = overfitted()
    found = said("linearly dependent", layers=["3"], x=x[:60], y=y[:60])  # of 93 weights, 60 candidates
    assert len(found.scores) + UNSEEN > 93 and list(found.weights) == ["3"]


def test_only_layers_that_count_are_warned_of():
    """Ten untrained networks: the last layer, smaller than the pool, counts in some of them."""
    counted = set()
    for seed in range(10):
        net = mlp([40, 10, 3], bias="all", generator=child(seed, "null"), dtype=torch.float64)
        _, x, y, reference, _ = overfitted()
        found = membership_scores(net, x, y, reference=reference, **CE)
        counted.add(found.weights["3"] > 0)
        assert any("layer '3'" in w for w in found.warnings) is (found.weights["3"] > 0)
    assert counted == {True, False}


def test_training_mode_is_said_and_changes_nothing():
    _, x, y, reference, _ = overfitted()
    net = nn.Sequential(nn.Linear(40, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 3))
    found = said("training mode", model=net.train())
    torch.testing.assert_close(found.scores, membership_scores(net.eval(), x, y, reference=reference, **CE).scores)


def refused(match, **changed):
    model, x, y, reference, _ = overfitted()
    given = {"model": model, "x": x, "y": y, "reference": reference, **CE} | changed
    with pytest.raises(ValueError, match=match):
        membership_scores(given.pop("model"), given.pop("x"), given.pop("y"), **given)


def test_what_cannot_be_meant_is_refused():
    model, x, y, (unseen, labels), _ = overfitted()
    refused("among the candidates", reference=(torch.cat([unseen, x[:2]]), torch.cat([labels, y[:2]])))
    refused("must agree", reference=(unseen[:, :5], labels))
    with pytest.raises(ValueError, match="needs a label"):
        pool_of(x, y[:5], None)
    refused("NaN", x=x * torch.nan)
    refused("labels run from", y=y + 1)
    refused("needs one", loss="logistic")
    refused("positive", ridge=0.0)
    refused("at least 1", batch_size=0)
    refused("trainable layers are", layers="9")
    refused("same weights", base=copy.deepcopy(model))
    refused("names or shapes", base=mlp([40, 5, 3]))
    refused("no parameters", model=nn.Flatten())


def test_frozen_layers_are_left_out():
    model, x, y, reference, _ = overfitted()
    frozen = copy.deepcopy(model)
    frozen[1].requires_grad_(False)
    tuned = copy.deepcopy(frozen)
    with torch.no_grad():
        tuned[3].bias += 1
    assert set(membership_scores(tuned, x, y, base=frozen, **CE).per_layer) == {"3"}  # a head on a frozen body
    assert set(membership_scores(frozen, x, y, reference=reference, **CE).per_layer) == {"3"}
    refused("learned nothing", model=frozen, layers=["1"])
    refused("learned nothing", model=frozen.requires_grad_(False))


def test_weights_that_are_not_finite_are_refused():
    model = copy.deepcopy(overfitted()[0])
    with torch.no_grad():
        model[1].weight[0, 0] = torch.nan
    refused("NaN or infinite outputs", model=model)
