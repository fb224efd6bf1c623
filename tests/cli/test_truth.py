"""The truth for scoring: what `vestige train` drew, or everything given; held-out samples never hold it."""

import numpy as np
import pytest
import torch

from vestige.cli.truth import draw, read_truth, split_classes
from vestige.data.load import load_data


def test_the_recipe_in_the_file_draws_the_same_samples():
    chosen, rest = draw(load_data("digits"), 20, 3)
    truth = read_truth("digits", None, {"data": "digits", "n": "20", "seed": "3"})
    assert torch.equal(truth.train.x, chosen.x) and torch.equal(truth.held_out.x, rest.x) and not truth.warnings
    other = read_truth("digits", None, {"data": "digits", "n": "20", "seed": "4"})
    assert truth.digest != other.digest


def test_binary_recipe():
    recipe = {"data": "digits", "n": "10", "seed": "0", "positive_classes": "0,1,8"}
    truth = read_truth("digits", None, recipe)
    chosen, _ = draw(split_classes(load_data("digits"), "0, 1,8"), 10, 0)
    assert torch.equal(truth.train.y, chosen.y) and set(truth.train.y.tolist()) == {0, 1}


def test_without_a_recipe_everything_given_is_the_truth(tmp_path):
    x, y = np.linspace(0, 1, 24).reshape(6, 4), np.arange(6) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y)
    truth = read_truth(f"npz:{tmp_path / 'a.npz'}", None, {"data": "digits", "n": "3", "seed": "0"})
    assert len(truth.train) == 6 and truth.held_out is None
    assert "held-out" in truth.warnings[0]


def test_training_samples_are_taken_out_of_the_held_out_ones(tmp_path):
    x, y = np.linspace(0, 1, 24).reshape(6, 4), np.arange(6) % 2
    np.savez(tmp_path / "train.npz", x=x[:3], y=y[:3])
    np.savez(tmp_path / "all.npz", x=x, y=y)
    train, every = (f"npz:{tmp_path / name}.npz" for name in ("train", "all"))
    truth = read_truth(train, every, {})
    assert truth.held_out is not None and len(truth.held_out) == 3
    with pytest.raises(ValueError, match="nothing but the training samples"):
        read_truth(every, train, {})
    with pytest.raises(ValueError, match="must agree"):
        read_truth(train, "digits", {})


def test_one_changed_row_changes_the_digest(tmp_path):
    x, y = np.linspace(0, 1, 24).reshape(6, 4), np.arange(6) % 2
    digests = set()
    for value in (0.0, 0.5):
        x[0, 0] = value
        np.savez(tmp_path / "a.npz", x=x, y=y)
        digests.add(read_truth(f"npz:{tmp_path / 'a.npz'}", None, {}).digest)
    assert len(digests) == 2
