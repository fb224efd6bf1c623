"""Every door to data: names, npz files, image folders; damaged and hostile ones end in a DataError."""

import struct
import zipfile
import zlib
from urllib.error import URLError

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vestige.data import arrays, named
from vestige.data.dataset import DataError
from vestige.data.load import load_data


def test_digits_need_no_download():
    train, test = load_data("digits"), load_data("digits", split="test")
    assert (len(train), len(test), train.shape) == (1438, 359, (1, 8, 8))
    assert (float(train.x.min()), float(train.x.max())) == (0.0, 1.0)
    assert train.x.dtype == torch.get_default_dtype()
    assert torch.bincount(test.y).min() > 20


def test_npz_of_color_and_gray_images(tmp_path):
    color = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    gray = color[..., 0]
    np.savez(tmp_path / "d.npz", x_train=color, y_train=np.arange(5), x_test=gray, y_test=np.arange(5.0)[:, None])
    train, test = load_data(f"npz:{tmp_path / 'd.npz'}"), load_data(f"npz:{tmp_path / 'd.npz'}", split="test")
    assert (train.shape, test.shape) == ((3, 4, 6), (1, 4, 6))
    np.testing.assert_allclose(train.x[2, 1].numpy() * 255, color[2, :, :, 1])
    np.testing.assert_allclose(test.x[:, 0].numpy() * 255, gray)
    assert test.y.tolist() == [0, 1, 2, 3, 4] and train.classes == ("0", "1", "2", "3", "4")


def test_npz_with_one_part_and_class_names(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.full((2, 3), 0.5), y=np.array([0, 1]), classes=np.array(["cat", "dog"]))
    data = load_data(f"npz:{tmp_path / 'd.npz'}", split="test")
    assert (data.classes, data.shape, data.name) == (("cat", "dog"), (3,), "d")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"x": np.ones((2, 3))}, "x and y, are needed"),
        ({"z": np.ones(3)}, "none of the arrays"),
        ({"x": np.ones((2, 3)), "y": np.array(["a", "b"])}, "one integer per sample"),
        ({"x": np.ones((2, 3)), "y": np.array([0.5, 1])}, "one integer per sample"),
        ({"x": np.ones((2, 3)), "y": np.array([0, 1, 1])}, "2 samples with 3 labels"),
        ({"x": np.ones(3), "y": np.array([0, 1, 1])}, "shape"),
        ({"x": np.full((2, 3), 9.0), "y": np.array([0, 1])}, "divide by 255"),
        ({"x": np.full((2, 3), 999), "y": np.array([0, 1])}, "0 to 255"),
        ({"x": np.full((2, 3), np.nan), "y": np.array([0, 1])}, "NaN"),
        ({"x": np.ones((2, 3)), "y": np.array([0, 5]), "classes": np.array(["a"])}, "labels run"),
        ({"x": np.array([{}, {}]), "y": np.array([0, 1])}, "no objects"),
    ],
)
def test_bad_npz_is_named(tmp_path, content, said):
    np.savez(tmp_path / "d.npz", **content)
    with pytest.raises(DataError, match=said):
        load_data(f"npz:{tmp_path / 'd.npz'}")


def test_npz_bomb_is_refused_before_it_unpacks(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((1000, 100)), y=np.zeros(1000))
    monkeypatch.setattr(arrays, "LARGEST_ARRAYS", 100_000)
    with pytest.raises(DataError, match="unpacks to"):
        load_data(f"npz:{tmp_path / 'd.npz'}")


def test_npz_header_that_claims_more_than_it_holds(tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 3), }"
    npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(30)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", npy)
        archive.writestr("y.npy", npy)
    with pytest.raises(DataError, match="cannot be read"):
        load_data(f"npz:{tmp_path / 'd.npz'}")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=100), suffix=st.sampled_from([".npz", ".png", ".tif"]))
def test_random_bytes_end_in_a_named_error(tmp_path, data, suffix):
    for old in tmp_path.iterdir():
        old.unlink()
    (tmp_path / f"d{suffix}").write_bytes(data)
    with pytest.raises(DataError):
        load_data(f"npz:{tmp_path / 'd.npz'}" if suffix == ".npz" else f"folder:{tmp_path}")


def save_image(path, mode="RGB", size=(4, 3), color=(255, 0, 0)):
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new(mode, size, color).save(path)


def test_folder_with_a_class_each(tmp_path):
    save_image(tmp_path / "pets" / "cat" / "1.png")
    save_image(tmp_path / "pets" / "dog" / "1.png", "RGBA", color=(0, 0, 0, 0))
    save_image(tmp_path / "pets" / "dog" / "2.PNG", "L", color=51)
    (tmp_path / "pets" / "notes.txt").write_text("no image")
    data = load_data(f"folder:{tmp_path / 'pets'}")
    assert (data.shape, data.y.tolist(), data.classes) == ((3, 3, 4), [0, 1, 1], ("cat", "dog"))
    assert data.x[:, :, 0, 0].tolist() == [[1, 0, 0], [1, 1, 1], [0.2, 0.2, 0.2]]


def test_flat_folder_of_gray_images(tmp_path):
    save_image(tmp_path / "a.png", "L", color=255)
    save_image(tmp_path / "b.png", "L", color=0)
    data = load_data(f"folder:{tmp_path}")
    assert (data.shape, data.y.tolist(), data.x.sum().item()) == ((1, 3, 4), [0, 0], 12)


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        load_data(f"folder:{tmp_path / 'none'}")
    with pytest.raises(DataError, match="no images"):
        load_data(f"folder:{tmp_path}")
    save_image(tmp_path / "a.png")
    save_image(tmp_path / "b.png", size=(5, 5))
    with pytest.raises(DataError, match="resize"):
        load_data(f"folder:{tmp_path}")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"b.png cannot be read"):
        load_data(f"folder:{tmp_path}")


def test_image_bomb_is_refused(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IEND", b""))
    with pytest.raises(DataError, match=r"a.png"):
        load_data(f"folder:{tmp_path}")
    save_image(tmp_path / "a.png", "L", size=(5000, 2), color=0)
    with pytest.raises(DataError, match="4096 a side"):
        load_data(f"folder:{tmp_path}")


@pytest.mark.parametrize("spec", ["imagenet", "npz:", "folder:", "", "http://x", "npz"])
def test_unknown_names_list_the_known(spec):
    with pytest.raises(DataError, match="digits, mnist, fashion, cifar10, npz:PATH"):
        load_data(spec)


def test_unknown_split():
    with pytest.raises(DataError, match="'train' and 'test'"):
        load_data("digits", split="validation")


@pytest.fixture
def small_openml(monkeypatch, tmp_path):
    """A fake OpenML with three training and two test images a set; counts its calls."""
    monkeypatch.setenv("VESTIGE_CACHE", str(tmp_path / "cache"))
    calls = []
    for name, (openml, version, shape, _, classes) in list(named.OPENML.items()):
        monkeypatch.setitem(named.OPENML, name, (openml, version, shape, 3, classes))

    def fetch(openml, **options):
        calls.append((openml, options))
        size = 3072 if openml == "CIFAR_10" else 784
        return np.tile(np.arange(size) % 256, (5, 1)).astype(float), np.array(["0", "1", "2", "9", "5"], dtype=object)

    monkeypatch.setattr(named, "_fetcher", lambda: fetch)
    return calls


@pytest.mark.parametrize(
    ("name", "shape"), [("mnist", (1, 28, 28)), ("fashion", (1, 28, 28)), ("cifar10", (3, 32, 32))]
)
def test_fetched_once_then_cached(small_openml, name, shape):
    train, test = load_data(name), load_data(name, split="test")
    assert len(small_openml) == 1 and small_openml[0][1]["as_frame"] is False
    assert (len(train), len(test), train.shape) == (3, 2, shape)
    assert test.y.tolist() == [9, 5] and len(train.classes) == 10
    expected = torch.arange(train.x[0].numel()).remainder(256) / 255  # channels are planes: the order is kept
    torch.testing.assert_close(train.x[0].flatten(), expected)


def test_offline_error_names_the_alternatives(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setenv("VESTIGE_CACHE", str(tmp_path))
    monkeypatch.setattr(named, "_fetcher", lambda: fail)
    with pytest.raises(DataError, match=r"no route to host.*'digits'.*npz:PATH"):
        load_data("cifar10")
    assert list(tmp_path.iterdir()) == []
