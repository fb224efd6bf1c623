"""Writes that are whole or absent, and JSON that is strict."""

import math
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.files import canonical, read_json, sha256_of, write_atomically, write_json
from vestige.nets.checkpoint import save_model
from vestige.nets.fully_connected import mlp

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomically(path, b"old")

    def no_space(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@given(value=JSON)
def test_json_comes_back(value, tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "v.json"
    write_json(path, value)
    assert read_json(path) == value


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_json_is_strict(bad, tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "v.json", {"x": [bad]})
    assert not (tmp_path / "v.json").exists()


def test_canonical_ignores_order_only():
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})
    assert canonical({"a": [1, 2]}) != canonical({"a": [2, 1]})


def test_sha256_is_the_known_one(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256_of(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("umask", "public"), [(0o000, 0o666), (0o022, 0o644), (0o027, 0o640), (0o077, 0o600)], ids=lambda v: f"{v:03o}"
)
def test_permissions_are_the_umask_s_and_private_files_their_owner_s(umask, public, tmp_path):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "public", b"")
        write_json(tmp_path / "public.json", 1)
        write_atomically(tmp_path / "private", b"", private=True)
        write_json(tmp_path / "private.json", 1, private=True)
        save_model(mlp([3, 2, 1]), tmp_path / "private.safetensors")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 5
    for name, mode in modes.items():
        assert mode == (0o600 if name.startswith("private") else public), name


def test_a_private_file_is_never_readable_by_others_on_its_way(tmp_path, monkeypatch):
    seen = []
    flush = os.fsync
    monkeypatch.setattr("os.fsync", lambda d: (seen.append(stat.S_IMODE(os.fstat(d).st_mode)), flush(d)))
    (tmp_path / "a").write_bytes(b"old and open to all")
    (tmp_path / "a").chmod(0o644)
    write_atomically(tmp_path / "a", b"new", private=True)
    assert seen[0] == 0o600 and len(seen) == 2  # the file, then its folder
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
