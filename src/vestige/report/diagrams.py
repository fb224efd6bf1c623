"""Figures made of cells: a table as shades, and who reads and writes which block of a residual stream."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from torch import Tensor

from vestige.report.style import BLUE, GRAY, INK, ORANGE, as_svg, blank_axes

READERS = {"query": "q", "key": "k", "value": "v", "reads": ""}
LETTERED = 12  # columns up to which cells have their numbers
WIDEST = 0.9  # share of a column that the widest block takes


def shares_table(
    values: Float[Tensor, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    xlabel: str,
    ylabel: str,
    line: Sequence[tuple[float, float]] = (),
) -> bytes:
    """Shares from 0 to 1 as shades of one color, with their numbers where there is room (SVG).

    Args:
        values: a row for each of `rows`, the first one at the bottom.
        rows: their names.
        columns: as many names, or none.
        xlabel: of the columns.
        ylabel: of the rows.
        line: (column, row) of the points of a line through the table, from (0, 0) in the middle of the first cell.
    """
    figure, axes = blank_axes(xlabel, ylabel)
    shown = values.detach().cpu().double().clamp(0, 1).numpy()
    shades = np.concatenate([np.broadcast_to(to_rgb(BLUE), (*shown.shape, 3)), shown[..., None]], -1)
    axes.imshow(shades, aspect="auto", origin="lower", interpolation="nearest")
    if shown.shape[1] <= LETTERED:
        for (row, column), value in np.ndenumerate(shown):
            axes.annotate(f"{value:.2f}", (column, row), ha="center", va="center", fontsize=7, color=INK)
    if line:
        axes.plot(*zip(*line, strict=True), color=ORANGE, linewidth=1.4)
        axes.set(xlim=(-0.5, shown.shape[1] - 0.5), ylim=(-0.5, shown.shape[0] - 0.5))
    axes.set_yticks(range(len(rows)), [str(name) for name in rows], parse_math=False)
    if columns:
        axes.set_xticks(range(len(columns)), [str(name) for name in columns], parse_math=False)
    return as_svg(figure, "shares")


def stream_diagram(
    blocks: Mapping[str, int], parts: Sequence[tuple[str, Mapping[str, Sequence[str]], Sequence[str]]]
) -> bytes:
    """A residual stream from top to bottom: which head or MLP reads (rings) and writes (dots) which block (SVG).

    Args:
        blocks: names and sizes, in order.
        parts: name, blocks read by role (query, key, value; or reads), and blocks written, in order.
    """
    figure, axes = blank_axes("", "")
    figure.set_size_inches(4.9, 0.9 + 0.42 * len(parts))
    places = {name: k for k, name in enumerate(blocks)}
    for name, k in places.items():
        width = WIDEST * math.log1p(blocks[name]) / math.log1p(max(blocks.values()))
        axes.add_patch(Rectangle((k - width / 2, -0.5), width, len(parts), color=GRAY, alpha=0.18, linewidth=0))
    for row, (_, reads, writes) in enumerate(parts):
        read: dict[int, str] = {}
        for role, names in reads.items():
            for name in names:
                read[places[name]] = read.get(places[name], "") + READERS[role]
        written = [places[name] for name in writes]
        if read or written:
            axes.plot([min([*read, *written]), max([*read, *written])], [row, row], color=GRAY, linewidth=0.9, zorder=1)
        axes.scatter(list(read), [row] * len(read), s=70, color="none", edgecolor=BLUE, linewidth=1.4)
        axes.scatter(written, [row] * len(written), s=16, color=ORANGE, zorder=3)
        for place, letters in read.items():
            axes.annotate(letters, (place, row), (8, 4), textcoords="offset points", fontsize=7, color=INK)
    names = [f"{name} ({size})" for name, size in blocks.items()]
    axes.set_xticks(range(len(blocks)), names, parse_math=False, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(parts)), [name for name, _, _ in parts], parse_math=False)
    axes.set(xlim=(-0.6, len(blocks) - 0.4), ylim=(len(parts) - 0.5, -0.5))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return as_svg(figure, "stream")
