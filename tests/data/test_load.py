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

from vestige.core.space import InputSpace
from vestige.data import arrays, named
from vestige.data.load import load_data
from vestige.data.source import DataError


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
        ({"x": np.ones((2, 3))}, "holds x; x_train and y_train"),
        ({"z": np.ones(3), "img": np.ones(3)}, r"holds img, z; .*npz:d\.npz#SAMPLES,LABELS"),
        ({"x": np.ones((2, 3)), "y": np.array([0.5, 1])}, "one whole number"),
        ({"x": np.ones((2, 3)), "y": np.array([np.inf, 1])}, "one whole number"),
        ({"x": np.ones((2, 3)), "y": np.array([0, 1, 1])}, "2 samples with 3 labels"),
        ({"x": np.ones((2, 3)), "y": np.array([-3, 1])}, "labels run from -3"),
        ({"x": np.ones((2, 3)), "y": np.array([0, 10**12])}, "labels run from 0 to 1,000,000,000,000"),
        ({"x": np.ones(3), "y": np.array([0, 1, 1])}, "shape"),
        ({"x": np.full((2, 3, 3), 999), "y": np.array([0, 1])}, "integers from 999 to 999"),
        ({"x": np.full((2, 3), np.nan), "y": np.array([0, 1])}, "NaN"),
        ({"x": np.ones((2, 3)), "y": np.array([0, 5]), "classes": np.array(["a"])}, "1 classes have names"),
        ({"x": np.ones((2, 5, 5, 4)), "y": np.array([0, 1])}, "4 channels"),
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


@pytest.mark.parametrize(
    ("x", "most"),
    [
        (np.array([[[0, 16]]], np.uint8), None),  # digits as bytes: nobody can tell
        (np.array([[0, 16]], np.uint8), None),
        (np.array([[[0, 900]]], np.uint16), None),
        (np.array([[[0, 1]]], np.uint8), 1),
        (np.array([[[False, True]]]), 1),
        (np.array([[[0, 255]]], np.uint8), 1),
        (np.array([[[3, 200]]], np.int64), 200 / 255),
        (np.array([[[0, 65535]]], np.uint16), 1),
        (np.array([[0, 90]], np.int64), 90),  # a table of numbers
        (np.array([[-5, 1000]], np.int64), 1000),
        (np.array([[-1.5, 7.0]]), 7),
    ],
)
def test_the_scale_of_integers_is_measured(x, most, tmp_path):
    np.savez(tmp_path / "d.npz", x=x, y=[0])
    if most is None:
        with pytest.raises(DataError, match=r"--range 0 \d+ --std \d+"):
            load_data(f"npz:{tmp_path / 'd.npz'}")
        top = float(x.max())
        x = load_data(f"npz:{tmp_path / 'd.npz'}", space=InputSpace(0, top)).x
        most = top
    else:
        x = load_data(f"npz:{tmp_path / 'd.npz'}").x
    assert float(x.max()) == pytest.approx(most)


def test_a_stated_range_is_kept_to(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.array([[-1.5, 2.0]]), y=[0])
    data = load_data(f"npz:{tmp_path / 'd.npz'}", space=InputSpace(-2, 2, mean=7.0))
    assert (data.space.low, data.space.high, data.space.mean) == (-2, 2, 0)
    with pytest.raises(DataError, match=r"allowed is \[0, 1\].*State their range"):
        load_data(f"npz:{tmp_path / 'd.npz'}", space=InputSpace(0, 1))
    assert load_data(f"npz:{tmp_path / 'd.npz'}").space.high == float("inf")


LABELS = {
    "text": (np.array(["dog", "cat", "dog", "ant"]), [2, 1, 2, 0], ("ant", "cat", "dog")),
    "bytes": (np.array([b"b", b"a", b"b", b"a"]), [1, 0, 1, 0], ("a", "b")),
    "numbers as text": (np.array(["2", "10", "0", "2"]), [2, 10, 0, 2], tuple(map(str, range(11)))),
    "floats as text": (np.array(["2.0", "10.", "0.0", "2.0"]), [2, 10, 0, 2], tuple(map(str, range(11)))),
    "truth values": (np.array([True, False, True, False]), [1, 0, 1, 0], ("0", "1")),
    "another machine's": (np.array([2, 1, 0, 2], ">i2"), [2, 1, 0, 2], ("0", "1", "2")),
    "signs": (np.array([-1, 1, 1, -1]), [0, 1, 1, 0], ("0", "1")),
    "signs as text": (np.array(["-1", "+1", "+1", "-1"]), [0, 1, 1, 0], ("0", "1")),
    "one-hot": (np.eye(4)[[3, 0, 1, 1]], [3, 0, 1, 1], ("0", "1", "2", "3")),
    "from 1": (np.array([1, 2, 3, 1]), [1, 2, 3, 1], ("0", "1", "2", "3")),
    "floats, a column": (np.array([[0.0], [1.0], [2.0], [0.0]]), [0, 1, 2, 0], ("0", "1", "2")),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_as_people_write_them(case, tmp_path):
    y, expected, classes = LABELS[case]
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 3)), y=y)
    data = load_data(f"npz:{tmp_path / 'd.npz'}")
    assert data.y.tolist() == expected and data.classes == classes
    assert bool(data.notes) == (case in ("text", "bytes", "signs", "signs as text", "one-hot"))


def test_text_that_is_no_class_is_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3)), y=np.array(["ant", "bee"]), classes=np.array(["ant", "cat"]))
    with pytest.raises(DataError, match="'bee' is none of the classes ant, cat"):
        load_data(f"npz:{tmp_path / 'd.npz'}")


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_numbers_that_single_precision_cannot_hold_are_refused(size, tmp_path):
    np.savez(tmp_path / "d.npz", x=np.full((2, 3), size), y=np.array([0, 1]))
    torch.set_default_dtype(torch.float32)
    with pytest.raises(DataError, match=r"out of reach of torch\.float32"):
        load_data(f"npz:{tmp_path / 'd.npz'}")


def test_other_keys_can_be_named(tmp_path):
    np.savez(tmp_path / "d.npz", img=np.zeros((2, 3)), lab=np.array([0, 1]), train_images=np.ones((2, 3)),
             train_labels=np.array([1, 1]))  # fmt: skip
    assert load_data(f"npz:{tmp_path / 'd.npz'}#img,lab").y.tolist() == [0, 1]
    assert load_data(f"npz:{tmp_path / 'd.npz'}").y.tolist() == [1, 1]


def test_two_npy_files(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    np.save(tmp_path / "y.npy", np.array([1, 0]))
    assert load_data(f"npy:{tmp_path / 'x.npy'},{tmp_path / 'y.npy'}").y.tolist() == [1, 0]
    with pytest.raises(DataError, match="two files"):
        load_data(f"npy:{tmp_path / 'x.npy'}")
    np.save(tmp_path / "y.npy", np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(DataError, match="objects"):
        load_data(f"npy:{tmp_path / 'x.npy'},{tmp_path / 'y.npy'}")


def test_a_decoy_of_the_same_name_hides_nothing(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in (("x", np.zeros((10_000, 9))), ("y", np.zeros(10_000)), ("zz/x", np.zeros((1, 1)))):
            with archive.open(f"{name}.npy", "w") as file:
                np.save(file, array)
    monkeypatch.setattr(arrays, "LARGEST_ARRAYS", 100_000)
    with pytest.raises(DataError, match="unpacks to"):
        load_data(f"npz:{tmp_path / 'd.npz'}")


@pytest.mark.parametrize("kind", [">f4", ">f8", "f2", "g", ">u2"])
def test_numbers_of_any_machine_are_read_in_any_layout(kind, tmp_path):
    x = (np.arange(1, 13).reshape(3, 4) * 5000).astype(kind)
    np.savez(tmp_path / "d.npz", x=np.asfortranarray(x), y=np.arange(3, dtype=">i8"))
    expected = x.astype(float) / (65_535 if kind == ">u2" else 1)
    assert np.allclose(load_data(f"npz:{tmp_path / 'd.npz'}").x.numpy(), expected)


def test_labels_without_text_are_no_class(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2)), y=np.array(["cat", " ", "dog"]))
    with pytest.raises(DataError, match="1 of 3 labels are empty"):
        load_data(f"npz:{tmp_path / 'd.npz'}")
