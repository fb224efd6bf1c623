"""One sentence, never stronger than the numbers."""

import pytest

from vestige.report import Level, verdict


def score(k, n=20):
    return {"reconstruction": {}, "score": {"n": n, "n_recovered": k, "rate": 1e-3}}


@pytest.mark.parametrize(
    ("count", "level", "words"),
    [
        (20, Level.LEAKS, "All 20 training samples were"),
        (15, Level.LEAKS, "15 of the 20"),
        (1, Level.SOME, "1 of the 20 training samples was"),
        (0, Level.NOTHING, "does not prove that nothing leaks"),
    ],
)
def test_scored(count, level, words):
    found, sentence = verdict(score(count))
    assert found is level and words in sentence and sentence.count(". ") == 0


def test_a_null_that_reaches_as_many_ends_the_claim():
    results = score(5)
    results["score"]["nulls"] = [{"name": "white noise", "n_recovered": None}, {"name": "rows", "n_recovered": 5}]
    level, sentence = verdict(results)
    assert level is Level.UNKNOWN and "rows come as close to 5" in sentence and "no leak" in sentence
    results["score"]["nulls"][1]["n_recovered"] = 4
    assert verdict(results)[0] is Level.LEAKS


def test_noise_alone_proves_no_leak():
    results = score(20)
    results["score"]["held_out"] = False
    level, sentence = verdict(results)
    assert level is Level.SOME and "without held-out data" in sentence


def test_without_data_it_is_an_estimate():
    level, sentence = verdict({"score": None, "reconstruction": {"confidence": [0.9, 0.6, 0.1]}})
    assert level is Level.SOME and "2 likely training samples" in sentence and "estimate" in sentence
    _, sentence = verdict({"reconstruction": {"confidence": [0.9, 0.6], "verified": [True, False]}})
    assert "1 of which fit the first layer's equations" in sentence
    level, sentence = verdict({"reconstruction": {"confidence": []}})
    assert level is Level.UNKNOWN and "--data" in sentence


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (20, "yield 27 likely reconstructions of at most 20 training samples ("),
        (27, "yield 27 likely training samples ("),
    ],
)
def test_no_more_samples_are_claimed_than_can_be_told_apart(told, words):
    found = {"confidence": [0.9] * 27 + [0.1], "identifiable": told, "verified": [False] * 28}
    level, sentence = verdict({"reconstruction": found})
    assert level is Level.SOME and words in sentence


def test_nothing_found_is_said_where_something_could_have_been():
    found = {"confidence": [0.4], "identifiable": 20, "outcome": "converged"}
    level, sentence = verdict({"reconstruction": found})
    assert level is Level.NOTHING and "tell 20 apart" in sentence and "not prove" in sentence
    assert verdict({"reconstruction": found | {"outcome": "not_finite"}})[0] is Level.UNKNOWN


@pytest.mark.parametrize("doubt", ["they collapse to class means", "the equation explains 22 % of the first layer"])
def test_what_the_weights_cannot_tell_is_inconclusive_whatever_is_stated(doubt):
    level, sentence = verdict({"reconstruction": {"doubt": doubt, "identifiable": 3, "confidence": [0.99] * 10}})
    assert level is Level.UNKNOWN and sentence.startswith("Inconclusive") and doubt in sentence


def test_a_threshold_that_no_copy_passes_judges_nothing():
    score = {"n": 1, "n_recovered": 0, "rate": 1e-3, "threshold": 1.0000000000000007, "held_out": False}
    level, said = verdict({"reconstruction": {}, "score": score})
    assert level is Level.UNKNOWN and "one sample cannot be judged" in said
    assert verdict({"reconstruction": {}, "score": {**score, "threshold": 0.999}})[0] is Level.NOTHING


def test_samples_that_explain_the_weights_worse_than_none_leave_the_verdict_open():
    score = {"n": 20, "n_recovered": 0, "rate": 1e-3}
    results = {"reconstruction": {}, "score": score, "stationarity": {"residual": 13.0, "residual_clarke": None}}
    level, said = verdict(results)
    assert level is Level.UNKNOWN and "--mean" in said
    results["stationarity"]["residual_clarke"] = 0.1
    assert verdict(results)[0] is Level.NOTHING
    found = {**results, "score": {**score, "n_recovered": 20}, "stationarity": {"residual": 13.0}}
    assert verdict(found)[0] is Level.LEAKS


def test_one_sample_is_spoken_of_as_one():
    for count, said in ((1, "The one training sample was read back"), (0, "The one training sample was not recovered")):
        score = {"n": 1, "n_recovered": count, "rate": 1e-3, "threshold": 0.4}
        assert said in verdict({"reconstruction": {}, "score": score})[1]


def test_rows_of_the_weights_that_come_as_close_are_a_leak_too_and_other_nulls_are_not():
    score = {"n": 10, "n_recovered": 10, "rate": 1e-3, "nulls": [{"name": "first-layer rows", "n_recovered": 10}]}
    level, said = verdict({"reconstruction": {}, "score": score})
    assert level is Level.LEAKS and said.endswith("rows of the first layer come as close without any search.")
    score["nulls"] = [{"name": "white noise", "n_recovered": 10}, *score["nulls"]]
    level, said = verdict({"reconstruction": {}, "score": score})
    assert level is Level.UNKNOWN and "white noise come as close to 10: this comparison shows no leak" in said


def test_a_layer_that_the_equation_does_not_cover_is_named_before_the_users_mistakes():
    score = {"n": 20, "n_recovered": 0, "rate": 1e-3}
    layers = [{"kind": "Linear", "covered": False}, {"kind": "BatchNorm1d", "covered": False}]
    results = {"reconstruction": {}, "score": score, "stationarity": {"residual": 13.0}, "theory": {"layers": layers}}
    said = verdict(results)[1]
    assert "Likely causes: BatchNorm1d, which the equation does not cover; another" in said and "ended early" in said
    layers[1]["covered"] = True
    assert "does not cover" not in verdict(results)[1]
