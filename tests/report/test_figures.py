"""Figures are bytes with the right content, and leave no global state behind."""

import io
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

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


@pytest.mark.parametrize(
    ("shape", "size"),
    [((3, 4, 5), (5, 4)), ((1, 8, 8), (8, 8)), ((6, 7), (7, 6)), ((4, 3, 3), (3, 3))],
)
def test_thumbnail_has_one_pixel_a_value(shape, size):
    image = Image.open(io.BytesIO(figures.thumbnail(torch.rand(shape, generator=torch.Generator().manual_seed(0)))))
    assert image.size == size


def test_a_vector_is_drawn_as_bars_from_zero():
    drawn = figures.thumbnail(torch.tensor([1.0, 0.0, -1.0, 9.0]), low=-1.0, high=1.0)
    bars = np.asarray(Image.open(io.BytesIO(drawn)))
    height, width = bars.shape
    filled = [(bars[:, k * width // 4 + 1] == 235) for k in range(4)]
    zero = [int(column.nonzero()[0].max()) for column in filled[:2]]
    assert zero[0] == zero[1] and abs(zero[0] - height // 2) <= 1  # the zero line is in the middle
    assert [round(column.mean(), 1) for column in filled] == [0.5, 0.0, 0.5, 0.5]  # clipped at 1
    long = Image.open(io.BytesIO(figures.thumbnail(torch.rand(10_000))))
    assert long.size == (figures.BARS, figures.HEIGHT)


def test_each_null_line_has_its_name():
    nulls = {"white noise": 0.5, "held-out $x^2$": 0.501}
    svg = figures.ranked_similarity(torch.tensor([0.9]), threshold=0.8, nulls=nulls).decode()
    assert "white noise" in svg and "held-out $x^2$" in svg


def test_thumbnail_keeps_values_and_clips():
    image = Image.open(io.BytesIO(figures.thumbnail(torch.tensor([[[-1.0, 0.0], [0.5, 2.0]]]))))
    assert np.asarray(image).tolist() == [[0, 0], [128, 255]]
    stretched = figures.thumbnail(torch.tensor([[2.0, 4.0]]), low=float("-inf"), high=float("inf"))
    assert np.asarray(Image.open(io.BytesIO(stretched))).tolist() == [[0, 255]]


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
