"""Which samples get a card, in which order, and what it says."""

import base64
import io

import pytest
import torch
from PIL import Image

from vestige.report.gallery import LARGEST, gallery


def shade(uri):
    """The gray value of a picture of one color."""
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("L").getpixel((0, 0))


def scored(similarity, match, recovered):
    score = {"n": len(match), "similarity": similarity, "match": match, "recovered": recovered}
    return {"model": {"space": {"low": 0.0, "high": 1.0}}, "score": score}


def shades(*values):
    return torch.tensor(values).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2) / 255


def test_each_true_sample_stands_beside_its_match_nearest_first():
    results = scored([0.5, 0.9, -1.0], [1, 0, -1], [False, True, False])
    found = gallery(results, {"samples": shades(10, 20), "truth": shades(50, 60, 70)})
    assert found.total == 3 and [shade(card.truth) for card in found.pictures] == [60, 50, 70]
    assert [card.recovered and shade(card.recovered) for card in found.pictures] == [10, 20, None]
    assert [card.caption for card in found.pictures] == ["0.900", "0.500", "none left"]
    assert [(card.remark, card.passed) for card in found.pictures] == [("recovered", True), ("", False), ("", False)]


def alone(confidence, verified=None):
    n = len(confidence)
    found = {"confidence": confidence, "support": [*range(1, n + 1)], **({"verified": verified} if verified else {})}
    return {"model": {"space": {"low": None, "high": None}}, "score": None, "reconstruction": found}


def test_without_the_truth_the_likely_ones_are_shown_and_an_exact_fit_whatever_its_confidence():
    results = alone([0.9, 0.0, None, 0.004, 0.01], [False, False, True, False, False])
    found = gallery(results, {"samples": torch.rand(5, 1, 2, 2)})
    assert found.total == 5 and [card.caption for card in found.pictures] == ["90%", "–", "1%"]
    assert [card.remark for card in found.pictures] == ["found 1×", "exact fit", "found 5×"]
    assert [card.passed for card in found.pictures] == [None, True, None]
    assert all(card.truth is None for card in found.pictures)


def test_the_faint_are_shown_where_there_is_nothing_better():
    found = gallery(alone([0.0, 0.001]), {"samples": torch.rand(2, 1, 2, 2)})
    assert len(found.pictures) == found.total == 2 and found.faint
    assert not gallery(alone([0.5, 0.001]), {"samples": torch.rand(2, 1, 2, 2)}).faint


def test_the_nearest_unseen_sample_is_the_third_picture():
    results = scored([0.5, 0.9], [1, 0], [False, True])
    tensors = {"samples": shades(10, 20), "truth": shades(50, 60), "unseen": shades(80, 90)}
    assert [shade(card.unseen) for card in gallery(results, tensors).pictures] == [90, 80]
    del tensors["unseen"]
    assert all(card.unseen is None for card in gallery(results, tensors).pictures)


@pytest.mark.parametrize("with_truth", [True, False])
def test_long_galleries_are_cut_and_say_how_long_they_were(with_truth):
    n = LARGEST + 3
    results = scored([0.5] * n, [*range(n)], [False] * n) if with_truth else alone([0.5] * n)
    tensors = {"samples": torch.rand(n, 1, 2, 2), **({"truth": torch.rand(n, 1, 2, 2)} if with_truth else {})}
    found = gallery(results, tensors)
    assert len(found.pictures) == LARGEST and found.total == n


def test_pairs_of_data_that_do_not_fit_are_folded_away_unless_one_was_recovered():
    fit = {"fits": False, "reasons": ["accuracy 0.0% on 2 samples"]}
    tensors = {"samples": shades(10, 20), "truth": shades(50, 60)}
    results = scored([0.5, 0.9], [1, 0], [False, False])
    assert "do not fit" in gallery(results | {"fit": fit}, tensors).faint and not gallery(results, tensors).faint
    assert not gallery(scored([0.5, 0.9], [1, 0], [False, True]) | {"fit": fit}, tensors).faint
