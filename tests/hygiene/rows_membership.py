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


ROWS = {
    "membership.membership_scores": Row(scored(), {"layers": "none"}),
    "membership.Membership": Row(found, "every rate is answered", call=lambda scores, rate: scores.held(rate)),
    "membership.conformal_p_values": Row(
        lambda _: {"scores": gaussian(5), "null_scores": gaussian(4)}, {"null_scores": gaussian(0)}
    ),
    "membership.q_values": Row(lambda _: {"p_values": gaussian(5).sigmoid()}, {"p_values": gaussian(5) + 9}),
}
