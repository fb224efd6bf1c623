"""Figures as a document shows them: under a title, dark on white, so that they can be read on a page of any color.

The figures of a report take the color of its text, and its headings say what they show. One in a file of its own has
neither.
"""

import io
import re
from html import escape
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

INK, PAPER = "#1f2328", "#ffffff"
LARGER = 1.25  # than in a report, where two stand side by side
STRIP = 24.0  # of the title, points
TITLE = 10  # its letters, points
SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt" viewBox="0 0 [\d.]+ [\d.]+"')


def save_figure(path: Path, image: bytes, *, title: str) -> None:
    """Write an SVG of `figures` or `diagrams`, or a PNG, under its title.

    Args:
        path: of the file; its folder is made.
        image: `<svg>` or PNG.
        title: what the figure shows, on one line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_titled_svg(image, title) if image.startswith(b"<svg") else _titled_png(image, title))


def as_png(figure: Figure, *, dpi: int) -> bytes:
    """Pixels of a figure that is made of images."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _titled_svg(image: bytes, title: str) -> bytes:
    text = image.decode()
    found = SIZE.search(text)
    assert found is not None, "figures have their size in points"
    width, height = float(found[1]), float(found[2]) + STRIP
    size = f'width="{LARGER * width:g}pt" height="{LARGER * height:g}pt" viewBox="0 {-STRIP:g} {width:g} {height:g}"'
    start = text.index(">") + 1
    head = text[:start].replace(found[0], f'{size} color="{INK}"')
    drawn = (
        f"\n <title>{escape(title)}</title>"
        f'\n <rect y="{-STRIP:g}" width="{width:g}" height="{height:g}" fill="{PAPER}"/>'
        f'\n <text x="8" y="-9" fill="{INK}" font-family="DejaVu Sans, Verdana, sans-serif" font-size="{TITLE}">'
        f"{escape(title)}</text>"
    )
    return (head + drawn + text[start:]).encode()


def _titled_png(image: bytes, title: str) -> bytes:
    pixels = imread(io.BytesIO(image), format="png")
    height, width = pixels.shape[:2]
    dpi = 96 * LARGER
    strip = STRIP * dpi / 72
    figure = Figure(figsize=(width / dpi, (height + strip) / dpi), dpi=dpi, facecolor=PAPER)
    FigureCanvasAgg(figure)
    figure.figimage(pixels, 0, 0)
    figure.text(
        8 * dpi / 72 / width, 1 - (STRIP / 2) / (72 * figure.get_figheight()), title,
        va="center", fontsize=TITLE, color=INK, parse_math=False,
    )  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Title": title, "Software": None})
    return buffer.getvalue()
