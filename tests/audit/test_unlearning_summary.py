"""Each number of an unlearning audit stands where it belongs, and what is not finite is null."""

import json
import math

import pytest
import torch
from bare import bare, reconstruction
from torch import nn

from vestige.audit.unlearning_summary import Attacked, unlearning_summary
from vestige.core.cite import paper
from vestige.core.claims import Certificate, Claim
from vestige.reconstruct.scoring.score import ReconstructionScore
from vestige.unlearning.certificate import UnlearningCertificate
from vestige.unlearning.evaluate import Against, UnlearningReport
from vestige.unlearning.unlearned import Erasure, Unlearned

KEPT = torch.tensor([True, False, True, False, True])


def attacked(recovered):
    n = len(recovered)
    score = bare(
        ReconstructionScore,
        recovered=torch.tensor(recovered),
        threshold=0.9,
        metric="NCC",
        similarity=torch.tensor([*[0.5] * (n - 1), math.nan]),
        match=torch.tensor([*range(n - 1), -1]),
        source=(paper("2206.07758"),),
    )
    return Attacked(model=nn.Identity(), found=reconstruction(torch.zeros(n, 2)), score=score, seconds=1.5)


PHASES = {
    "before": [True, True, True, True, False],
    "after": [True, False, False, True, False],
    "retrained": [True, True, False, False, False],
}


def summary(outcome=Erasure.ERASED, certificate=None, report=None):
    erased = bare(
        Unlearned,
        forgotten=torch.tensor([1, 3]),
        outcome=outcome,
        multipliers=torch.tensor([0.25, math.inf]),
        residual=0.125,
        shared=0.75,
        nearest=torch.tensor([0, 2]),
        nearest_cosine=torch.tensor([0.5, 0.25]),
        heuristic=("deep",),
        certificate=certificate,
        source=(paper("2510.14844"),),
    )
    attacks = {phase: attacked(found) for phase, found in PHASES.items()}
    return unlearning_summary(erased, 20, attacks, report, KEPT, (2.0, 8.0))


def test_forgotten_and_kept_are_counted_apart_in_each_phase():
    found = summary()
    counts = {phase: (leak["forgotten"], leak["kept"]) for phase, leak in found["attacks"].items()}
    assert counts == {"before": (2, 2), "after": (1, 1), "retrained": (1, 1)}
    assert found["verdict"] == (
        "Of 2 forgotten samples the same attack recovered 2 before and 1 after (1 from a network retrained without "
        "them); of 3 kept ones 2 before and 1 after (1 retrained)."
    )
    assert (found["n_forgotten"], found["n_kept"], found["forgotten"]) == (2, 3, [1, 3])
    assert found["seconds"] == {"unlearning": 2.0, "retraining": 8.0} and found["repair_steps"] == 20
    assert (found["shared"], found["nearest"], found["nearest_cosine"]) == (0.75, [0, 2], [0.5, 0.25])
    assert found["certificate"] is None and found["evaluation"] is None and found["heuristic"] == ["deep"]


def test_it_is_strict_json():
    found = summary()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["multipliers"] == [0.25, None] and found["attacks"]["before"]["similarity"][-1] is None


def test_where_there_was_nothing_to_do_the_verdict_says_only_that():
    assert summary(Erasure.NOTHING_TO_DO)["verdict"] == Erasure.NOTHING_TO_DO.message


@pytest.mark.parametrize("outcome", [Erasure.TRAINING_ERRORS, Erasure.HARMFUL])
def test_a_verdict_does_not_hide_the_outcome(outcome):
    assert summary(outcome)["verdict"].endswith(f"({1} retrained). {outcome.message}")


@pytest.mark.parametrize(("measured", "holds"), [(0.5, True), (2.0, False), (math.nan, False)])
def test_claims_come_with_their_numbers(measured, holds):
    claims = Certificate((Claim("epsilon", 1.0, measured, "2510.14844, Theorem 1"),))
    numbers = {"epsilon": 0.1, "delta": math.nan, "slack": 0.05, "tau": 0.3, "repaired": 0.4, "smallest_margin": 0.5}
    certificate = bare(UnlearningCertificate, covered=True, harmful=False, residual=0.0, claims=claims, **numbers)
    found = summary(certificate=certificate)["certificate"]
    assert found["claims"][0]["holds"] is holds and found["claims"][0]["bound"] == 1
    assert (found["epsilon"], found["delta"], found["tau"]) == (0.1, None, 0.3) and found["provable"] is holds
    assert found["verdict"].startswith("Provable" if holds else "Measured, not provable")


def test_the_comparison_has_a_row_for_every_pair():
    names = ("forget_accuracy", "retain_accuracy", "test_accuracy", "membership", "forget_margin", "output_distance")
    rows = {name: Against(k / 10, k / 5, None if k else 0.5) for k, name in enumerate(names)}
    single = {"tug_of_war": 0.9, "agreement": 0.8, "forget_agreement": 0.7, "weight_cosine": 0.6}
    found = summary(report=UnlearningReport(**rows, **single, cost=None, warnings=()))["evaluation"]
    assert set(found["compared"]) == set(names) and found["cost"] is None
    assert found["compared"]["forget_margin"] == {"unlearned": 0.4, "retrained": 0.8, "untouched": None}
    assert {name: found[name] for name in single} == single
