import dataclasses

import pytest
import torch

from vestige.core.metrics import false_positive_rate, ncc, threshold
from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.scoring.nulls import built_in_nulls
from vestige.reconstruct.scoring.score import score_reconstruction
from vestige.reconstruct.scoring.similarity import Comparison


def found(samples):
    """A reconstruction of which only the samples matter."""
    k = len(samples)
    return Reconstruction(
        samples=samples,
        confidence=torch.ones(k),
        support=torch.ones(k, dtype=torch.long),
        spread=torch.zeros(k),
        cotangents=torch.ones(k, 1),
        label=torch.zeros(k, dtype=torch.long),
        verified=torch.zeros(k, dtype=torch.bool),
        candidates=samples,
        candidate_cotangents=torch.ones(k, 1),
        restart=torch.zeros(k, dtype=torch.long),
        cluster=torch.arange(k),
        residual=torch.zeros(1),
        residual_per_layer={},
        history=(),
        singular_values=torch.ones(3),
        identifiable=3,
        collapse=False,
        gradient_evaluations=0,
        outcome=Outcome.BUDGET_SPENT,
        warnings=(),
        source=(),
    )


def pictures(n, seed=0, shape=(3, 16, 16)):
    """Smooth images in [0, 1], of one distribution."""
    nodes = torch.randn(n, shape[0], 6, 6, generator=child(seed, "pictures"), dtype=torch.float64)
    return torch.sigmoid(torch.nn.functional.interpolate(nodes, size=shape[1:], mode="bicubic"))


SPACE = InputSpace(mean=0.5)
TRUTH, UNSEEN = SPACE.to_model(pictures(12)), SPACE.to_model(pictures(400, 1))


def noisy(x, relative, seed=3):
    return x + relative * x.std() * torch.randn(x.shape, generator=child(seed))


# closed form


def test_the_truth_itself_is_recovered_whatever_its_order_and_scale():
    order = torch.randperm(12, generator=child(5))
    score = score_reconstruction(found(0.3 * TRUTH[order]), TRUTH, held_out=UNSEEN, space=SPACE)
    assert score.n_recovered == 12 and score.precision == 1 and score.metric == "NCC"
    torch.testing.assert_close(score.similarity, torch.ones(12))
    assert torch.equal(order[score.match], torch.arange(12))
    assert score.recovered.all() and score.true_rate.max() == 1


def test_ssim_is_one_where_the_truth_spans_its_range():
    """The stretch leaves an image that already runs from 0 to 1 as it is."""
    x = pictures(4)
    flat = x.flatten(1)
    low, high = flat.amin(1)[:, None, None, None], flat.amax(1)[:, None, None, None]
    x = (x - low) / (high - low)
    score = score_reconstruction(found(SPACE.to_model(x)), SPACE.to_model(x), held_out=UNSEEN, space=SPACE)
    torch.testing.assert_close(score.ssim, torch.ones(4))
    assert score.n_ssim == 4


def test_vectors_are_compared_by_cosine_and_have_no_ssim():
    x = torch.randn(6, 40, generator=child(0))
    score = score_reconstruction(found(x[:3]), x, held_out=torch.randn(300, 40, generator=child(1)))
    assert score.metric == "cosine" and score.ssim is None and score.n_ssim is None and score.ssim_null_rate is None
    assert score.n_recovered == 3 and score.recovered.tolist() == [True] * 3 + [False] * 3
    assert score.match[3:].tolist() == [-1] * 3 and score.similarity[3:].tolist() == [0] * 3
    assert all(null.ssim_count is None for null in score.nulls)
    assert "low-frequency noise" not in {null.name for null in score.nulls}


# against the definition


def test_the_threshold_is_the_one_of_the_held_out_samples():
    samples = noisy(TRUTH, 0.5)[:7]
    score = score_reconstruction(found(samples), TRUTH, held_out=UNSEEN, space=SPACE, false_positive_rate=0.01)
    table = ncc(TRUTH, UNSEEN)
    assert score.threshold == pytest.approx(threshold(table, 7, 0.01))
    assert false_positive_rate(table, 7, score.threshold) <= 0.01
    assert score.n_candidates == 7 and score.n_recovered <= 7
    for t, f in zip(score.true_rate, score.false_rate, strict=True):
        assert 0 <= t <= 1 and 0 <= f <= 1
    assert (score.true_rate.diff() >= 0).all() and (score.false_rate.diff() >= 0).all()
    at_rate = score.true_rate[score.false_rate <= 0.01].max()
    assert float(at_rate) >= score.n_recovered / 12


def test_pairing_prefers_recovered_samples_to_the_largest_sum():
    """A is near x1, and B between: the largest sum would give A to x2 and lose the one sample that was recovered."""
    comparison = Comparison(torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]]), None)
    a = torch.tensor([[0.97, 0.24, 0.0], [0.6, -0.3, 0.74]])
    table = comparison.similarity(a)
    assert table[0, 0] >= 0.9 > table[1, 0] and table[0, 0] + table[1, 1] < table[0, 1] + table[1, 0]
    assert comparison.pair(a, 0.9).match.tolist() == [0, 1]
    assert comparison.pair(a, 2.0).match.tolist() == [1, 0]


def test_one_reconstruction_serves_one_true_sample():
    twins = torch.cat([TRUTH[:1], noisy(TRUTH[:1], 0.01)])
    score = score_reconstruction(found(TRUTH[:1]), twins, held_out=UNSEEN, space=SPACE)
    assert score.n_recovered == 1
    score = score_reconstruction(found(twins), TRUTH[:1], held_out=UNSEEN, space=SPACE)
    assert score.n_recovered == 1 and score.precision == 1


# nulls must fail


def test_unrelated_pictures_are_not_recovered():
    unrelated = SPACE.to_model(pictures(12, 9))
    score = score_reconstruction(found(unrelated), TRUTH, held_out=UNSEEN, space=SPACE)
    assert score.n_recovered == 0 and score.precision == 0
    names = {null.name: null for null in score.nulls}
    assert set(names) == {
        "held-out samples",
        "white noise",
        "low-frequency noise",
        "permuted truth",
        "mean of the truth",
    }
    # the mean of 12 samples has a correlation of .29 with each: it knows the truth and may pass once
    assert all(null.n_recovered <= (null.name == "mean of the truth") for null in score.nulls)
    assert [null.count for null in score.nulls] == [12, 12, 12, 12, 1]
    assert names["held-out samples"].median > names["white noise"].median


def test_the_false_positive_rate_is_kept():
    """120 draws of 12 unrelated pictures against 12 true ones at a rate of 2 %: 29 expected, 5 sigma is 56."""
    others = SPACE.to_model(pictures(120 * 12, 11))
    bar = threshold(ncc(TRUTH, UNSEEN), 12, 0.02)
    recovered = [Comparison(TRUTH, SPACE).pair(part, bar).similarity for part in others.split(12)]
    assert int((torch.stack(recovered) >= bar).sum()) <= 56


def test_without_held_out_samples_the_threshold_is_lower_and_says_so():
    score = score_reconstruction(found(noisy(TRUTH, 0.3)), TRUTH, space=SPACE)
    strict = score_reconstruction(found(noisy(TRUTH, 0.3)), TRUTH, space=SPACE, held_out=UNSEEN)
    assert any("optimistic" in note for note in score.warnings)
    assert not any("optimistic" in note for note in strict.warnings)
    assert score.threshold > 0 and "held-out samples" not in {null.name for null in score.nulls}
    assert all(null.n_recovered <= 1 for null in score.nulls)


def test_given_nulls_are_offered_whole():
    score = score_reconstruction(found(TRUTH[:2]), TRUTH, held_out=UNSEEN, null={"rows": 1e-4 * TRUTH}, space=SPACE)
    rows = next(null for null in score.nulls if null.name == "rows")
    assert rows.count == 12 and rows.n_recovered == 12 and rows.ssim_count == 12


def test_nulls_repeat_themselves_and_the_mean_of_centered_data_is_nothing():
    first, again = built_in_nulls(TRUTH, 3), built_in_nulls(TRUTH, 3)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["permuted truth"][0].flatten().sort().values.equal(TRUTH[0].flatten().sort().values)
    centered = TRUTH - TRUTH.mean(0)
    assert not built_in_nulls(centered, 2)["mean of the truth"].any()


# ssim


def test_ssim_null_rate_counts_the_papers_bar():
    score = score_reconstruction(found(TRUTH), TRUTH, held_out=UNSEEN, space=SPACE)
    assert 0 <= score.ssim_null_rate <= 1
    # an image offered as unrelated that is nearly the truth always passes
    near = score_reconstruction(found(TRUTH), TRUTH, held_out=noisy(TRUTH, 0.02), space=SPACE)
    assert near.ssim_null_rate == 1


def test_ssim_is_left_out_where_the_range_is_unknown():
    score = score_reconstruction(found(3 * TRUTH), 3 * TRUTH, held_out=UNSEEN)
    assert score.ssim is None and any("SSIM" in note for note in score.warnings)
    gray = score_reconstruction(found(TRUTH[:, 0]), TRUTH[:, 0], held_out=UNSEEN[:, 0], space=SPACE)
    assert gray.ssim.shape == (12,) and gray.metric == "NCC"


# inputs


@pytest.mark.parametrize("held_out", [UNSEEN, None], ids=["held out", "noise"])
def test_a_single_sample_can_be_recovered_and_unrelated_ones_are_not(held_out):
    """Its own mean and spread would make the noise a copy of it, and the threshold more than 1."""
    score = score_reconstruction(found(noisy(TRUTH[:1], 0.1)), TRUTH[:1], held_out=held_out, space=SPACE)
    assert score.threshold < 1 and score.n_recovered == 1
    assert not any(null.n_recovered for null in score.nulls)
    assert score_reconstruction(found(UNSEEN[:5]), TRUTH[:1], held_out=held_out, space=SPACE).n_recovered == 0


def test_nan_samples_are_failures_that_are_counted():
    samples = TRUTH.clone()
    samples[4, 0, 0, 0] = torch.nan
    score = score_reconstruction(found(samples), TRUTH, held_out=UNSEEN, space=SPACE)
    assert score.n_recovered == 11 and score.n_candidates == 12 and 4 not in score.match.tolist()
    assert score.sample_similarity[4] == -1 and any("NaN" in note for note in score.warnings)


def test_no_samples_at_all():
    score = score_reconstruction(found(TRUTH[:0]), TRUTH, held_out=UNSEEN, space=SPACE)
    assert score.n_recovered == 0 and score.precision == 0 and score.n_candidates == 0
    assert score.match.tolist() == [-1] * 12 and score.ssim.tolist() == [0] * 12


def test_training_samples_among_the_held_out_are_dropped():
    mixed = torch.cat([UNSEEN, TRUTH[:3]])
    score = score_reconstruction(found(TRUTH), TRUTH, held_out=mixed, space=SPACE)
    clean = score_reconstruction(found(TRUTH), TRUTH, held_out=UNSEEN, space=SPACE)
    assert score.threshold == clean.threshold and any("3 held-out" in note for note in score.warnings)
    with pytest.raises(ValueError, match="never saw"):
        score_reconstruction(found(TRUTH), TRUTH, held_out=TRUTH[:4], space=SPACE)


def test_few_held_out_samples_are_said_to_be_few():
    score = score_reconstruction(found(TRUTH), TRUTH, held_out=UNSEEN[:5], space=SPACE)
    assert any("only 5" in note for note in score.warnings) and any("resolve" in note for note in score.warnings)
    assert score.n_recovered == 12


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"false_positive_rate": 0.0}, "false_positive_rate=0"),
        ({"x_true": TRUTH[:, :, :8]}, "must agree"),
        ({"x_true": TRUTH * torch.nan}, "finite"),
        ({"held_out": UNSEEN[:, :1]}, "held_out"),
        ({"null": {"rows": TRUTH.flatten(1)}}, "rows"),
    ],
)
def test_bad_input_is_refused(change, words):
    given = {"x_true": TRUTH, "held_out": UNSEEN, "space": SPACE, **change}
    with pytest.raises(ValueError, match=words):
        score_reconstruction(found(TRUTH), given.pop("x_true"), **given)


def test_float32_reconstructions_are_scored_in_float64_and_nothing_is_changed():
    given = found(TRUTH.float())
    before, state = given.samples.clone(), torch.get_rng_state()
    score = score_reconstruction(given, TRUTH.float(), held_out=UNSEEN.float(), space=SPACE)
    assert score.similarity.dtype == torch.float64 and torch.equal(given.samples, before)
    assert torch.equal(state, torch.get_rng_state())
    assert dataclasses.is_dataclass(score) and score.source


def test_noise_has_the_mean_and_the_spread_of_real_samples():
    """Without the spread, noise comes nearer to nothing or to everything, and a score means less than it seems to."""
    like = torch.randn(60, 1, 8, 8, generator=child(7)) * torch.linspace(0.1, 4, 64).reshape(1, 1, 8, 8) + 3
    drawn = built_in_nulls(like[:10], 20_000, like=like)
    mean, spread = like.mean(0), like.std(0, correction=0)
    white = drawn["white noise"]
    assert ((white.mean(0) - mean).abs() < 6 * spread / 20_000**0.5).all()
    torch.testing.assert_close(white.std(0), spread, rtol=6 / 40_000**0.5, atol=0)
    flat = white.flatten(1)
    correlation = torch.corrcoef(flat.T).fill_diagonal_(0)
    assert correlation.abs().max() < 6 / 20_000**0.5  # pixels are independent
    smooth = drawn["low-frequency noise"]
    assert ((smooth.mean(0) - mean).abs() < 6 * spread / 20_000**0.5).all()
    assert torch.corrcoef(smooth.flatten(1).T)[0, 1] > 0.5
