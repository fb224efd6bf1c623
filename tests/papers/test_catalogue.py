"""Thirty papers, each honest about whether it works."""

import re

import pytest

from vestige.core.cite import Paper, citation
from vestige.papers import RECORDS, Record

WORKING = {
    "2206.07758",
    "2305.03350",
    "2307.01827",
    "2407.15845",
    "2407.02240",
    "2202.03841",
    "2202.04347",
    "2303.00783",
    "2411.16458",
    "2505.19019",
    "2510.14844",
    "2110.03187",
    "2502.11162",
    "2002.00585",
    "2102.00434",
    "2407.15160",
    "2407.16153",
    "2503.01544",
    "2605.12426",
    "2503.01805",
    "2305.15141",
    "2001.05205",
    "2106.01101",
    "2006.01005",
    "2510.15804",
    "2605.22471",
    "2010.08853",
    "2311.13877",
    "2401.07606",
    "1904.00687",
}


def test_thirty_different_papers():
    assert len(RECORDS) == 30
    assert len({r.paper.arxiv for r in RECORDS}) == 30
    assert len({r.paper.title.lower() for r in RECORDS}) == 30


def test_only_what_works_says_so():
    assert {r.paper.arxiv for r in RECORDS if r.works} == WORKING
    assert all(r.status.startswith("missing: ") and len(r.status) > 20 for r in RECORDS if not r.works)


@pytest.mark.parametrize("known", RECORDS, ids=lambda r: r.paper.arxiv)
def test_record_is_complete(known):
    assert re.fullmatch(r"\d{4}\.\d{4,5}", known.paper.arxiv)
    assert known.functions and all(n.isidentifier() for name in known.functions for n in name.split("."))
    assert 2019 <= known.paper.year <= 2026
    # submitted before published
    assert int(known.paper.arxiv[:2]) + 2000 <= known.paper.year
    assert set(known.row()) == {"paper", "title", "functions", "status"}
    assert known.paper.title in citation(known.paper).replace("\\", "")


def test_status_is_one_of_two_kinds():
    with pytest.raises(ValueError, match="begins with 'works'"):
        Record(Paper("2206.07758", "t", ("A B",), 2022), ("f",), "soon")
