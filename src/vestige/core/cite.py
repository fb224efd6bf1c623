"""Papers as records, and BibTeX for whatever produced a result."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

_SPECIAL = str.maketrans({c: f"\\{c}" for c in "&%#_$"})


@dataclass(frozen=True)
class Paper:
    """One paper; `authors` in the order printed, each "First Last"."""

    arxiv: str
    title: str
    authors: tuple[str, ...]
    year: int
    venue: str = ""

    @property
    def key(self) -> str:
        """BibTeX key, unique because it holds the arXiv number.

        >>> Paper("1906.05890", "Margins", ("Kaifeng Lyu", "Jian Li"), 2020).key
        'lyu2020:1906.05890'
        """
        return f"{self.authors[0].split()[-1].lower()}{self.year}:{self.arxiv}"

    def bibtex(self) -> str:
        """The BibTeX entry."""
        kind = "inproceedings" if self.venue else "misc"
        fields = {
            "title": "{" + self.title.translate(_SPECIAL) + "}",
            "author": " and ".join(self.authors),
            "year": str(self.year),
            **({"booktitle": self.venue.translate(_SPECIAL)} if self.venue else {}),
            "eprint": self.arxiv,
            "archivePrefix": "arXiv",
        }
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@{kind}{{{self.key},\n{body}\n}}"


@cache
def _known() -> dict[str, Paper]:
    table = tomllib.loads(files("vestige.core").joinpath("papers.toml").read_text(encoding="utf-8"))
    return {arxiv: Paper(arxiv, **{**entry, "authors": tuple(entry["authors"])}) for arxiv, entry in table.items()}


def paper(arxiv: str) -> Paper:
    """The record of a paper that vestige is built from or cites; they are kept in core/papers.toml.

    Args:
        arxiv: its arXiv number, with or without "arXiv:" and a version.

    Raises:
        ValueError: vestige has no such paper.

    >>> paper("arXiv:2206.07758v2").year
    2022
    """
    number = arxiv.strip().lower().removeprefix("arxiv:").split("v")[0]
    if number not in _known():
        raise ValueError(
            f"{arxiv!r} given; allowed are the arXiv numbers of the papers that vestige builds on, such as 2206.07758. "
            "`vestige papers` lists them."
        )
    return _known()[number]


def _papers(item: Any) -> Iterable[Paper]:
    if isinstance(item, Paper):
        return (item,)
    source = getattr(item, "source", None)
    if not isinstance(source, tuple) or not all(isinstance(paper, Paper) for paper in source):
        raise ValueError(
            f"citation was given a {type(item).__name__}; allowed are Paper records and results whose `.source` "
            "is a tuple of them. Pass the result object itself, not one of its tensors."
        )
    return source


def citation(*results_or_papers: Any) -> str:
    """BibTeX of every paper behind the given results, each once, in order of first mention.

    Args:
        results_or_papers: `Paper` records, or results carrying them in `.source`.

    Returns:
        The entries, separated by blank lines; empty for no arguments.

    Raises:
        ValueError: something is neither.
    """
    unique = {paper.arxiv: paper for item in results_or_papers for paper in _papers(item)}
    return "\n\n".join(paper.bibtex() for paper in unique.values())
