"""Data that are not read are called what they are, with the way to what is read; and what was changed is said."""

import gzip
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from vestige.data import load_data
from vestige.data.other_kinds import kind_of
from vestige.data.source import DataError


def zipped(*names):
    def write_it(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"x")

    return write_it


def tarred(path):
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "a.cls")


def plain(data):
    return lambda path: path.write_bytes(data)


KINDS = {
    "batch": (plain(b"\x80\x04\x95"), "a pickle"),
    "images-idx3-ubyte": (plain(struct.pack(">IIII", 0x803, 3, 2, 2) + bytes(12)), "an IDX file"),
    "old.mat": (plain(b"MATLAB 5.0 MAT-file".ljust(200)), "a MATLAB file"),
    "d.h5": (plain(b"\x89HDF\r\n\x1a\n" + bytes(60)), "an HDF5 file"),
    "t.feather": (plain(b"ARROW1\0\0" + bytes(60)), "to_parquet"),
    "t.arrow": (plain(b"\xff\xff\xff\xff" + bytes(60)), "to_parquet"),
    "t.csv.gz": (plain(gzip.compress(b"a,b\n")), "unpack it first"),
    "t.tar": (tarred, "a tar archive"),
    "t.xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "a spreadsheet"),
    "d.pt": (lambda path: torch.save(torch.ones(2), path), "a file of torch.save"),
    "t.arff": (plain(b"@RELATION x\n@data\n1,p\n"), "an ARFF file"),
    "t.jsonl": (plain(b'{"a": 1.5, "label": 0}\n'), "JSON text"),
    "t.json": (plain(b"[[1, 2], [3, 4]]"), "JSON text"),
    "t.svm": (plain(b"1 1:0.5 2:0.3\n-1 1:0.2\n"), "libsvm"),
}


@pytest.mark.parametrize("kind", ["npz", "npy", "csv"])
@pytest.mark.parametrize("name", KINDS)
def test_a_file_is_called_what_it_is(name, kind, tmp_path):
    write_it, words = KINDS[name]
    write_it(tmp_path / name)
    np.save(tmp_path / "y.npy", [0, 1])
    with pytest.raises(DataError, match=words):
        load_data(f"{kind}:{tmp_path / name}" + (f",{tmp_path / 'y.npy'}" if kind == "npy" else ""))


def test_what_is_read_has_no_other_name(tmp_path):
    x, y = np.zeros((3, 2)), [0, 1, 0]
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.save(tmp_path / "a.npy", x)
    (tmp_path / "a.csv").write_text("[a],b,label\n1 1:2,2,0\n")
    assert not any(kind_of(tmp_path / name) for name in ("a.npz", "a.npy", "a.csv"))
    arrays = np.frombuffer(b"xl/data.pkl" * 20, "u1")  # bytes of numbers are no names
    np.savez(tmp_path / "b.npz", x=arrays, y=arrays)
    assert not kind_of(tmp_path / "b.npz")


def images(folder, save, classes="ab"):
    for name in classes:
        (folder / name).mkdir(parents=True)
        save(folder / name)
    return load_data(f"folder:{folder}")


COLORS = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)


def test_of_several_frames_the_first_is_read_and_said(tmp_path):
    frames = [Image.fromarray(np.full((4, 5, 3), level, np.uint8)) for level in (10, 200)]

    def save(folder):
        frames[0].save(folder / "x.tif", save_all=True, append_images=frames[1:])

    read = images(tmp_path, save)
    assert "several frames" in read.provenance and float(read.x.max()) == pytest.approx(10 / 255)


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "jpg"), ("LAB", "tif")])
def test_other_colors_are_converted_and_said(mode, suffix, tmp_path):
    read = images(tmp_path, lambda folder: Image.fromarray(COLORS).convert(mode).save(folder / f"x.{suffix}"))
    assert read.shape == (3, 4, 5) and f"{mode} is shown as RGB" in read.provenance


def png(bits):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in COLORS)
    head = struct.pack(">IIBBBBB", 5, 4, bits, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [8, 16])
def test_colors_of_16_bits_are_said_to_be_read_with_8(bits, tmp_path):
    read = images(tmp_path, lambda folder: (folder / "x.png").write_bytes(png(bits)))
    assert ("16 bits are read with 8" in read.provenance) == (bits == 16)


def test_an_image_of_another_kind_among_others_is_refused_and_not_dropped(tmp_path):
    def save(folder):
        Image.fromarray(COLORS).save(folder / "x.png")
        (folder / "y.avif").write_bytes(b"x")
        (folder / "notes.txt").write_text("x")

    with pytest.raises(DataError, match=r"y\.avif is an image of a kind that is not read"):
        images(tmp_path, save)


def test_a_folder_in_parts_names_one_and_a_folder_of_other_files_says_what_they_are(tmp_path):
    (tmp_path / "set" / "train" / "cat").mkdir(parents=True)
    (tmp_path / "set" / "test" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="parted into test, train; give one part"):
        load_data(f"folder:{tmp_path / 'set'}")
    (tmp_path / "other").mkdir()
    tarred(tmp_path / "other" / "000.tar")
    with pytest.raises(DataError, match=r"000\.tar is a tar archive"):
        load_data(f"folder:{tmp_path / 'other'}")
    with pytest.raises(DataError, match=r"is not a folder.*Unpack it"):
        load_data(f"folder:{tmp_path / 'other' / '000.tar'}")


def test_a_bare_path_is_answered_with_what_to_write(tmp_path):
    (tmp_path / "t.tsv").write_text("a\tlabel\n1\t0\n")
    for path, words in ((tmp_path / "t.tsv", "write csv:"), (tmp_path, "write folder:")):
        with pytest.raises(DataError, match=words):
            load_data(str(path))


def test_samples_along_the_last_axis_are_told(tmp_path):
    np.savez(tmp_path / "svhn.npz", x=np.zeros((6, 6, 3, 4)), y=[0, 1, 0, 1])
    with pytest.raises(DataError, match=r"6 samples with 4 labels.*moveaxis"):
        load_data(f"npz:{tmp_path / 'svhn.npz'}")
    np.savez(tmp_path / "short.npz", x=np.zeros((6, 3)), y=[0, 1])
    with pytest.raises(DataError, match=r"6 samples with 2 labels; one label per sample is needed$"):
        load_data(f"npz:{tmp_path / 'short.npz'}")
