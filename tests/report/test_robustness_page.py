"""The page of an attack: its color, its pictures, and names that stay text."""

import pytest
import torch
from pages import HOSTILE, Page

from vestige.report.robustness import LARGEST, linearity_chart, render_robustness


def made_up(robust=0.5, success=(True, True, False), right=(True, True, True), distance=(0.3, 0.1, 0.0), name="m"):
    """manifest, results and tensors of an attack on samples of two classes."""
    n = len(success)
    label, wrong = torch.zeros(n, dtype=torch.long), torch.ones(n, dtype=torch.long)
    x = torch.rand(n, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    stages = [
        {"name": "fast", "before": n, "after": 2, "gradient_evaluations": 1200, "forward_evaluations": 30},
        {"name": name, "before": 2, "after": 1, "gradient_evaluations": 0, "forward_evaluations": 450},
    ]
    results = {
        "n": n,
        "eps": 0.1,
        "norm": "linf",
        "clean_accuracy": 1.0,
        "robust_accuracy": robust,
        "clean_interval": [0.9, 1.0],
        "robust_interval": [0.2, 0.8],
        "stages": stages,
        "ranks": {"0": 2},
        "warnings": [name],
        "citations": name,
        "classes": [name, "other"],
        "model": {
            "path": name,
            "architecture": name,
            "parameters": 10,
            "sha256": "ab" * 32,
            "space": {"low": 0.0, "high": 1.0},
        },
        "data": name,
        "gradient_evaluations": 1200,
        "forward_evaluations": 480,
        "seconds": 1.0,
    }
    tensors = {
        "clean": x,
        "adv": (x + 0.1).clamp(0, 1),
        "label": label,
        "clean_predicted": torch.where(torch.tensor(right), label, wrong),
        "predicted": torch.where(torch.tensor(success), wrong, label),
        "success": torch.tensor(success),
        "distance": torch.tensor(distance),
        "stage": torch.zeros(n, dtype=torch.long),
    }
    return {"key": "cd" * 32, "started": "2026-01-01", "config": {"vestige": "0"}, "environment": {}}, results, tensors


def test_robust_accuracy_by_eps_and_the_classes_are_shown():
    manifest, results, tensors = made_up()
    plain = Page(render_robustness(manifest, results, tensors))
    results |= {"curve": {"eps": [0.0, 0.05, 0.1], "robust": [1.0, 0.7, 0.5]}, "confusion": [[1, 2], [0, 4]]}
    page = Page(render_robustness(manifest, results, tensors))
    words = " ".join(" ".join(page.words).split())
    assert page.tags.count("svg") == plain.tags.count("svg") + 1 and "eps (linf)" in words
    assert "true class (rows)" in words and not page.wrong
    results["classes"] = [str(k) for k in range(21)]
    assert "true class (rows)" not in render_robustness(manifest, results, tensors)


def test_samples_that_the_model_does_not_know_are_said_in_gray():
    manifest, results, tensors = made_up(robust=0.0)
    assert 'class="verdict leaks"' in render_robustness(manifest, results, tensors)
    results["fit"] = {"fits": False, "reasons": ["accuracy 10.0% on 3 samples, by chance 50.0%"]}
    results["warnings"] = [*results["fit"]["reasons"], "seen elsewhere"]
    page = render_robustness(manifest, results, tensors)
    assert 'class="verdict unknown"' in page and "Inconclusive: these data do not fit this model" in page
    assert page.count("accuracy 10.0%") == 1 and "seen elsewhere" in page  # said once, in the verdict


def test_broken_samples_are_shown_by_their_distance_and_what_was_wrong_anyway_is_not():
    some = {
        "success": (True, True, True, False),
        "right": (True, True, False, True),
        "distance": (0.33, 0.11, 0.0, 0.22),
    }
    page = Page(render_robustness(*made_up(**some)))
    assert not page.wrong and not page.open and "script" not in page.tags
    assert page.tags.count("img") == 3 * 2 and " ".join(page.words).count("m → other") == 2
    assert [word for word in page.words if word in ("0.33", "0.11", "0.22")] == ["0.11", "0.33"]


def test_long_lists_are_cut():
    n = LARGEST + 4
    page = Page(render_robustness(*made_up(success=(True,) * n, right=(True,) * n, distance=(0.1,) * n)))
    assert page.tags.count("img") == 3 * LARGEST


@pytest.mark.parametrize(
    ("robust", "level"), [(0.0, "leaks"), (0.24, "leaks"), (0.25, "some"), (0.74, "some"), (0.75, "nothing")]
)
def test_its_color_is_that_of_the_robust_accuracy(robust, level):
    found = Page(render_robustness(*made_up(robust)))
    assert any(name == "class" and level in (value or "").split() for _, name, value in found.attributes)


def test_hostile_names_stay_text():
    page = Page(render_robustness(*made_up(name=HOSTILE)))
    assert "script" not in page.tags and not page.wrong
    assert not [a for a in page.attributes if a[1].startswith("on")]
    assert sum(HOSTILE in word for word in page.words) >= 3


@pytest.mark.parametrize("theory", [None, {}, {"linearity": None}, {"linearity": {"reason": "too few"}}])
def test_no_profile_no_chart(theory):
    assert linearity_chart(theory) is None


def test_a_profile_is_drawn_where_values_are_missing_too():
    found = {"fractions": [0.1, 0.5, 1.0], "value_error": [0.01, None, 0.3], "gradient_error": [0.0, 0.1, 0.2]}
    page = Page(linearity_chart({"linearity": found}))
    assert page.tags[0] == "svg" and {"value", "gradient"} <= {word.strip() for word in page.words}
