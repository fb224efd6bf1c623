import math

from vestige.core.claims import Certificate, Claim

GOOD = Claim("width", 2, 2, "Theorem 3.1")
BAD = Claim("error", 1e-9, math.nan, "Lemma 2")


def test_nan_never_holds():
    assert GOOD.holds
    assert not BAD.holds
    assert not Claim("x", math.nan, 0.0, "").holds


def test_a_certificate_needs_every_claim_and_at_least_one():
    assert Certificate((GOOD,)).holds
    assert not Certificate((GOOD, BAD)).holds
    assert not Certificate(()).holds


def test_table_has_a_line_a_claim():
    lines = Certificate((GOOD, BAD)).table().splitlines()
    assert lines[0].split() == ["holds", "width", "2", "<=", "2", "Theorem", "3.1"]
    assert lines[1].startswith("FAILS")
    assert Certificate(()).table() == ""
