"""Figures in files of their own: a title that is read and seen, and paper behind dark ink."""

import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from vestige.report import figures
from vestige.report.document import INK, PAPER, STRIP, as_png, save_figure

SVG = "{http://www.w3.org/2000/svg}"
TITLE = "Error < bound & $x^2$"


def pixels(image):
    return imread(io.BytesIO(image), format="png")


def test_an_svg_has_its_title_above_the_figure_on_paper(tmp_path):
    drawn = figures.curves([1.0, 2.0], {"a": [0.1, 0.2]}, xlabel="x", ylabel="error")
    save_figure(tmp_path / "new" / "figure.svg", drawn, title=TITLE)
    root = ET.fromstring((tmp_path / "new" / "figure.svg").read_bytes())
    assert root.findtext(f"{SVG}title") == root.findtext(f"{SVG}text") == TITLE
    assert root.get("color") == INK
    paper, (left, top, width, height) = root.find(f"{SVG}rect"), map(float, root.get("viewBox").split())
    assert paper.get("fill") == PAPER and (left, top) == (0, -STRIP)
    assert (float(paper.get("width")), float(paper.get("height"))) == (width, height)
    before = [float(v) for v in ET.fromstring(drawn).get("viewBox").split()]
    assert (width, height) == (before[2], before[3] + STRIP)


@pytest.mark.parametrize("dpi", [55, 100])
def test_a_png_keeps_its_pixels_below_its_title(tmp_path, dpi):
    figure = Figure(figsize=(3, 2))
    figure.add_subplot().imshow(np.arange(4).reshape(2, 2))
    image = as_png(figure, dpi=dpi)
    save_figure(tmp_path / "figure.png", image, title=TITLE)
    written = (tmp_path / "figure.png").read_bytes()
    below, whole = pixels(image), pixels(written)
    assert TITLE.encode() in written
    assert whole.shape[1] == below.shape[1] and whole.shape[0] > below.shape[0]
    assert np.abs(whole[-below.shape[0] :] - below).max() < 0.01
    strip = whole[: -below.shape[0], :, :3]
    assert strip.max() == 1 and strip.min() < 0.5, "the title is dark on white"
