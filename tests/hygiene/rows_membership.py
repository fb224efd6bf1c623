"""Rows of `membership`."""

import torch
from hygiene_rows import Row, classifier, gaussian

import vestige as vg


def scored(**options):
    """A network with BatchNorm and Dropout in training mode, 8 candidates and 6 others."""
    reference = (gaussian(6, 6, seed=3), torch.arange(6) % 3)
    return lambda _: (
        classifier() | {"loss": "cross_entropy", "reference": reference, "generator": torch.Generator()} | options
    )


def found(_):
    return {"scores": vg.membership_scores(**scored()(_)), "rate": 0.1}


def peer(**options):
    return lambda _: {k: v for k, v in scored()(_).items() if k in ("model", "x", "y")} | options


def shadows(count):
    return {"shadows": [classifier()["model"] for _ in range(count)]}


def halves(_):
    given = classifier()
    made = given.pop("model")
    return given | {"train": lambda x, y, generator: made, "count": 2, "generator": torch.Generator()}


ROWS = {
    "membership.membership_scores": Row(scored(), {"layers": "none"}),
    "membership.Membership": Row(found, "every rate is answered", call=lambda scores, rate: scores.held(rate)),
    "membership.membership_nulls": Row(scored(untrained=classifier()["model"]), {"loss": "none"}),
    "membership.evaluate_membership": Row(
        lambda _: {"scores": gaussian(9), "member": torch.arange(9) < 4, "nulls": {"noise": gaussian(9, seed=1)}},
        {"level": 2.0},
    ),
    "membership.MembershipCurve": Row(
        lambda _: {"curve": vg.membership.evaluate_membership(gaussian(9), torch.arange(9) < 4), "false": 0.01},
        {"false": 0.3},
        call=lambda curve, false: curve.at(false),
    ),
    "membership.threshold_scores": Row(peer(loss="cross_entropy"), {"kind": "none"}),
    "membership.shadow_models": Row(halves, {"count": 1}),
    "membership.lira_scores": Row(peer(**shadows(2)), shadows(1)),
    "membership.rmia_scores": Row(
        peer(**shadows(2), reference=(gaussian(6, 6, seed=3), torch.arange(6) % 3)), {"factor": 0.5}
    ),
    "membership.conformal_p_values": Row(
        lambda _: {"scores": gaussian(5), "null_scores": gaussian(4)}, {"null_scores": gaussian(0)}
    ),
    "membership.q_values": Row(lambda _: {"p_values": gaussian(5).sigmoid()}, {"p_values": gaussian(5) + 9}),
}
