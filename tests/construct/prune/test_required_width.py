"""The sizes that are asked for, counted by hand."""

import math

import pytest
import torch
from relu_networks import relu_net
from torch import nn

import vestige as vg
from vestige.construct.prune.sup_error import Ball
from vestige.construct.prune.width import weight_tolerances
from vestige.core.relu_chain import read_relu_chain


def by_hand(target, needed, nonnegative):
    """Two random matrices a layer: rows for each input, sign and the constant 1, columns for them and the outputs."""
    total, hidden = 0, []
    for k, (layer, rows) in enumerate(zip([m for m in target if isinstance(m, nn.Linear)], needed.rows, strict=True)):
        constant = 0 if layer.bias is None else 1
        signs = 1 if nonnegative or k else 2
        hidden.append(rows * (signs * layer.in_features + constant))
        total += hidden[-1] * (layer.in_features + constant) + hidden[-1] * layer.out_features
    return tuple(hidden), total


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("nonnegative", [True, False])
@pytest.mark.parametrize("method", ["subset_sum", "greedy", "random", "close"])
def test_random_weights_are_counted(bias, nonnegative, method):
    target = relu_net(5, 4, 3, bias=bias)
    needed = vg.construct.required_width(target, 0.1, method=method, nonnegative=nonnegative)
    assert (needed.hidden, needed.random_weights) == by_hand(target, needed, nonnegative)


def test_rows_of_each_method_in_closed_form():
    """One layer of one weight w = 1 and radius 1: the tolerance of the weight is known, and so is each formula."""
    target = nn.Sequential(nn.Linear(1, 1, bias=False)).requires_grad_(False)
    target[0].weight.fill_(1.0)
    allowed = 0.01 / (1 + math.sqrt(2))  # columns of both signs
    count = {
        m: vg.construct.required_width(target, 0.01, method=m) for m in ("subset_sum", "greedy", "random", "close")
    }
    chance = math.log(1 / 0.05)
    assert all(needed.tolerances == pytest.approx((allowed,)) for needed in count.values())
    assert count["subset_sum"].rows == (math.ceil(math.log2(1 / allowed)) + 1,)
    buckets = math.ceil(math.log(1 / allowed) / math.log(1.5)) + 1
    assert count["greedy"].rows == (math.ceil(2 * 36 * (chance + math.log(buckets))),)
    # The scale is 2, so that a single product reaches the weight.
    assert count["random"].rows == (math.ceil(2 * chance * 2 / allowed),)
    assert count["close"].rows == (math.ceil(8 * chance * (2 / allowed) ** 2),)
    assert count["subset_sum"].lower_bound == math.ceil(math.log2(1 / allowed))


@pytest.mark.parametrize("nonnegative", [True, False])
def test_tolerances_share_the_error_out(nonnegative):
    """Errors of this size, drawn at random, cost each layer its share: norm t (sqrt(out) + sqrt(k))."""
    layers = read_relu_chain(relu_net(6, 5, 4)).affine()
    ball = Ball(0.1, 2.0, nonnegative)
    found = weight_tolerances(layers, ball)
    norms = [float(torch.linalg.matrix_norm(layer.weight, 2)) for layer in layers]
    reach = (2.0, norms[0] * 2.0 + float(layers[0].bias.norm()))
    columns, behind = (6 if nonnegative else 12, 5), (norms[1], 1.0)
    for k, out in enumerate((5, 4)):
        spread = reach[k] * (math.sqrt(out) + math.sqrt(columns[k])) + math.sqrt(out)
        assert found[k] * spread * behind[k] == pytest.approx(0.1 / 2)
