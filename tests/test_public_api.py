"""The names at the top: all there, loaded late, the same for type checkers, and those that the papers promise."""

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import vestige as vg
from vestige.papers import RECORDS

NAMES = [name for name in vg.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_knows_its_own_name(name):
    assert getattr(vg, name).__name__ == name


def test_dir_lists_them_without_loading_torch():
    code = "import sys, vestige as v; assert set(v.__all__) <= set(dir(v)); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(vg.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.col_offset]
    seen = {(node.module, alias.name, alias.asname) for node in imports for alias in node.names}
    homes = {(getattr(vg, name).__module__, name, name) for name in NAMES}
    assert seen == homes


def test_an_unknown_name_says_where_to_look():
    with pytest.raises(AttributeError, match="dir\\(vestige\\)"):
        vg.reconstruct_from_nothing  # noqa: B018


def test_what_works_by_the_list_of_papers_is_importable():
    promised = {name for record in RECORDS if record.works for name in record.functions}
    assert promised and promised <= set(NAMES)


def test_the_version_is_the_installed_one():
    assert vg.__version__ == version("vestige")
