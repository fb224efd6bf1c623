"""The list of faults still fits the source; `make mutants` plants them, which takes minutes."""

import ast

import pytest
from plant import REPOSITORY, SOURCE, Mutant, mutants


def test_every_fault_can_be_planted():
    wrong = []
    for mutant in mutants():
        try:
            planted = mutant.planted((SOURCE / mutant.path).read_text(encoding="utf-8"))
            ast.parse(planted)
        except (ValueError, OSError, SyntaxError) as error:
            wrong.append(f"{mutant.path}: {error}")
        wrong += [
            f"{mutant.path}: no {path}" for path in mutant.tests if not (REPOSITORY / path.split("::")[0]).exists()
        ]
        assert mutant.tests and mutant.old != mutant.new
    assert not wrong, "\n".join(["", *wrong])


def test_a_fragment_must_stand_once():
    for text in ("b", "aa"):
        with pytest.raises(ValueError, match="once is needed"):
            Mutant("fault", "path", "a", "c", ()).planted(text)
    assert Mutant("fault", "path", "a", "c", ()).planted("bab") == "bcb"
