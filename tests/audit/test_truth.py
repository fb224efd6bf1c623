"""The truth for scoring: what `vestige train` drew, or everything given; held-out samples never hold it."""

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from vestige.audit import truth as truth_module
from vestige.audit.truth import draw, read_truth, recipe, split_classes
from vestige.data.load import load_data


def test_the_recipe_in_the_file_draws_the_same_samples():
    digits = load_data("digits")
    chosen, rest = draw(digits, 20, 3)
    truth = read_truth("digits", None, recipe(digits, 20, 3, None))
    assert torch.equal(truth.train.x, chosen.x) and torch.equal(truth.held_out.x, rest.x) and not truth.warnings
    assert truth.digest != read_truth("digits", None, recipe(digits, 20, 4, None)).digest


def test_binary_recipe():
    digits = load_data("digits")
    truth = read_truth("digits", None, recipe(digits, 10, 0, "0,1,8"))
    chosen, _ = draw(split_classes(digits, "0, 1,8"), 10, 0)
    assert torch.equal(truth.train.y, chosen.y) and set(truth.train.y.tolist()) == {0, 1}


def test_a_recipe_is_known_by_content_not_by_path(tmp_path):
    x, y = np.linspace(0, 1, 24).reshape(6, 4), np.arange(6) % 2
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, x=x, y=y)
    made_from = recipe(load_data(f"npz:{tmp_path / 'a.npz'}"), 4, 0, None)
    assert str(tmp_path) not in "".join(made_from.values())
    assert len(read_truth(f"npz:{tmp_path / 'b.npz'}", None, made_from).train) == 4
    other = read_truth("digits", None, made_from)
    assert len(other.train) == len(load_data("digits")) and "a different set" in other.warnings[0]


@pytest.mark.parametrize("hostile", [{"n": "-1"}, {"n": "9" * 40}, {"seed": "x"}, {"positive_classes": "a,b"}])
def test_a_hostile_recipe_is_a_named_error_or_unused(hostile):
    made_from = {**recipe(load_data("digits"), 20, 0, None), **hostile}
    try:
        read_truth("digits", None, made_from)
    except ValueError as error:
        assert str(error)


def test_held_out_data_are_kept_to_a_number(monkeypatch):
    monkeypatch.setattr(truth_module, "HELD_OUT", 50)
    digits = load_data("digits")
    truth = read_truth("digits", None, recipe(digits, 20, 0, None))
    assert truth.held_out is not None and len(truth.held_out) == 50


def test_without_a_recipe_everything_given_is_the_truth(tmp_path):
    x, y = np.linspace(0, 1, 24).reshape(6, 4), np.arange(6) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y)
    truth = read_truth(f"npz:{tmp_path / 'a.npz'}", None, {})
    assert len(truth.train) == 6 and truth.held_out is None
    assert not truth.warnings  # the score says what is missing where there are no held-out samples


def test_arrays_tensors_and_torch_data_sets_are_one_data_set():
    x, y = np.linspace(0, 1, 24, dtype="float32").reshape(6, 4), np.arange(6) % 2
    before = torch.get_rng_state()
    tensors = (torch.as_tensor(x), torch.as_tensor(y))
    found = [read_truth(given, None, {}).train for given in ((x, y), tensors, TensorDataset(*tensors))]
    assert all(torch.equal(one.x, tensors[0]) and torch.equal(one.y, tensors[1]) for one in found)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_samples_are_taken_out_of_the_held_out_ones(tmp_path):
    x, y = np.linspace(0, 1, 24).reshape(6, 4), np.arange(6) % 2
    np.savez(tmp_path / "train.npz", x=x[:3], y=y[:3])
    np.savez(tmp_path / "all.npz", x=x, y=y)
    train, every = (f"npz:{tmp_path / name}.npz" for name in ("train", "all"))
    truth = read_truth(train, every, {})
    assert truth.held_out is not None and len(truth.held_out) == 3
    with pytest.raises(ValueError, match="only training samples"):
        read_truth(every, train, {})
    with pytest.raises(ValueError, match="must agree"):
        read_truth(train, "digits", {})


def test_held_out_labels_are_those_of_the_data(tmp_path):
    x, names = np.linspace(0, 1, 24).reshape(6, 4), np.array(["ant", "bee", "cat"] * 2)
    np.savez(tmp_path / "train.npz", x=x, y=names)
    np.savez(tmp_path / "other.npz", x=1 - x[:2] / 2, y=names[1:3])
    train, other = (f"npz:{tmp_path / name}.npz" for name in ("train", "other"))
    truth = read_truth(train, other, {})
    assert truth.held_out is not None and truth.held_out.y.tolist() == [1, 2]
    known = {"data_sha256": truth_module.fingerprint(load_data(train)), "positive_classes": "cat"}
    truth = read_truth(train, other, known)
    assert truth.train.y.tolist() == [0, 0, 1] * 2
    assert truth.held_out is not None and truth.held_out.y.tolist() == [0, 1]


def test_one_changed_row_changes_the_digest(tmp_path):
    x, y = np.linspace(0, 1, 24).reshape(6, 4), np.arange(6) % 2
    digests = set()
    for value in (0.0, 0.5):
        x[0, 0] = value
        np.savez(tmp_path / "a.npz", x=x, y=y)
        digests.add(read_truth(f"npz:{tmp_path / 'a.npz'}", None, {}).digest)
    assert len(digests) == 2
