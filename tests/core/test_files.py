"""Writes that are whole or absent, and JSON that is strict."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.files import canonical, read_json, sha256_of, write_atomically, write_json

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
