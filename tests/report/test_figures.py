"""Figures are bytes with the right content, and leave no global state behind."""

import re
import xml.etree.ElementTree as ET

import matplotlib
import torch

from vestige.report import figures


def drawn():
    yield figures.ranked_similarity(torch.tensor([0.2, 0.9]), threshold=0.8, nulls={"held out": 0.7})
    yield figures.roc_curve(torch.logspace(-5, 0, 9), torch.linspace(0.2, 1, 9))
    yield figures.history({"": [(1, 1.0), (2, 0.1), (3, 0.001)]})
    yield figures.history({"a": [(1, 1.0)], "b $x$ <b>": [(1, -2.0)]})
    yield figures.history({"a": [(0, 1e-6), (10, 1e-3)]}, quantity="step size")
    yield figures.singular_values(torch.tensor([2.0, 1.0, 0.0]), identifiable=2)
    yield figures.confidence_profile(torch.tensor([0.9, 0.1]))
    yield figures.curves([1.0, 2.0], {"a": [0.1, float("nan")], "b": [0.2, 0.3]}, xlabel="x", ylabel="error", level=0.1)
    yield figures.curves([1.0, 9.0], {"a": [0.0, 3.0]}, xlabel="d", ylabel="radius", logarithmic=True)
    yield figures.recovered_shares(("before", "after"), {"forgotten": [1.0, 0.0], "kept": [1.0, 0.9]})


def test_svg_is_well_formed_deterministic_and_follows_the_page():
    before = dict(matplotlib.rcParams)
    first, second = list(drawn()), list(drawn())
    assert first == second
    for svg in first:
        root = ET.fromstring(svg)
        assert root.tag.endswith("svg")
        assert b"currentColor" in svg and b"#010203" not in svg and b"<style" not in svg
    assert dict(matplotlib.rcParams) == before


def test_ids_of_two_figures_differ():
    def ids(svg):
        return {element.get("id") for element in ET.fromstring(svg).iter()} - {None}

    all_svg = list(drawn())
    assert not ids(all_svg[0]) & ids(all_svg[1])


def test_empty_and_single_values_are_drawn():
    empty = torch.zeros(0)
    figures.ranked_similarity(empty, threshold=0.5, nulls={})
    figures.history({"": []})
    figures.history({})
    figures.singular_values(torch.zeros(3))
    figures.confidence_profile(empty)


def test_each_null_line_has_its_name():
    nulls = {"white noise": 0.5, "held-out $x^2$": 0.501}
    svg = figures.ranked_similarity(torch.tensor([0.9]), threshold=0.8, nulls=nulls).decode()
    assert "white noise" in svg and "held-out $x^2$" in svg


def test_recovered_shares_have_a_bar_and_a_label_for_each_group():
    svg = figures.recovered_shares(("before", "after"), {"forgotten": [1.0, 0.0], "kept": [1.0, 0.9]}).decode()
    assert all(text in svg for text in ("before", "after", "forgotten", "kept", "90%"))
    other = figures.recovered_shares(("before", "after"), {"forgotten": [1.0, 1.0], "kept": [1.0, 0.9]}).decode()
    assert svg != other


def test_curves_of_shares_show_their_highest_point(monkeypatch):
    seen = []
    monkeypatch.setattr(figures, "as_svg", lambda figure, name: seen.append(figure) or b"")
    figures.curves([0.0, 1.0], {"a": [0.967, 0.5]}, xlabel="eps", ylabel="share")
    assert seen[0].axes[0].get_ylim()[0] == 0 and seen[0].axes[0].get_ylim()[1] > 0.98


def test_numbers_of_logarithmic_axes_are_plain_text_of_one_size():
    svg = figures.curves([1.0, 20.0, 3e5], {"a": [2.0, 30.0, 1e-7]}, xlabel="x", ylabel="y", logarithmic=True).decode()
    assert "DejaVu Sans'; fill" not in svg and "tspan" not in svg
    assert len(set(re.findall(r"font-size: ([\d.]+)px", svg))) == 2, "numbers and labels"
    assert ">10⁻⁷<" in svg and ">1<" in svg and "#000000" not in svg
    narrow = figures.curves([1.0, 2.0], {"a": [20.0, 60.0]}, xlabel="x", ylabel="y", logarithmic=True).decode()
    assert ">20<" in narrow and ">50<" in narrow


def test_five_curves_differ_in_color_marker_or_line(monkeypatch):
    drawn = figure_of(
        monkeypatch,
        lambda: figures.curves([1.0, 2.0], {k: [1.0, float(k == "a")] for k in "abcde"}, xlabel="x", ylabel="y"),
    )
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in drawn.axes[0].lines}
    assert len(looks) == 5


def test_a_legend_hides_no_line(monkeypatch):
    x = [float(k) for k in range(8)]
    everywhere = {name: [1 + k % 2 * 0.9 - 0.2 * n for k in range(8)] for n, name in enumerate(("one", "two", "three"))}
    for series in (everywhere, {"rising": x, "level": [0.0] * 8}):
        drawn = figure_of(monkeypatch, lambda series=series: figures.curves(x, series, xlabel="x", ylabel="y"))
        (axes,) = drawn.axes
        box = axes.get_legend().get_window_extent()
        for line in axes.lines:
            assert not line.get_transform().transform_path(line.get_path()).intersects_bbox(box, filled=False)


def test_a_level_has_its_name_in_the_legend(monkeypatch):
    drawn = figure_of(
        monkeypatch,
        lambda: figures.curves([1.0, 2.0], {"y": [1.0, 2.0]}, xlabel="x", ylabel="y", level=1.5, level_name="chance"),
    )
    assert [text.get_text() for text in drawn.axes[0].get_legend().texts] == ["y", "chance"]


def figure_of(monkeypatch, draw):
    """The figure behind an SVG, laid out."""
    seen = []
    monkeypatch.setattr(figures, "as_svg", lambda figure, name: seen.append(figure) or b"")
    draw()
    seen[0].draw_without_rendering()
    return seen[0]


def test_names_of_any_length_stay_beside_the_axes(monkeypatch):
    steps = [(k, 1.0 / (k + 1)) for k in range(figures.CROWDED + 1)]
    for names in (["a", "b"], ["x" * 300, "y" * 300, "z" * 300], [f"round {k}" for k in range(3)]):
        drawn = figure_of(monkeypatch, lambda names=names: figures.history(dict.fromkeys(names, steps)))
        (axes,), (width, height) = drawn.axes, drawn.canvas.get_width_height()
        legend, inside = axes.get_legend().get_window_extent(), axes.get_window_extent()
        assert 0 <= legend.x0 and legend.x1 <= width and legend.y1 <= height
        assert legend.y0 >= inside.y1 - 1 and inside.width > width / 2 and inside.height > height / 3


def test_many_points_have_no_markers_and_values_that_differ_a_hundredfold_have_a_logarithmic_axis(monkeypatch):
    def lines(x, series, **more):
        drawn = figure_of(monkeypatch, lambda: figures.curves(x, series, xlabel="x", ylabel="y", **more))
        (axes,) = drawn.axes
        return axes

    few, many = (
        lines([1.0, 2.0], {"a": [1.0, 99.0]}),
        lines([float(k) for k in range(100)], {"a": [1.0] * 99 + [100.0]}),
    )
    assert few.get_yscale() == "linear" and few.lines[0].get_marker() == "o" and few.get_legend()
    assert lines([1.0, 2.0], {"y": [1.0, 2.0]}).get_legend() is None  # what the axis says
    assert many.get_yscale() == "log" and many.lines[0].get_marker() in ("", "None")
    assert lines([1.0, 2.0], {"a": [0.0, 1000.0]}).get_yscale() == "linear"
    named = lines([1.0, 2.0], {"a": [1.0, 2.0], "b": [2.0, 1.0]}, ticks=["one", "<b>"])
    assert [text.get_text() for text in named.get_xticklabels()] == ["one", "<b>"]
    assert all(line.get_linestyle() == "None" for line in named.lines) and len(named.get_legend().texts) == 2
