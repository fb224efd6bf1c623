"""Images in folders: their order, their colors, and the limits that are checked before a pixel is decoded."""

import numpy as np
import pytest
import torch
from PIL import Image

from vestige.data import folder
from vestige.data.folder import load_folder
from vestige.data.source import DataError


def image(path, mode="RGB", size=(2, 3), color=(255, 0, 0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


def test_classes_and_files_stand_in_the_order_of_their_names(tmp_path):
    for place, name in enumerate(["b/2.png", "b/1.png", "a/9.png"]):
        image(tmp_path / name, "L", color=place * 51)
    image(tmp_path / "b/._1.png", "L", color=0)
    for passed_over in (".ipynb_checkpoints", "__MACOSX", "__pycache__"):
        image(tmp_path / passed_over / "0.png", "L", color=0)
    data = load_folder(tmp_path, "folder:x")
    assert data.classes == ("a", "b") and data.y.tolist() == [0, 1, 1] and data.name == "folder:x"
    torch.testing.assert_close(data.x[:, 0, 0, 0].double(), torch.tensor([0.4, 0.2, 0.0]))
    assert data.provenance == f"3 image files in {tmp_path.name}"


def test_numbers_as_names_stand_in_the_order_of_text_which_is_said(tmp_path):
    for name in ("1", "2", "10"):
        image(tmp_path / name / "0.png", "L", color=0)
    data = load_folder(tmp_path, "x")
    assert data.classes == ("1", "10", "2") and "in the order of the names as text: 1, 10, 2" in data.provenance


@pytest.mark.parametrize(
    ("modes", "channels"), [(["L", "L"], 1), (["L", "RGB"], 3), (["1", "L"], 1), (["I;16"], 1), (["LA"], 1), (["P"], 3)]
)
def test_gray_only_where_all_are_gray(modes, channels, tmp_path):
    for place, mode in enumerate(modes):
        image(tmp_path / f"{place}.png", mode, color={"RGB": (9, 9, 9), "LA": (9, 255)}.get(mode, 0))
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


def test_a_class_that_would_be_left_out_is_refused_by_name(tmp_path):
    image(tmp_path / "cat" / "a.png")
    assert load_folder(tmp_path, "x").classes == ("cat",)

    def refused(name, said):
        with pytest.raises(DataError, match=rf"{name} {said}"):
            load_folder(tmp_path, "x")

    (tmp_path / "dog").mkdir()
    refused("dog", "holds no images")
    image(tmp_path / "dog" / "puppies" / "a.png")
    refused("dog", "has folders inside, such as puppies")
    (tmp_path / "dog").rename(tmp_path / ".dog")
    (tmp_path / "eel").symlink_to(tmp_path / "cat")
    refused("eel", "is a link")
    (tmp_path / "eel").unlink()
    image(tmp_path / "b.png")
    refused(tmp_path.name, "holds images beside")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_channel_keeps_its_depth(dtype, tmp_path):
    """The darkest 0.4 % of a 16-bit image are not all that is left of it."""
    pixels = np.array([[0, 1], [np.iinfo(dtype).max // 2, np.iinfo(dtype).max]], dtype)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = torch.tensor(pixels.astype(float)) / np.iinfo(dtype).max
    torch.testing.assert_close(load_folder(tmp_path, "x").x[0, 0], expected)


def test_depths_are_not_mixed_and_floats_have_no_range(tmp_path):
    Image.fromarray(np.zeros((3, 2), np.uint16)).save(tmp_path / "a.png")
    image(tmp_path / "b.png", "L", color=0)
    with pytest.raises(DataError, match="8 and of 16 bits"):
        load_folder(tmp_path, "x")
    (tmp_path / "b.png").unlink()
    Image.fromarray(np.zeros((3, 2), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="floating-point"):
        load_folder(tmp_path, "x")


def test_what_is_not_shown_as_stored_is_said(tmp_path):
    turned = Image.new("RGB", (2, 3))
    exif = turned.getexif()
    exif[folder.ORIENTATION] = 6
    turned.save(tmp_path / "a.jpg", exif=exif)
    image(tmp_path / "b.png", "RGBA", color=(0, 0, 0, 9))
    data = load_folder(tmp_path, "x")
    assert data.shape == (3, 3, 2) and len(data.notes) == 2
    assert "EXIF" in data.notes[0] and "white" in data.notes[1]


def test_a_format_that_calls_other_programs_is_no_image(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\nshowpage\n%%EOF")
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        load_folder(tmp_path, "x")


def test_files_that_are_left_out_are_said(tmp_path):
    image(tmp_path / "a" / "1.png")
    image(tmp_path / "a" / "2.jpg")
    (tmp_path / "a" / "2.jpg").rename(tmp_path / "a" / "2.jfif")
    (tmp_path / "a" / "notes.txt").touch()
    assert len(load_folder(tmp_path, "f")) == 2 and not load_folder(tmp_path, "f").notes
    (tmp_path / "a" / "0003").write_bytes((tmp_path / "a" / "1.png").read_bytes())
    assert (
        "1 files that are no images by their names were left out, such as 0003" in load_folder(tmp_path, "f").notes[0]
    )


def test_numbers_far_below_the_depth_of_their_files_are_said(tmp_path):
    Image.fromarray(np.full((2, 2), 4095, np.uint16)).save(tmp_path / "12_of_16_bits.png")
    assert "no pixel is brighter than 0.062" in load_folder(tmp_path, "f").notes[0]
