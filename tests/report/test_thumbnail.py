"""A thumbnail shows the values that it was given."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from vestige.report.thumbnail import BARS, HEIGHT, thumbnail


@pytest.mark.parametrize(
    ("shape", "size"),
    [((3, 4, 5), (5, 4)), ((1, 8, 8), (8, 8)), ((6, 7), (7, 6)), ((4, 3, 3), (3, 3))],
)
def test_thumbnail_has_one_pixel_a_value(shape, size):
    image = Image.open(io.BytesIO(thumbnail(torch.rand(shape, generator=torch.Generator().manual_seed(0)))))
    assert image.size == size


def test_a_vector_is_drawn_as_bars_from_zero():
    drawn = thumbnail(torch.tensor([1.0, 0.0, -1.0, 9.0]), low=-1.0, high=1.0)
    bars = np.asarray(Image.open(io.BytesIO(drawn)))
    height, width = bars.shape
    filled = [(bars[:, k * width // 4 + 1] == 235) for k in range(4)]
    zero = [int(column.nonzero()[0].max()) for column in filled[:2]]
    assert zero[0] == zero[1] and abs(zero[0] - height // 2) <= 1  # the zero line is in the middle
    assert [round(column.mean(), 1) for column in filled] == [0.5, 0.0, 0.5, 0.5]  # clipped at 1
    long = Image.open(io.BytesIO(thumbnail(torch.rand(10_000))))
    assert long.size == (BARS, HEIGHT)


def test_thumbnail_keeps_values_and_clips():
    image = Image.open(io.BytesIO(thumbnail(torch.tensor([[[-1.0, 0.0], [0.5, 2.0]]]))))
    assert np.asarray(image).tolist() == [[0, 0], [128, 255]]
    stretched = thumbnail(torch.tensor([[2.0, 4.0]]), low=float("-inf"), high=float("inf"))
    assert np.asarray(Image.open(io.BytesIO(stretched))).tolist() == [[0, 255]]
