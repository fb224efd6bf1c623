"""How every figure looks: its size, colors, axes and legend, and the SVG that takes the color of the page's text."""

import io
import re
from collections.abc import Sequence
from typing import Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

# Readable on white and on near-black.
BLUE, ORANGE, GRAY, PINK = COLORS = "#3b82c4", "#d9822b", "#8a8f98", "#b55a9a"
INK = "#010203"  # replaced by the page's own text color
LONGEST = 44  # letters of a name in a legend
WIDTH, HEIGHT = 4.2, 2.7  # inches
WIDE = 100  # a largest value this many times the smallest is told by powers of ten alone
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def blank_axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """A figure of the size of all others, with two axes."""
    figure, (axes,) = panels(1, columns=1, size=(WIDTH, HEIGHT))
    label(axes, xlabel, ylabel)
    return figure, axes


def panels(count: int, *, columns: int, size: tuple[float, float]) -> tuple[Figure, Sequence[Axes]]:
    """A figure of so many inches with axes row by row, all in the one style."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    rows = -(-count // columns)
    drawn = [figure.add_subplot(rows, columns, place + 1) for place in range(count)]
    for axes in drawn:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.tick_params(which="both", colors=INK, labelsize=8, width=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set(color=INK, linewidth=0.6)
        axes.patch.set_alpha(0)
    return figure, drawn


def label(axes: Axes, xlabel: str, ylabel: str) -> None:
    """What the two axes are called."""
    axes.set_xlabel(xlabel, color=INK, fontsize=9, parse_math=False)
    axes.set_ylabel(ylabel, color=INK, fontsize=9, parse_math=False)


def log_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis whose numbers are plain text of one size."""
    axes.set(**{f"{which}scale": "log"})
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > WIDE * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(_short))
    axis.set_minor_formatter(NullFormatter())


def _short(value: float, _place: int | None = None) -> str:
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    digit, power = f"{value:.0e}".split("e")
    return ("" if digit == "1" else f"{digit}×") + "10" + str(int(power)).translate(RAISED)


def legend(axes: Axes, *, crowded: bool) -> None:
    """Where it hides no line; above the axes, in as few rows as fit, where there is no such place."""
    names = axes.get_legend_handles_labels()[1]
    if not names:
        return
    widest = max(len(name) for name in names) + 6
    line = {"ncols": max(1, min(len(names), 62 // widest)), "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    if not crowded:
        axes.legend(frameon=False, fontsize=8)
        crowded = _hides_a_line(axes)
    place = {"loc": "lower left", **line} if crowded else {}
    for text in axes.legend(frameon=False, fontsize=8, **place).get_texts():
        text.set(color=INK, parse_math=False)
        if len(text.get_text()) > LONGEST:
            text.set_text(text.get_text()[: LONGEST - 1] + "…")


def _hides_a_line(axes: Axes) -> bool:
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # only a figure of its own
    box = axes.get_legend().get_window_extent()  # type: ignore[union-attr]  # just made
    paths = (line.get_transform().transform_path(line.get_path()) for line in axes.lines)
    return any(path.intersects_bbox(box, filled=False) for path in paths)


def note(axes: Axes, height: float, text: str) -> None:
    """The name of a level, on its left end."""
    axes.annotate(
        text,
        (0, height),
        xycoords=("axes fraction", "data"),
        xytext=(3, -3),  # on the left and below, where values that fall leave room
        textcoords="offset points",
        va="top",
        fontsize=8,
        color=ORANGE,
    )


def as_svg(figure: Figure, name: str) -> bytes:
    """The bare <svg> element, deterministic, in the page's own font and ink."""
    buffer = io.BytesIO()
    # Real text instead of glyph outlines; restored at once.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    # Several figures share one page: their ids must differ.
    text = re.sub(r"""( id="|href="#|url\(#)""", rf"\g<1>{name}-", text)
    return text.replace(INK, "currentColor").strip().encode()
