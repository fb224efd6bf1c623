"""What trained networks that recall facts look like inside, beside a control whose embeddings were frozen."""

import pytest
import torch

import vestige as vg
from vestige.core.rng import child

BUILD = vg.construct
N, RELATIONS = 96, 2


@pytest.fixture(scope="module")
def facts():
    return BUILD.random_facts(N, RELATIONS)


@pytest.fixture(scope="module", params=[False, True], ids=["learned", "frozen"])
def trained(request, facts):
    return BUILD.train_recall(
        facts, 12, 64, weight_decay=0.0 if request.param else 0.3, frozen=request.param, steps=700
    )


def test_learned_embeddings_are_superpositions_and_frozen_ones_are_not(trained, facts):
    model = trained.model
    found = BUILD.fit_superposition(model.subject, model.attribute, facts)
    new = BUILD.random_facts(N, RELATIONS, generator=torch.Generator().manual_seed(5))
    transferred = BUILD.transferred_accuracy(model, found, new)
    edits = BUILD.edit_rates(model, found, facts)
    assert found.shuffled_r2 < 0.1
    if trained.frozen:
        assert trained.accuracy > 0.5 and found.r2 < 0.1 and max(found.probes) < 0.1
        assert transferred == 1 / N and edits.changed < 0.1  # chance: no map predicts an embedding, and all are 0
        fitted = BUILD.fit_superposition(model.subject, model.attribute, facts, shrink=False)
        assert BUILD.transferred_accuracy(model, fitted, new) > 5 / N  # least squares reads the MLP's keys
    else:
        assert trained.accuracy > 0.98 and found.r2 > 0.5 and min(found.probes) > 0.5
        assert transferred > 0.3 and edits.changed > 0.3


def test_the_neurons_of_a_relation_are_needed_by_it_most(trained, facts):
    table = BUILD.gate_table(trained.model, facts)
    assert table.recall.mean() == pytest.approx(trained.accuracy)
    assert table.fires.shape == (RELATIONS, 64) and 0 <= table.fires.min() <= table.fires.max() <= 1
    own = table.ablated.diagonal().mean()
    other = (table.ablated.sum() - table.ablated.trace()) / (RELATIONS * (RELATIONS - 1))
    assert own < other


def test_exact_superpositions_have_r2_of_one_and_come_back():
    """A closed form: embeddings made by known maps."""
    n, size, dim = 200, 5, 9
    facts, draw = BUILD.random_facts(n, 2), torch.Generator().manual_seed(1)
    attributes = torch.randn(n, size, generator=draw, dtype=torch.float64)
    maps = torch.randn(2, dim, size, generator=draw, dtype=torch.float64)
    embeddings = torch.einsum("rds,nrs->nd", maps, attributes[facts]) + 3
    found = BUILD.fit_superposition(embeddings, attributes, facts)
    assert found.r2 > 1 - 1e-6 and found.shuffled_r2 < 0.1
    torch.testing.assert_close(found.maps, maps, atol=1e-3, rtol=0)
    torch.testing.assert_close(BUILD.superposed(found, attributes, facts), embeddings, atol=1e-2, rtol=0)
    least = BUILD.fit_superposition(embeddings, attributes, facts, shrink=False)
    torch.testing.assert_close(least.maps, maps, atol=1e-3, rtol=0)
    noise = BUILD.fit_superposition(torch.randn(n, dim, generator=draw, dtype=torch.float64), attributes, facts)
    assert noise.r2 < 0.1 and max(noise.probes) < 0.1
    assert noise.maps.abs().max() < 0.05  # they shrink, to 0 or nearly so


def test_shrunk_maps_predict_each_subject_from_the_others_best():
    """By hand: a ridge regression without the subject, for every penalty."""
    n, size = 40, 2
    facts, draw = BUILD.random_facts(n, 2), torch.Generator().manual_seed(2)
    attributes = torch.randn(n, size, generator=draw, dtype=torch.float64)
    x = attributes[facts].flatten(1)
    embeddings = (
        x @ torch.randn(4, 3, generator=draw, dtype=torch.float64) + 4 * torch.randn(n, 3, generator=draw).double()
    )
    found = BUILD.fit_superposition(embeddings, attributes, facts)
    unit = (x - x.mean(0)).square().sum(0).mean() * torch.eye(4).double()

    def ridge(rows, penalty):
        middle, mean = x[rows].mean(0), embeddings[rows].mean(0)
        a, b = x[rows] - middle, embeddings[rows] - mean
        maps = torch.linalg.solve(a.T @ a + penalty * unit, a.T @ b)
        return maps, mean - middle @ maps

    def error(penalty):
        total = 0.0
        for left in range(n):
            maps, offset = ridge([k for k in range(n) if k != left], penalty)
            total += float((embeddings[left] - x[left] @ maps - offset).square().sum())
        return total

    best = min((10.0**k for k in range(-5, 4)), key=error)
    assert 1e-5 < best < 1e3
    maps, offset = ridge(list(range(n)), best)
    torch.testing.assert_close(found.maps, maps.reshape(2, size, 3).transpose(1, 2))
    torch.testing.assert_close(found.offset, offset)


def test_noise_drowns_what_is_no_superposition(facts):
    found = []
    for noise in (0.0, 0.5):
        model = BUILD.train_recall(facts, 12, 64, noise=noise, steps=400).model
        assert BUILD.recall_accuracy(model, facts) > 0.95
        found.append(BUILD.fit_superposition(model.subject, model.attribute, facts).r2)
    assert found[1] > found[0] + 0.05


def test_a_training_is_repeated_bit_for_bit_and_an_untrained_network_recalls_nothing(facts):
    first, again = (BUILD.train_recall(facts, 6, 8, steps=5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True))
    assert first.accuracy < 0.1 and first.loss == again.loss


def test_refined_maps_leave_the_network_as_it_is(facts):
    model = BUILD.train_recall(facts, 6, 8, steps=5).model
    before = [p.clone() for p in model.parameters()]
    found = BUILD.fit_superposition(model.subject, model.attribute, facts)
    losses = []
    refined = BUILD.refine_maps(model, found, steps=30, on_step=lambda step: losses.append(step.value))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert losses[-1] < losses[0] and refined.maps.shape == found.maps.shape and refined.r2 == found.r2


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda f: BUILD.train_recall(f, 0, 4), "dim=0"),
        (lambda f: BUILD.train_recall(f, 4, 4, noise=-1.0), "noise=-1.0"),
        (lambda f: BUILD.fit_superposition(torch.zeros(N, 50), torch.zeros(N, 50), f), "with fewer anything fits"),
        (lambda f: BUILD.fit_superposition(torch.zeros(N, 4), torch.zeros(N, 4), f, test_share=1.0), "test_share=1.0"),
    ],
)
def test_what_training_refuses(call, said, facts):
    with pytest.raises(ValueError, match=said):
        call(facts)


@pytest.mark.slow  # half a minute
@pytest.mark.parametrize("seed", range(3))
def test_256_subjects_and_three_relations_beside_the_frozen_control(seed):
    draw = child(seed, "recall")  # the seeds of benchmarks/construct_transformers.py
    facts, new = (BUILD.random_facts(256, 3, generator=child(seed, name)) for name in ("facts", "new"))
    scores = []
    for frozen in (False, True):
        decay = 0.0 if frozen else 0.3
        trained = BUILD.train_recall(facts, 32, 256, weight_decay=decay, frozen=frozen, generator=draw)
        found = BUILD.fit_superposition(trained.model.subject, trained.model.attribute, facts, generator=draw)
        probe = sum(found.probes) / 3
        scores.append((found, probe, BUILD.transferred_accuracy(trained.model, found, new)))
        assert trained.accuracy == 1 and found.shuffled_r2 <= 0
    (ours, probe, transfer), (control, null, chance) = scores
    assert ours.r2 >= 0.7 and probe >= 0.88 and transfer >= 0.4
    assert control.r2 <= 0.1 and null <= 0.05 and chance <= 0.2
