"""One spelling in code and documents: American, and -ize."""

import re

from house import PACKAGE, REPOSITORY

STEMS = (
    "categori characteri diagonali discreti emphasi equali factori generali initiali lineari locali maximi memori "
    "minimi normali optimi organi parametri penali quanti randomi recogni regulari seriali speciali standardi summari "
    "symmetri synchroni utili vectori visuali"
).split()
BRITISH = re.compile(
    rf"(?:{'|'.join(STEMS)})s(?:e[drs]?|er|ing|ations?)(?![a-z])|[ck]entre[ds]?(?![a-z])|centring|colour|behaviour|neighbour|"
    r"favour|(?<![a-z])grey|analyse[drs]?(?![a-z])|(?:label|model|cancel|travel)l(?:ed|ing)(?![a-z])|artefact|judgement",
    re.IGNORECASE,
)
# The changelog says what a name was before, and the other page repeats docstrings.
SKIPPED = ("CHANGELOG.md", "docs/names.md")


def pages():
    """Every text that users or developers read, by its name in the repository."""
    kinds = {".py", ".pyi", ".jinja", ".css"}
    package = [path for path in sorted(PACKAGE.rglob("*")) if path.suffix in kinds]
    for path in [*package, *sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])]:
        yield str(path.relative_to(REPOSITORY)), path.read_text(encoding="utf-8")


def british(text):
    return [(number, m[0]) for number, line in enumerate(text.splitlines(), 1) for m in BRITISH.finditer(line)]


def test_spelling_is_american():
    wrong = [
        f"{name}:{number}: {word}"
        for name, text in pages()
        if not name.startswith(SKIPPED)
        for number, word in british(text)
    ]
    assert not wrong, "\n".join(["", *wrong])


def test_the_words_are_found_and_others_are_not():
    assert [word for _, word in british("off_centre, Optimiser, greyscale, LABELLED, neighbouring, analyses")] == [
        "centre", "Optimiser", "grey", "LABELLED", "neighbour", "analyses"
    ]  # fmt: skip
    assert not british("raise noise precise center optimizer promise minimis analysis expertise otherwise egrey")
