"""What README and docs say is so: the examples run, the links lead somewhere, the command lines are understood."""

import importlib.util
import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
import typer
from PIL import Image

from vestige.cli import app
from vestige.papers import RECORDS
from vestige.report import document

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIGURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
SVG = "{http://www.w3.org/2000/svg}"
SLOW = {"README.md"}  # trains and attacks a network of width 1000


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    return [text for kind, text in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def examples():
    for page in PAGES:
        for number, text in enumerate(blocks(page, "python")):
            marks = [pytest.mark.slow] if name_of(page) in SLOW else []
            yield pytest.param(text, id=f"{name_of(page)}-{number}", marks=marks)


def shown_files():
    for page in PAGES:
        for alternative, target in FIGURE.findall(page.read_text(encoding="utf-8")):
            yield page, alternative, (page.parent / target).resolve()


def shown():
    return [pytest.param(*each, id=f"{name_of(each[0])}: {each[2].name}") for each in shown_files()]


def command_lines():
    for page in PAGES:
        for text in blocks(page, "console"):
            commands = [line[2:].split("#")[0].strip() for line in text.splitlines() if line.startswith("$ ")]
            yield from (pytest.param(c, id=f"{name_of(page)}: {c}") for c in commands)


@pytest.mark.parametrize("text", list(examples()))
def test_examples_run(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_default_dtype(torch.float32)  # as a user has it
    exec(compile(text, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    targets = [t for t in LINK.findall(page.read_text(encoding="utf-8")) if not t.startswith("https://")]
    lost = [t for t in targets if not (page.parent / t.partition("#")[0]).is_file()]
    assert not lost
    assert not any("#" in t for t in targets), "anchors are not checked; link to the page"


@pytest.mark.parametrize(("page", "alternative", "path"), list(shown()))
def test_figures_have_a_title_and_the_page_says_what_they_show_and_what_draws_them(page, alternative, path):
    assert len(alternative) > 20
    if path.suffix == ".svg":
        root = ET.fromstring(path.read_bytes())
        title, width = root.findtext(f"{SVG}title") or "", float((root.get("viewBox") or "").split()[2])
        assert title == root.findtext(f"{SVG}text")
        assert root.find(f"{SVG}rect").get("fill") == document.PAPER, "no page is as bright as the ink is dark"
        assert 0.6 * document.TITLE * len(title) < width, "the title fits above the figure"
    else:
        with Image.open(path) as image:
            title = image.info["Title"]
    assert title
    named = re.findall(r"benchmarks/\w+\.py", page.read_text(encoding="utf-8"))
    assert any("save_figure" in (ROOT / script).read_text(encoding="utf-8") for script in named)


def test_every_figure_is_shown():
    assert {path for _, _, path in shown_files()} == set((ROOT / "docs" / "figures").iterdir())


@pytest.mark.parametrize("line", list(command_lines()))
def test_command_lines_are_understood(line):
    program, *arguments = shlex.split(line)
    if program == "vestige" and arguments:
        command = typer.main.get_command(app)
        while hasattr(command, "commands"):
            command = command.commands[arguments.pop(0)]
        assert command.make_context(command.name, arguments).params
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in arguments)


def test_every_paper_that_works_has_its_page():
    working = {record.paper.arxiv for record in RECORDS if record.works}
    assert working == {page.stem for page in (ROOT / "docs" / "papers").glob("*.md")}


def test_the_page_of_public_names_is_that_of_the_stubs():
    spec = importlib.util.spec_from_file_location("names_page", ROOT / "docs" / "names.py")
    written = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(written)
    assert written.PAGE.read_text(encoding="utf-8") == written.page(), "run: python docs/names.py"


def test_pages_are_reached_from_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / target).resolve() for target in LINK.findall(index) if ".md" in target}
    assert linked == {page.resolve() for page in (ROOT / "docs").rglob("*.md") if page.name != "index.md"}
