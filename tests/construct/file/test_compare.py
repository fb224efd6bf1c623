"""What the file says against what was derived from it, claim by claim."""

import math

import pytest
import torch

from vestige.construct.file.check import CHANGED, DIGEST, LEFT_OUT, Derived, compare
from vestige.construct.file.check_points import chosen
from vestige.construct.file.stored import Stored, digest_of
from vestige.core.claims import Certificate, Claim


def said(*claims, intact=True):
    """A file that states these claims."""
    return Stored(
        network=None,
        tensors={},
        kind="",
        fields={},
        certificate=Certificate(claims),
        outcome="",
        warnings=(),
        source=(),
        numbers={},
        intact=intact,
    )


def measured(certificate):
    return {claim.name: claim.measured for claim in certificate.claims}


def error(value, bound=1.0):
    return Claim("largest error", bound, value, "")


@pytest.mark.parametrize(
    ("written", "derived", "sampled", "off"),
    [
        (0.5, 0.5, False, 0),
        (0.5, 0.3, False, 1),
        (0.5, 0.3, True, 0),  # of a sample the error may be less
        (0.5, 0.7, True, 1),  # but not more
        (1.0, 1.0 + 1e-10, False, 0),  # rounding
        (1.0, 1.0 + 1e-8, False, 1),
        (math.nan, 0.5, True, 1),
    ],
)
def test_a_claim_that_is_stated_otherwise_is_counted(written, derived, sampled, off):
    found = compare(said(error(written)), Derived((error(derived),)), sampled=sampled)
    assert measured(found)[CHANGED] == off and measured(found)["largest error"] == derived


def test_claims_about_sizes_are_measured_and_others_fail():
    file = said(Claim("width", 3, 3, ""), Claim("beauty", 1, 1, ""))
    found = measured(compare(file, Derived((), {"width": 4})))
    assert found["width"] == 4 and math.isnan(found["beauty"]) and found[CHANGED] == 2
    assert not compare(file, Derived((), {"width": 3})).holds


def test_claims_that_need_a_target_are_left_out_and_said_to_be():
    found = compare(
        said(error(0.5), Claim("in the ball", 1, 0.9, "")), Derived((error(0.5),), left_out=("in the ball",))
    )
    assert found.holds and measured(found)[LEFT_OUT] == 1 and "in the ball" not in measured(found)


def test_a_digest_that_differs_fails():
    assert measured(compare(said(error(0.5), intact=False), Derived((error(0.5),))))[DIGEST] == 1


def test_the_digest_covers_names_types_shapes_and_bytes():
    zeros = torch.zeros(4, dtype=torch.float32)
    kinds = [{"x": zeros}, {"y": zeros}, {"x": zeros.reshape(2, 2)}, {"x": zeros.int()}, {"x": zeros + 1}]
    assert len({digest_of(tensors) for tensors in kinds}) == len(kinds)


def test_a_sample_is_spread_evenly():
    assert chosen(9, 3).tolist() == [0, 4, 8]
    assert chosen(3, None).tolist() == chosen(3, 7).tolist() == [0, 1, 2]
