"""The tables of docs/models.md: each row is a file that is made, and what happens to it."""

import re
from pathlib import Path

import pytest
import torch
from files_of_models import MADE

from vestige.nets.checkpoint import CheckpointError, convert, load_model

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
ROW = re.compile(r"^\| (.+?) \| (read|refused|converted) \|$", re.MULTILINE)


def rows():
    return ROW.findall(PAGE.read_text(encoding="utf-8"))


def test_every_row_is_made_here():
    assert [name for name, _ in rows()] == list(MADE)


@pytest.mark.parametrize(("name", "outcome"), rows())
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_what_a_row_says_happens(name, outcome, tmp_path):
    torch.set_default_dtype(torch.float32)
    path, model = MADE[name](tmp_path)
    if outcome == "refused":
        for read in (load_model, lambda p: convert(p, tmp_path / "out.safetensors")):
            with pytest.raises(CheckpointError):
                read(path)
        assert not (tmp_path / "out.safetensors").exists()
        return
    if outcome == "converted":
        with pytest.raises(CheckpointError, match="vestige convert"):
            load_model(path)
        convert(path, tmp_path / "out.safetensors")
        path = tmp_path / "out.safetensors"
    found = load_model(path).model
    x = torch.rand(7, model[0].in_features, dtype=next(found.parameters()).dtype)
    with torch.no_grad():
        torch.testing.assert_close(found(x), model(x), rtol=1e-5, atol=1e-6)
