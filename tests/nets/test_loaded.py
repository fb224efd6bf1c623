"""What a file says of its inputs, in the order in which it is believed."""

import json

import pytest
import torch
from torch import nn

from vestige.nets.loaded import LoadedModel, read_shape
from vestige.nets.weights_file import CheckpointError


def loaded(architecture="mlp:6-4-1", tensors=None, **metadata):
    return LoadedModel(nn.Identity(), architecture, metadata, "00", tensors or {})


@pytest.mark.parametrize(
    ("architecture", "metadata", "shape"),
    [
        ("mlp:6-4-1", {}, (6,)),
        ("mlp:6-4-1", {"input_shape": "[1, 2, 3]"}, (1, 2, 3)),
        ("cnn:3x8x8-c4k3s2-2:bias=all", {}, (3, 8, 8)),
        ("c4@1x4x4:mlp:16-10-3", {}, (1, 4, 4)),
        ("package.module:factory", {}, None),
        ("package.module:factory", {"input_shape": "[5]"}, (5,)),
    ],
)
def test_the_shape_comes_from_the_metadata_then_from_the_architecture(architecture, metadata, shape):
    assert loaded(architecture, **metadata).input_shape == shape


@pytest.mark.parametrize(
    "text", ["[]", "[0]", "[-1]", "[1.5]", "[true]", '["3"]', "[1,2,3,4,5]", "{}", "3", "x", "[" * 9000, "[10000000]"]
)
def test_other_shapes_are_refused(text):
    with pytest.raises(CheckpointError, match="not a list of sizes"):
        read_shape({"input_shape": text})


def test_the_space_comes_back_with_its_normalization():
    stored = json.dumps({"low": -1, "high": 3})
    assert loaded().space is None
    plain = loaded(space=stored).space
    assert (plain.low, plain.high, plain.mean, plain.std) == (-1, 3, 0, 1)
    mean = torch.tensor([0.5, 0.25, 0.0])
    found = loaded(space=stored, tensors={"mean": mean, "std": torch.tensor(2.0)}).space
    x = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(found.to_model(x), (x - mean[:, None, None]) / 2)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"low": 0}', '{"low": 2, "high": 1}', '{"low": "a", "high": 1}'])
def test_another_space_is_refused(text):
    with pytest.raises(CheckpointError, match="unreadable"):
        _ = loaded(space=text).space
