"""The page of `vestige unlearn`: what is said of each sample, whole and escaped whatever the names are."""

import pytest
import torch
from pages import HOSTILE, Page

from vestige.report.unlearning import LARGEST, render_unlearning


def made_up(recovered, *, forgotten=(0, 1), name="model.safetensors"):
    """manifest, results, tensors of a run in which each phase recovered the given samples; the last has no match."""
    n = len(recovered["before"])
    truth = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    attacks = {}
    for phase, found in recovered.items():
        attacks[phase] = {
            "forgotten": sum(found[i] for i in forgotten),
            "kept": sum(found) - sum(found[i] for i in forgotten),
            "threshold": 0.9,
            "metric": "NCC",
            "similarity": [0.99 if hit else 0.51 for hit in found[:-1]] + [None],
            "match": [*range(n - 1), -1],
            "recovered": list(found),
        }
    results = {
        "verdict": f"made up of {name}",
        "model": {
            "path": name,
            "architecture": name,
            "parameters": 1000,
            "sha256": "ab" * 32,
            "space": {"low": 0.0, "high": 1.0},
        },
        "forgotten": list(forgotten),
        "n_forgotten": len(forgotten),
        "n_kept": n - len(forgotten),
        "attacks": attacks,
        "evaluation": None,
        "seconds": {
            "unlearning": 1.0,
            "retraining": 2.0 if "retrained" in attacks else None,
            "retraining_at_most": 7e3,
        },
        "certificate": None,
        "repair_steps": 0,
        "heuristic": [name],
        "warnings": [name],
        "citations": name,
    }
    manifest = {"key": "cd" * 32, "started": "2026-01-01", "config": {"vestige": "0.1.0"}}
    return manifest, results, {"truth": truth, **dict.fromkeys(recovered, truth)}


def page(before, after, **more):
    recovered = {"before": before, "after": after, "retrained": [False] * len(before)}
    return Page(render_unlearning(*made_up(recovered, **more)))


# before, after, whether it was to be forgotten -> what its card says, and the color of it
@pytest.mark.parametrize(
    ("before", "after", "forgotten", "remark", "color"),
    [
        (True, False, True, "gone", "passed"),
        (True, True, True, "still there", "missed"),
        (False, False, True, None, "passed"),
        (True, True, False, "recovered", "passed"),
        (True, False, False, "lost", "missed"),
        (False, False, False, None, "missed"),
    ],
)
def test_each_card_says_what_became_of_its_sample(before, after, forgotten, remark, color):
    # the sample in question is the first; the second is forgotten or kept, whichever the first is not, and never found
    found = page([before, False, False], [after, False, False], forgotten=(0,) if forgotten else (1,))
    said = {word for word in found.words if word in ("gone", "still there", "recovered", "lost")}
    assert said == ({remark} if remark else set())
    cards = [value for tag, name, value in found.attributes if tag == "figure" and value in ("passed", "missed")]
    assert cards[0 if forgotten else 1] == color


@pytest.mark.parametrize(("left", "level"), [(True, "leaks"), (False, "nothing")])
def test_the_verdict_is_red_where_more_is_left_than_retraining_leaves(left, level):
    found = page([True, True, True], [left, False, True])
    assert ("p", "class", f"verdict {level}") in found.attributes


def test_without_a_retrained_network_the_page_says_so_and_compares_with_nothing():
    manifest, results, tensors = made_up({"before": [True, True, True], "after": [True, False, True]})
    found = Page(render_unlearning(manifest, results, tensors))
    assert ("p", "class", "verdict leaks") in found.attributes and found.tags.count("img") == 3 + 2 * 2
    text = " ".join(found.words)
    assert "which was left out" in text and "retrained without these samples" not in text


def test_similarities_stand_under_their_pictures_and_a_missing_one_is_a_dash():
    found = page([True, True, True], [False, False, False])
    assert found.words.count("0.99") == 2 and found.words.count("0.51") == 4 and found.words.count("–") == 3
    assert found.tags.count("img") == 3 + 2 * 3


def test_long_lists_are_cut_and_it_says_so():
    n = LARGEST + 5
    found = page([False] * n, [False] * n)
    assert f"The first {LARGEST} of {n - 2}." in " ".join(found.words)
    few = page([False] * 4, [False] * 4)
    assert "The first" not in " ".join(few.words)


def test_a_claim_that_fails_is_in_the_color_of_a_fault():
    manifest, results, tensors = made_up({"before": [True, False], "after": [False, False]}, forgotten=(0,))
    claims = [{"name": n, "holds": n == "a", "measured": 1.0, "bound": 1.0, "source": "s"} for n in ("a", "b")]
    text = render_unlearning(manifest, results | {"certificate": {"verdict": "v", "claims": claims}}, tensors)
    assert '<td class="fails">FAILS</td><td>b</td>' in text and "<td>holds</td><td>a</td>" in text


def test_hostile_names_stay_text():
    found = page([True, True, True], [False, False, True], name=HOSTILE)
    assert "script" not in found.tags and not found.wrong and not found.open
    assert not [a for a in found.attributes if a[1].startswith("on")]
    assert sum(HOSTILE in word for word in found.words) >= 6
