"""Memorizers as float modules: right up to the bits that a float has, and refused beyond."""

import numpy as np
import pytest
import torch

from vestige.construct.memorization import memorizer as module_of_memorize
from vestige.construct.memorization.memorizer import memorize
from vestige.construct.memorization.packing import Packing


def drawn(n, d, classes, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((n, d)), rng.integers(0, classes, n)


def points_with_keys_of(bits):
    """Numbers on a line whose keys have so many bits, but for the first one's."""
    return np.array([0, *(2 ** (bits - 2) - np.arange(24))], dtype=float)[:, None]


@pytest.fixture
def with_slots(monkeypatch):
    """Memorize with code words of so many slots, whatever is cheapest."""

    def memorize_with(slots, x, y):
        def choose(points, key_bits, label_bits, **_):
            return Packing(1, -(-points // slots), slots, key_bits, label_bits)

        monkeypatch.setattr(module_of_memorize, "choose_packing", choose)
        return memorize(x, y)

    return memorize_with


@pytest.mark.parametrize(
    ("dtype", "key_bits", "code_bits"),
    [(torch.float64, 17, 51), (torch.float64, 13, 52), (torch.float32, 11, 22), (torch.float32, 7, 21)],
)
def test_a_float_module_is_right_up_to_the_cliff(dtype, key_bits, code_bits, with_slots):
    """One orbit of the triangle map takes one bit more than the word, where the paper's two take two."""
    x = points_with_keys_of(key_bits)
    y = np.random.default_rng(3).integers(0, 8, len(x))
    made = with_slots(code_bits // key_bits, x, y)
    assert made.numbers["code_bits"] == code_bits
    module = made.to_torch(dtype)
    for shift in (-0.15, 0.0, 0.15):  # of the key; x counts in halves of it
        assert module(torch.as_tensor(x + shift / 2, dtype=dtype))[:, 0].tolist() == y.tolist()


@pytest.mark.parametrize(("dtype", "key_bits", "code_bits"), [(torch.float64, 18, 54), (torch.float32, 13, 26)])
def test_a_float_module_is_refused_behind_the_cliff_and_wrong_there(dtype, key_bits, code_bits, with_slots):
    x = points_with_keys_of(key_bits)
    y = np.random.default_rng(3).integers(0, 8, len(x))
    made = with_slots(code_bits // key_bits, x, y)
    with pytest.raises(ValueError, match=f"needs {code_bits + 1} "):
        made.to_torch(dtype)
    rounded = made.to_torch(dtype, exact=False)
    assert rounded(torch.as_tensor(x, dtype=dtype))[:, 0].tolist() != y.tolist()


@pytest.mark.parametrize(("n", "d"), [(50, 3), (300, 20), (300, 784)])
def test_float64_mode_on_float_points(n, d):
    """Nothing about the projection is exact in floats here; the plateaus take what it rounds."""
    x, y = drawn(n, d, 10)
    made = memorize(x, y, strategy="bits")
    assert made.numbers["code_bits"] <= 51
    module = made.to_torch(torch.float64)
    assert module(torch.from_numpy(x))[:, 0].tolist() == y.tolist()
    assert {p.dtype for p in module.parameters()} == {torch.float64}


def test_a_float_module_with_too_many_bits_is_wrong_and_needs_asking_for(with_slots):
    x, y = drawn(150, 8, 10)
    made = with_slots(6, x, y)
    with pytest.raises(ValueError, match="53 bits of mantissa"):
        made.to_torch(torch.float64)
    rounded = made.to_torch(torch.float64, exact=False)
    wrong = (rounded(torch.from_numpy(x))[:, 0] != torch.from_numpy(y)).double().mean()
    assert wrong > 0.2


def test_points_too_close_for_a_float_are_named():
    x = np.array([[1.0], [1.0 + 2**-52], [1e6]])
    made = memorize(x, np.array([1, 2, 3]), strategy="bits", bits=80)
    with pytest.raises(ValueError, match=r"needs|may be off by"):
        made.to_torch(torch.float64)
