"""Images in folders: their order, their colors, and the limits that are checked before a pixel is decoded."""

import numpy as np
import pytest
import torch
from PIL import Image

from vestige.data import folder
from vestige.data.dataset import DataError
from vestige.data.folder import load_folder


def image(path, mode="RGB", size=(2, 3), color=(255, 0, 0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


def test_classes_and_files_stand_in_the_order_of_their_names(tmp_path):
    for place, name in enumerate(["b/2.png", "b/1.png", "a/9.png"]):
        image(tmp_path / name, "L", color=place * 51)
    (tmp_path / "empty").mkdir()
    data = load_folder(tmp_path, "folder:x")
    assert data.classes == ("a", "b") and data.y.tolist() == [0, 1, 1] and data.name == "folder:x"
    torch.testing.assert_close(data.x[:, 0, 0, 0].double(), torch.tensor([0.4, 0.2, 0.0]))
    assert data.provenance == f"3 image files in {tmp_path.name}"


@pytest.mark.parametrize(("modes", "channels"), [(["L", "L"], 1), (["L", "RGB"], 3), (["1", "I;16"], 1), (["P"], 3)])
def test_gray_only_where_all_are_gray(modes, channels, tmp_path):
    for place, mode in enumerate(modes):
        image(tmp_path / f"{place}.png", mode, color=(9, 9, 9) if mode == "RGB" else 0)
    assert load_folder(tmp_path, "x").shape == (channels, 3, 2)


@pytest.mark.parametrize(("alpha", "green"), [(0, 1.0), (255, 0.0), (51, 0.8)])
def test_what_is_transparent_shows_white(alpha, green, tmp_path):
    image(tmp_path / "a.png", "RGBA", color=(255, 0, 0, alpha))
    red, found, _ = load_folder(tmp_path, "x").x[0, :, 0, 0].tolist()
    assert red == 1 and found == pytest.approx(green, abs=1 / 255)


def test_height_comes_before_width(tmp_path):
    pixels = np.arange(6, dtype=np.uint8).reshape(3, 2)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    torch.testing.assert_close(load_folder(tmp_path, "x").x[0, 0].double() * 255, torch.as_tensor(pixels).double())


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [("LARGEST_FILE", 20, "bytes; at most 20"), ("LARGEST_SIDE", 2, "2 a side"), ("LARGEST_TOTAL", 35, "more than 35")],
)
def test_limits_are_kept(limit, value, said, tmp_path, monkeypatch):
    image(tmp_path / "a.png")
    image(tmp_path / "b.png")
    assert load_folder(tmp_path, "x").shape == (3, 3, 2)
    monkeypatch.setattr(folder, limit, value)
    with pytest.raises(DataError, match=said):
        load_folder(tmp_path, "x")


def test_a_link_to_a_folder_is_not_followed(tmp_path):
    image(tmp_path / "real" / "a.png")
    (tmp_path / "root" / "own").mkdir(parents=True)
    image(tmp_path / "root" / "own" / "b.png")
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "real")
    assert load_folder(tmp_path / "root", "x").classes == ("own",)


def test_a_format_that_calls_other_programs_is_no_image(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\nshowpage\n%%EOF")
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        load_folder(tmp_path, "x")
