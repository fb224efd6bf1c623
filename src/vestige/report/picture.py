"""One sample as a page shows it: a picture that the page holds in itself, or the columns of a table by their names."""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vestige.report.thumbnail import thumbnail

MOST = 30  # columns shown of one sample


@dataclass(frozen=True)
class Column:
    """One column of a sample: its value, and where that lies between the column's least and largest, in percent."""

    name: str
    place: float
    value: str


Drawn = str | tuple[Column, ...]  # the data URI of a picture, or columns


def picture(sample: Tensor, *, low: float, high: float) -> str:
    """A sample as the data URI of a PNG, with values from low to high."""
    return "data:image/png;base64," + base64.b64encode(thumbnail(sample, low=low, high=high)).decode()


def painter(results: Mapping[str, Any], seen: Tensor) -> Callable[[Tensor], Drawn]:
    """What draws samples in the range of a model's inputs; each is stretched where that range is unknown.

    Args:
        results: whose model says the range, and the names of the columns of a table where there are any.
        seen: samples that show the range of each column.
    """
    names = results["model"].get("columns") or []
    if names and seen.ndim == 2 and seen.shape[1] == len(names) and len(seen):
        least, largest = seen.amin(0).tolist(), seen.amax(0).tolist()
        return lambda sample: named(sample, names, least, largest)
    space = results["model"]["space"]
    low, high = (math.nan if space[side] is None else space[side] for side in ("low", "high"))
    return lambda sample: picture(sample, low=low, high=high)


def _short(value: float) -> str:
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}"


def named(sample: Tensor, names: Sequence[str], least: Sequence[float], largest: Sequence[float]) -> Drawn:
    """The columns of a sample, each within its own range; the last line says how many more there are."""
    columns = [
        Column(name, 100 * min(max((value - low) / ((high - low) or 1.0), 0.0), 1.0), _short(value))
        for name, value, low, high in zip(names, sample.tolist(), least, largest, strict=True)
    ]
    more = Column(f"and {len(columns) - MOST} columns more", 0.0, "")
    return tuple(columns) if len(columns) <= MOST else (*columns[:MOST], more)
