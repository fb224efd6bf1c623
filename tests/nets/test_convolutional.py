"""Shapes and homogeneity of the convolutional networks."""

import pytest
import torch
from torch import nn

from vestige.nets.convolutional import AvgPool, Conv, MaxPool, cnn


@pytest.mark.parametrize("pool", [AvgPool, MaxPool])
def test_homogeneous_with_strides_and_pools(pool):
    model = cnn((2, 9, 9), [Conv(4, 5, stride=2), pool(2), Conv(3, 3), 7, 2], first_init=0.3)
    x = torch.randn(3, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    before = model(x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    torch.testing.assert_close(model(x), 1.5**4 * before)


def test_a_kernel_as_large_as_the_image_is_a_linear_layer():
    model = cnn((3, 4, 4), [Conv(5, 4, padding=0), 1])
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    conv, head = model[0], model[-1]
    hidden = torch.relu(x.flatten(1) @ conv.weight.flatten(1).T + conv.bias)
    torch.testing.assert_close(model(x), hidden @ head.weight.T)


def test_only_the_first_layer_has_a_bias():
    weighted = [m for m in cnn((1, 8, 8), [Conv(2, 3), Conv(2, 3), 4, 2]) if isinstance(m, nn.Linear | nn.Conv2d)]
    assert [layer.bias is not None for layer in weighted] == [True, False, False, False]


@pytest.mark.parametrize(
    ("shape", "layers", "said"),
    [
        ((8, 8), [Conv(2, 3), 1], "channels, height, width"),
        ((1, 8, 8), [Conv(2, 3)], "at least one linear"),
        ((1, 8, 8), [4, Conv(2, 3), 1], "first"),
        ((1, 8, 8), [AvgPool(9), 1], "no pixel"),
        ((1, 8, 8), [Conv(2, 0), 1], "positive"),
        ((1, 8, 0), [Conv(2, 3), 1], "positive"),
    ],
)
def test_bad_input_is_named(shape, layers, said):
    with pytest.raises(ValueError, match=said):
        cnn(shape, layers)
