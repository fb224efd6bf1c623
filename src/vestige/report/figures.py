"""Figures as bytes: SVG in the style of `style`. No global plotting state is touched."""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray
from torch import Tensor

from vestige.report.style import BLUE, COLORS, GRAY, INK, ORANGE, as_svg, blank_axes, legend, log_axis, note

CROWDED = 60  # points from which markers run into each other
FEW = 8  # numbers that fit under an axis
ROOM = 0.09  # of the axis, for the number at a tick
STEEP = 100  # a largest value this many times the smallest needs a logarithmic axis


def ranked_similarity(
    similarity: Float[Tensor, " n"], *, threshold: float, nulls: Mapping[str, float], metric: str = "similarity"
) -> bytes:
    """Best similarity of each true sample, best first, with the threshold and what each null reaches at most (SVG).

    Args:
        similarity: of each true sample to its nearest reconstruction.
        threshold: above it a sample counts as recovered.
        nulls: name of each null to its largest similarity.
        metric: what the vertical axis is called.
    """
    figure, axes = blank_axes("true samples, best first", metric)
    values = np.sort(_array(similarity))[::-1]
    rank = np.arange(1, len(values) + 1)
    above = values >= threshold
    axes.axhline(threshold, color=ORANGE, linewidth=1.4)
    place = -math.inf
    for name, value in sorted(nulls.items(), key=lambda item: item[1]):
        axes.axhline(value, color=GRAY, linewidth=0.7, linestyle=(0, (2, 2)))
        place = max(value, place + 0.055)  # names of lines that lie together stand one above the other
        axes.annotate(
            name[:40], (1, place), xycoords=("axes fraction", "data"), xytext=(3, 0), textcoords="offset points",
            va="center", fontsize=7, color=INK, parse_math=False, annotation_clip=False,
        )  # fmt: skip
    axes.scatter(rank[above], values[above], s=16, color=BLUE, zorder=3)
    axes.scatter(rank[~above], values[~above], s=16, color="none", edgecolor=GRAY, zorder=3)
    bottom = min([0.0, *values.tolist(), *nulls.values()])
    axes.set_ylim(bottom - 0.02, max(1.02, float(values.max(initial=1.0)) * 1.02))
    axes.set_xlim(0.2, len(values) + 0.8)
    note(axes, threshold, "threshold")
    return as_svg(figure, "ranked")


def roc_curve(false_rate: Float[Tensor, " k"], true_rate: Float[Tensor, " k"], *, rate: float = 1e-3) -> bytes:
    """True against false positive rate, the false one on a logarithmic axis (SVG).

    Args:
        false_rate: share of unrelated comparisons that pass, in [0, 1].
        true_rate: share of true samples recovered at the same similarity.
        rate: the false positive rate at which a sample counts as recovered; marked.
    """
    figure, axes = blank_axes("false positive rate", "true positive rate")
    x, y = _array(false_rate), _array(true_rate)
    order = np.argsort(x, kind="stable")
    floor = min(1e-4, rate / 3)
    shown = np.clip(x[order], floor, 1.0)
    axes.plot(shown, y[order], color=BLUE, linewidth=1.8, drawstyle="steps-post")
    chance = np.geomspace(floor, 1, 60)
    axes.plot(chance, chance, color=GRAY, linewidth=0.9, linestyle=(0, (2, 2)))
    axes.axvline(rate, color=ORANGE, linewidth=1.4)
    axes.set_xlim(floor, 1)
    log_axis(axes, "x")
    axes.set_ylim(-0.02, 1.04)
    return as_svg(figure, "roc")


def history(series: Mapping[str, Sequence[tuple[int, float]]], *, quantity: str = "objective") -> bytes:
    """A quantity against step for each named series, on a logarithmic axis where all values are positive (SVG).

    Args:
        series: name to its points.
        quantity: what the vertical axis is called; "step size", for the history of `LocallyOptimalStep`.
    """
    figure, axes = blank_axes("step", quantity)
    values = [value for points in series.values() for _, value in points]
    for color, (name, points) in zip(COLORS * len(series), series.items(), strict=False):
        if points:
            axes.plot(*zip(*points, strict=True), color=color, linewidth=1.6, label=name or None)
    if values and min(values) > 0 and max(values) > 20 * min(values):
        log_axis(axes, "y")
    if sum(bool(name) for name in series) > 1:
        legend(axes, crowded=any(len(points) > CROWDED for points in series.values()))
    return as_svg(figure, "history-" + "-".join(re.findall(r"[a-z]+", quantity.lower())))


def singular_values(values: Float[Tensor, " r"], *, identifiable: int | None = None) -> bytes:
    """Singular values of the first layer, largest first; `identifiable` marks the numerical rank (SVG)."""
    figure, axes = blank_axes("index", "singular value")
    shown = _array(values)
    positive = shown[shown > 0]
    floor = max(positive.min(initial=1.0), positive.max(initial=1.0) * 1e-9)
    axes.plot(np.arange(1, len(shown) + 1), np.clip(shown, floor, None), color=BLUE, linewidth=1.6, marker=".")
    log_axis(axes, "y")
    if identifiable is not None:
        axes.axvline(identifiable + 0.5, color=ORANGE, linewidth=1.4)
    return as_svg(figure, "singular")


def survival(names: Sequence[str], share: Sequence[float]) -> bytes:
    """Share of samples that are classified correctly, clean and after each stage of an attack (SVG)."""
    figure, axes = blank_axes("", "share classified correctly")
    place = np.arange(len(names))
    axes.bar(place, share, color=[GRAY, *[BLUE] * (len(names) - 1)], width=0.6)
    axes.set_xticks(place, [str(name) for name in names], parse_math=False)
    axes.set_ylim(0, 1.05)
    return as_svg(figure, "survival")


def curves(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    ylabel: str,
    logarithmic: bool = False,
    log_x: bool = False,
    level: float | None = None,
    level_name: str = "",
    ticks: Sequence[str] = (),
) -> bytes:
    """Named series against the same x, on two logarithmic axes if asked, with a level that is marked (SVG).

    The vertical axis is logarithmic too where positive values reach from one to a hundred times as much.

    Args:
        x: increasing.
        series: each as long as x; values that are not finite are left out.
        xlabel: of the horizontal axis.
        ylabel: of the vertical one.
        logarithmic: both axes; for rates. Then only positive values are drawn.
        log_x: the horizontal axis alone.
        level: a height to compare with.
        level_name: what it is.
        ticks: names of the places on x, whose points are then no curve.
    """
    figure, axes = blank_axes(xlabel, ylabel)
    styles = zip(COLORS * len(series), "os^Dv" * len(series), strict=False)  # fifth and first differ in marker and line
    for k, ((color, marker), (name, values)) in enumerate(zip(styles, series.items(), strict=False)):
        points = [(a, b) for a, b in zip(x, values, strict=True) if math.isfinite(b) and (b > 0 or not logarithmic)]
        if points:
            (line,) = axes.plot(*zip(*points, strict=True), color=color, linewidth=1.6, marker=marker, markersize=4)
            line.set(label=name, linestyle="none" if ticks else "-" if k < len(COLORS) else "--")
            if len(points) > CROWDED:
                line.set(marker="", linewidth=1.0)
    if level is not None:
        axes.axhline(level, color=GRAY, linewidth=0.9, linestyle=(0, (2, 2)), label=level_name or None)
    if logarithmic or log_x:
        log_axis(axes, "x")
        if _apart(x):
            axes.set_xticks(x, [f"{value:g}" for value in x])
            axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=all(float(value).is_integer() for value in x)))
    if logarithmic or _steep([b for values in series.values() for b in values if math.isfinite(b)]):
        log_axis(axes, "y")
    else:
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    if ticks:
        axes.set_xticks(x, ticks, rotation=20, ha="right", rotation_mode="anchor", parse_math=False)
    if level_name or len(series) > 1 or any(name not in ylabel for name in series):  # else it is what the axis says
        legend(axes, crowded=len(x) > CROWDED)
    return as_svg(figure, "curves-" + "-".join(re.findall(r"[a-z]+", ylabel.lower())))


def _apart(x: Sequence[float]) -> bool:
    """Is there room for each number on a logarithmic axis?"""
    gaps = np.diff(np.log(x))
    return 1 < len(x) <= FEW and bool(gaps.min() >= ROOM * gaps.sum())


def _steep(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) >= STEEP * min(values)


def contours(
    x: Float[Tensor, " a"],
    y: Float[Tensor, " b"],
    values: Float[Tensor, "b a"],
    points: Mapping[str, Float[Tensor, "n 2"]],
    *,
    xlabel: str,
    ylabel: str,
) -> bytes:
    """Level lines of a function of two variables, denser near its minimum, with named points on them (SVG)."""
    figure, axes = blank_axes(xlabel, ylabel)
    shown = _array(values)
    levels = shown.min() + (shown.max() - shown.min()) * np.linspace(0.02, 0.98, 14) ** 2
    axes.contour(_array(x), _array(y), shown, levels=levels, colors=GRAY, linewidths=0.8)
    for color, marker, (name, place) in zip(
        (ORANGE, BLUE, GRAY) * len(points), "*o^" * len(points), points.items(), strict=False
    ):
        at = _array(place)
        axes.plot(at[:, 0], at[:, 1], color=color, marker=marker, markersize=5, linestyle="none", label=name)
    if points:
        legend(axes, crowded=True)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    return as_svg(figure, "contours")


def recovered_shares(names: Sequence[str], shares: Mapping[str, Sequence[float]]) -> bytes:
    """Share of samples that a reconstruction recovers from each network, one bar for each group of samples (SVG)."""
    figure, axes = blank_axes("", "share recovered")
    place, width = np.arange(len(names)), 0.8 / max(1, len(shares))
    for k, (color, (group, values)) in enumerate(zip((ORANGE, BLUE, GRAY) * len(shares), shares.items(), strict=False)):
        shift = (k - (len(shares) - 1) / 2) * width
        bars = axes.bar(place + shift, values, color=color, width=0.92 * width, label=group)
        labels = axes.bar_label(bars, [f"{value:.0%}" for value in values], fontsize=8)
        for text in labels:
            text.set(color=INK, parse_math=False)
    axes.set_xticks(place, [str(name) for name in names], parse_math=False)
    legend(axes, crowded=True)
    axes.set_ylim(0, 1.12)  # room for the numbers
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    return as_svg(figure, "recovered")


def confidence_profile(confidence: Float[Tensor, " k"]) -> bytes:
    """Confidence of the presented samples, most likely first (SVG)."""
    figure, axes = blank_axes("presented samples, likeliest first", "confidence")
    values = _array(confidence)
    axes.bar(np.arange(1, len(values) + 1), values, color=BLUE, width=0.8)
    axes.set_ylim(0, 1.02)
    return as_svg(figure, "confidence")


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.detach().cpu().double().numpy()
