from dataclasses import dataclass

import pytest

from vestige.core.cite import Paper, citation, paper

LYU = Paper("1906.05890", "Margin & Direction", ("Kaifeng Lyu", "Jian Li"), 2020, "ICLR")
HAIM = Paper("2206.07758", "Reconstructing", ("Niv Haim",), 2022)


@dataclass(frozen=True)
class Result:
    source: tuple[Paper, ...]


def test_each_paper_once_in_order():
    text = citation(Result((HAIM, LYU)), LYU, Result((HAIM,)))
    assert text.count("@") == 2
    assert text.index("haim2022") < text.index("lyu2020")
    assert citation() == ""


def test_entry_escapes_and_keeps_the_venue():
    entry = LYU.bibtex()
    assert r"Margin \& Direction" in entry
    assert "@inproceedings" in entry
    assert "@misc" in HAIM.bibtex()


@pytest.mark.parametrize("wrong", [3, "text", Result])
def test_refuses_what_cites_nothing(wrong):
    with pytest.raises(ValueError, match="citation was given"):
        citation(wrong)


def test_known_papers_by_number():
    found = paper(" arXiv:2307.01827v3 ")
    assert found.title.startswith("Deconstructing") and found.authors[0] == "Gon Buzaglo"
    assert paper("2307.01827") is found
    with pytest.raises(ValueError, match="vestige papers"):
        paper("1234.56789")
