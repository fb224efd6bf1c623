"""Training the models: the toy in seconds, the decisive pair of runs in a minute."""

from dataclasses import replace

import pytest
import torch
from sklearn.metrics import roc_auc_score

import vestige as vg

P = vg.probe


@pytest.fixture(scope="module")
def toy():
    torch.set_default_dtype(torch.float32)
    law = P.TruthCoOccurrence(n=20, rho=0.8)
    return law, P.two_phase_report(P.ToyTruthModel(20), law, every=1000)


def test_a_direction_is_seen_after_the_norm_and_not_before(toy):
    law, found = toy
    assert 0.95 <= found.auc_after[-1, 1] <= 0.985 and abs(law.ceiling - 0.975) < 1e-12
    assert bool(((found.auc_before >= 0.45) & (found.auc_before <= 0.56)).all())
    assert bool((found.auc_after[0] < 0.56).all())  # untrained
    assert found.p_true[-1] - found.p_false[-1] >= 0.45
    assert [float(v) > 0 for v in found.blocks[-1]] == [True, False, False, True]
    assert found.memorized is not None and found.emerged is not None and "truth direction" in found.verdict
    assert found.outcome == "budget_spent"


def test_phases_are_the_first_checks_that_reach_their_targets(toy):
    _, found = toy
    made = replace(
        found, steps=(10, 20, 30), target=0.8, ceiling=0.975, p_true=torch.tensor([0.71, 0.73, 0.9]),
        auc_after=torch.tensor([[0.95, 0.5], [0.95, 0.87], [0.5, 0.88]]),
    )  # fmt: skip
    assert (made.memorized, made.emerged) == (20, 30) and "seen later, at step 30" in made.verdict
    never = replace(made, p_true=torch.zeros(3), auc_after=torch.full((3, 2), 0.5))
    assert (never.memorized, never.emerged) == (None, None) and "not memorized, and no truth" in never.verdict


def test_steering_along_the_difference_of_means_moves_the_answer(toy):
    law, found = toy
    held = law.balanced().draw(2000)
    x = P.activations(found.model, None, held.tokens[:, :3], layer="norm", position=2, batch_size=2000)
    direction = x[held.first].mean(0) - x[~held.first].mean(0)
    right = law.n + law.g[held.tokens[:, 2]]
    chances = []
    for strength in (-1.0, -0.5, 0.0, 0.5, 1.0):
        with torch.no_grad(), P.steered(found.model, direction, layer="norm", strength=strength, position=2):
            logits = found.model(held.tokens[:, :3])[:, 2]
        chances.append(float(logits.softmax(-1)[torch.arange(2000), right].mean()))
    assert chances == sorted(chances) and chances[-1] > chances[0] + 0.01


def test_a_probe_sees_truth_and_a_shuffled_one_does_not(toy):
    law, found = toy
    held = law.balanced().draw(1000)
    x = P.activations(found.model, None, held.tokens[:, :3], layer="norm", position=1, batch_size=1000).numpy()
    y = held.first.numpy()
    shuffled = y[torch.randperm(1000, generator=torch.Generator().manual_seed(1)).numpy()]
    for labels, low, high in ((y, 0.9, 1.0), (shuffled, 0.4, 0.6)):
        probe = P.TruthProbe("logistic").fit(x[:500], labels[:500])
        assert low <= roc_auc_score(labels[500:], probe.decision_function(x[500:])) <= high


def test_without_a_norm_no_gap_and_no_direction():
    law = P.TruthCoOccurrence(n=20, rho=0.8)
    model = P.ToyTruthModel(20, normalization="none").float()
    found = P.two_phase_report(model, law, every=2000, learning_rate=0.3)
    assert abs(found.p_true[-1] - found.p_false[-1]) <= 0.03 and found.emerged is None
    assert bool((found.auc_after[-1] <= 0.6).all())


@pytest.mark.slow
@pytest.mark.parametrize("independent", [False, True])
def test_the_decisive_pair(independent):
    """Facts that share their truth make a direction emerge after memorization; independent ones do not."""
    torch.set_default_dtype(torch.float32)  # the start that benchmarks/truth.py has
    law = P.TruthCoOccurrence(n=32, rho=0.8, independent=independent)
    found = P.two_phase_report(P.LearnedTruthModel(32, 64), law, steps=5000, every=500)
    early = found.steps.index(1000)
    assert found.auc_after[early, 1] <= 0.55 and found.p_true[early] >= 0.75
    if independent:
        assert found.auc_after[:, 1].max() <= 0.56 and found.emerged is None
        assert abs(found.p_true[-1] - found.p_false[-1]) <= 0.03
    else:
        assert found.auc_after[:, 1].max() >= 0.95 and found.emerged > found.memorized
        assert found.p_true[-1] - found.p_false[-1] >= 0.4


def test_another_number_of_subjects_is_refused():
    with pytest.raises(ValueError, match="both need the same"):
        P.two_phase_report(P.ToyTruthModel(4), P.TruthCoOccurrence(n=5, rho=0.5))
