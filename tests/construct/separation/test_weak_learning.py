"""What shows of a target before training: identities, bounds that hold on random classes, and one-sided verdicts."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import vestige as vg
from vestige.construct.separation.weak_learning import per_sample_gradients
from vestige.core.rng import child


def all_parities(n):
    """One row a parity, by products."""
    x = vg.construct.boolean_cube(n)
    subsets = [[i for i in range(n) if s >> i & 1] for s in range(2**n)]
    return torch.stack([x[:, subset].prod(1) for subset in subsets])


def net(n, width=30, seed=0):
    return vg.nets.mlp([n, width, 1], bias="all", generator=child(seed, "net"))


@pytest.mark.parametrize("n", [6, 8, 10])
def test_all_parities_see_the_gradient_exactly_once(n):
    """Parseval: the mean over all 2^n parities of |E chi grad N|^2 is E |grad N|^2 / 2^n."""
    rows = per_sample_gradients(net(n), vg.construct.boolean_cube(n))
    by_transform = vg.construct.walsh_hadamard(rows).square().sum() / 2**n
    energy = rows.square().sum(1).mean()
    assert abs(float(by_transform - energy / 2**n)) <= 1e-12 * float(energy)
    if n <= 8:
        found = vg.construct.gradient_variance(net(n), vg.construct.boolean_cube(n), all_parities(n))
        assert found.signal == pytest.approx(float(energy) / 2**n, rel=1e-12)
        assert found.bound == pytest.approx(found.signal, rel=1e-9) and found.energy == pytest.approx(float(energy))


def test_half_of_the_parities_see_less():
    found = vg.construct.gradient_variance(net(6), vg.construct.boolean_cube(6), all_parities(6)[32:])
    assert found.signal < 0.9 * found.energy / 2**6 <= 0.9 * found.bound * (1 + 1e-9)


def test_the_transform_is_the_table_of_parities():
    values = torch.randn(2**6, 3, generator=child(0, "f"))
    torch.testing.assert_close(vg.construct.walsh_hadamard(values), all_parities(6) @ values / 2**6)


@given(n=st.integers(1, 7), seed=st.integers(0, 99))
def test_degrees_share_out_the_energy(n, seed):
    values = torch.randn(2**n, generator=child(seed, "f"))
    profile = vg.construct.degree_profile(values)
    torch.testing.assert_close(profile.sum(), values.square().mean())
    torch.testing.assert_close(profile[0], values.mean().square())
    torch.testing.assert_close(profile[1], (vg.construct.boolean_cube(n) * values[:, None]).mean(0).square().sum())


@settings(max_examples=100)
@given(m=st.integers(1, 12), r=st.integers(1, 8), seed=st.integers(0, 10_000))
def test_the_gram_bound_holds_for_every_feature_map(m, r, seed):
    """mean_i gamma_i^2 <= lam / m: over features with E |psi|^2 = 1 the best correlation at norm 1 is |E f psi|."""
    draw = child(seed, "gram")
    values, features = torch.randn(m, 50, generator=draw), torch.randn(50, r, generator=draw)
    features = features / features.square().sum(1).mean().sqrt()
    best = (values @ features / 50).norm(dim=1)
    assert float(best.square().mean()) <= vg.construct.gram_bound(values) * (1 + 1e-9)


def test_the_gram_bound_is_reached():
    """By m equal functions and the feature that they are; a bound of half its size would be wrong."""
    f = torch.sign(torch.randn(64, generator=child(0, "f")))
    assert vg.construct.gram_bound(f.expand(5, -1)) == pytest.approx(float((f * f).mean()) ** 2)


@given(r=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_advantage_is_that_of_least_squares(r, seed):
    draw = child(seed, "psi")
    psi, f = torch.randn(60, r, generator=draw), torch.randn(60, generator=draw)
    psi = torch.cat([psi, psi[:, :1]], 1)  # twice the same feature: K is singular
    fitted = psi @ torch.linalg.lstsq(psi, f[:, None], driver="gelsd").solution[:, 0]
    expected = fitted.norm() / f.norm()
    found = vg.construct.projection_advantage(psi.T @ psi / 60, psi.T @ f / 60, float(f.square().mean()))
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_the_kernel_is_the_mean_of_random_features():
    draw = child(0, "features")
    x, z, w = (
        torch.randn(3, 4, generator=draw),
        torch.randn(2, 4, generator=draw),
        torch.randn(5, 400_000, generator=draw),
    )
    one = lambda t: torch.cat([t, torch.ones(len(t), 1)], 1)  # noqa: E731
    sampled = (one(x) @ w).relu() @ (one(z) @ w).relu().T / w.shape[1]
    torch.testing.assert_close(vg.construct.arc_cosine_kernel(x, z), sampled, rtol=0.05, atol=0.02)


def test_a_kernel_sees_a_neuron_and_no_coin_tosses():
    x, y = vg.construct.single_neuron_target(5).sample(1000)
    seen = vg.construct.kernel_advantage(vg.construct.arc_cosine_kernel, x, y)
    coins = torch.sign(torch.randn(1000, generator=child(1, "coins")))
    chance = vg.construct.kernel_advantage(vg.construct.arc_cosine_kernel, x, coins)
    assert seen.correlation > 0.9 > 5 * seen.standard_error > abs(chance.correlation)


def test_the_alignment_over_all_pairs_is_biased():
    """With coin tosses for a target the mean over pairs of different samples is 0, over all pairs 1/n too large."""
    draw, apart, every = child(0, "bias"), [], []
    for _ in range(200):
        x, f = torch.randn(40, 3, generator=draw), torch.sign(torch.randn(40, generator=draw))
        found = vg.construct.kernel_advantage(vg.construct.arc_cosine_kernel, x, f)
        apart.append(found.alignment)
        every.append(found.alignment_biased)
    error = torch.tensor(apart).std() / math.sqrt(200)
    assert abs(sum(apart) / 200) < 5 * error
    assert sum(every) / 200 > 10 * error and sum(every) / 200 == pytest.approx(1 / 20, rel=0.3)


@pytest.mark.parametrize("n", [4, 10, 60])
def test_the_two_alignments_differ_by_the_diagonal(n):
    """For values of +-1 the diagonal adds m of m^2 terms of mean K(x, x): biased = ((m - 1) unbiased + 1) / m."""
    draw, m = child(n, "diagonal"), n // 2
    x, f = torch.randn(n, 3, generator=draw), torch.sign(torch.randn(n, generator=draw))
    found = vg.construct.kernel_advantage(vg.construct.arc_cosine_kernel, x, f)
    assert found.alignment_biased == pytest.approx(((m - 1) * found.alignment + 1) / m, rel=1e-9)


def test_parities_are_all_apart_and_copies_are_not():
    values = all_parities(5)
    assert len(vg.construct.sq_dimension_lower_bound(values)) == 32
    assert len(vg.construct.sq_dimension_lower_bound(values[3].expand(6, -1))) == 1
    chosen = vg.construct.sq_dimension_lower_bound(torch.randn(60, 4000, generator=child(0, "f")))
    values = torch.randn(60, 4000, generator=child(0, "f"))[chosen]
    unit = values / values.norm(dim=1, keepdim=True)
    overlap = (unit @ unit.T - torch.eye(len(chosen))).abs().max()
    assert 10 < len(chosen) and float(overlap) <= 1 / len(chosen) + 1e-9


def test_steps_of_noisy_descent():
    found = vg.construct.gradient_variance(net(6), vg.construct.boolean_cube(6), all_parities(6))
    tolerance = 0.1 * math.sqrt(found.energy)
    assert found.steps(tolerance) == 1.0
    assert found.steps(math.sqrt(found.energy)) == pytest.approx(2**6, rel=1e-6)


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (vg.construct.parity_target(12), "no_signal"),
        (vg.construct.sawtooth_target(8), "no_signal"),
        (vg.construct.inner_product_target(4), "no_signal"),
        (vg.construct.sawtooth_target(1), "signal"),
        (vg.construct.single_neuron_target(10), "signal"),
        (vg.construct.ball_indicator_target(10), "signal"),
        (vg.construct.staircase_target(12, 5), "signal"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_verdicts(target, verdict):
    report = vg.construct.weak_learnability_report(target, shallow_steps=0)
    assert report.verdict == verdict
    assert ("no weak signal" in report.message) == (verdict == "no_signal")
    assert "does not follow" in report.message or verdict == "no_signal"


def test_shuffled_values_of_an_easy_target_show_nothing():
    easy = vg.construct.single_neuron_target(10)
    shuffled = vg.construct.SeparatedTarget(
        name="shuffled",
        dimension=10,
        draw=easy.draw,
        label=lambda x: easy.label(x)[torch.randperm(len(x), generator=child(0, "deal"))],
    )
    assert (
        vg.construct.weak_learnability_report(shuffled, shallow_steps=0).verdict
        is vg.construct.LearnabilityVerdict.NO_SIGNAL
    )


def test_a_class_of_parities_is_bounded():
    family = [vg.construct.parity_target(8, [i for i in range(8) if s >> i & 1]) for s in range(1, 256)]
    report = vg.construct.weak_learnability_report(
        family[-1], family=family, samples=20_000, restarts=1, shallow_steps=20
    )
    assert report.sq_lower_bound > 60 and report.predicted_steps >= 1
    assert len(report.gradient_profile) == 9 and sum(report.gradient_profile) == pytest.approx(1)
    assert report.gradient_profile[1] > 100 * report.gradient_profile[8]
    assert -1 <= report.shallow_advantage <= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vg.construct.boolean_cube(21), "1 to 20 bits"),
        (lambda: vg.construct.walsh_hadamard(torch.ones(3)), "power of two"),
        (
            lambda: vg.construct.kernel_advantage(vg.construct.arc_cosine_kernel, torch.ones(3, 1), torch.ones(3)),
            "4 are needed",
        ),
        (lambda: vg.construct.gradient_variance(nn.Linear(2, 2), torch.ones(3, 2), torch.ones(1, 3)), "2 outputs"),
        (lambda: vg.construct.weak_learnability_report(vg.construct.parity_target(3), samples=3), "at least 16"),
        (lambda: vg.construct.learning_run(vg.construct.parity_target(3), nn.Linear(3, 2)), "several outputs"),
        (lambda: vg.construct.learning_run(vg.construct.parity_target(3), nn.Linear(3, 1), steps=0), "steps=0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_neuron_is_learned_and_deep_teeth_are_not():
    easy, hard = vg.construct.single_neuron_target(5), vg.construct.sawtooth_target(7)
    model = vg.nets.mlp([5, 32, 1], bias="all", generator=child(0, "a"))
    weights = [p.clone() for p in model.parameters()]
    learned = vg.construct.learning_run(easy, model, steps=400)
    assert learned.relative_loss < 0.05 and learned.correlation > 0.95
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), weights, strict=True))
    deep = vg.nets.mlp([1, *[32] * 7, 1], bias="all", generator=child(0, "b"))
    stuck = vg.construct.learning_run(hard, deep, steps=400)
    assert 0.9 < stuck.relative_loss < 1.1 and abs(stuck.correlation) < 0.2
    x, y = hard.sample(500)
    assert float((hard.network(x)[:, 0] - y).square().mean()) < 1e-20, "the network that is not found exists"


def test_a_run_that_diverges_says_so():
    found = vg.construct.learning_run(
        vg.construct.single_neuron_target(2), vg.nets.mlp([2, 4, 1]), steps=200, learning_rate=1e200
    )
    assert found.outcome is vg.Outcome.NOT_FINITE
