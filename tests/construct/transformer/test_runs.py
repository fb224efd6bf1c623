"""Products by diagonals are products, for any matrix, and follow a weight that is changed."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vestige as vg
from vestige.construct.transformer import runs as module
from vestige.construct.transformer.runs import Moving, Product, runs


@given(out=st.integers(1, 12), columns=st.integers(1, 12), filled=st.floats(0, 1), seed=st.integers(0, 99))
def test_any_matrix_is_its_diagonals_and_full_rows(out, columns, filled, seed):
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randint(-3, 4, (out, columns), generator=draw) * (torch.rand(out, columns, generator=draw) < filled)
    weight, bias = weight.double(), torch.randint(-3, 4, (out,), generator=draw).double()
    x = torch.randint(-3, 4, (2, 3, columns), generator=draw).double()
    found = runs(weight)
    if found is not None:
        assert torch.equal(found(x, bias), x @ weight.T + bias)
        assert torch.equal(found(x, None), x @ weight.T)


def test_a_permutation_has_too_many_and_blocks_have_one_each():
    assert runs(torch.eye(40)[torch.randperm(40, generator=torch.Generator().manual_seed(0))]) is None
    weight = torch.zeros(20, 30)
    weight[2:12, 15:25], weight[19] = 3 * torch.eye(10), 1.0
    found = runs(weight)
    assert [(row, column, len(entries)) for row, column, entries in found.diagonals] == [(2, 15, 10)]
    assert found.full.tolist() == [19]
    assert runs(torch.zeros(3, 4))(torch.ones(5, 4), None).abs().max() == 0


@pytest.mark.parametrize("change", ["in place", "data", "another", "dtype"])
def test_a_weight_that_is_changed_is_looked_at_again(monkeypatch, change):
    monkeypatch.setattr(module, "SMALL", 0)
    layer = Moving(torch.eye(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64))
    x = torch.arange(8.0, dtype=torch.float64).reshape(2, 4)
    assert torch.equal(layer(x), x + 1) and layer.product.runs is not None
    if change == "in place":
        layer.weight[0, 3] = 2.0
    elif change == "data":
        layer.weight.data[1, 1] = -7.0
    elif change == "another":
        layer.weight = torch.nn.Parameter(2 * torch.eye(4, dtype=torch.float64), requires_grad=False)
    else:
        layer = copy.deepcopy(layer).float()
    x = x.to(layer.weight)
    assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))
    assert layer(x).dtype == layer.weight.dtype


def test_trained_and_half_weights_are_multiplied_as_ever(monkeypatch):
    monkeypatch.setattr(module, "SMALL", 0)
    product, x = Product(), torch.ones(3, 2)
    weight = torch.eye(2).requires_grad_()
    product(x, weight).sum().backward()
    assert torch.equal(weight.grad, 3 * torch.ones(2, 2)) and product.runs is None
    assert product(x.bfloat16(), torch.eye(2, dtype=torch.bfloat16)).dtype == torch.bfloat16 and product.runs is None


@pytest.mark.parametrize("build", [vg.construct.build_triangle_counter, vg.construct.build_connectivity])
def test_large_batches_are_many_small_ones(build):
    network = build(20).network.float()
    x = vg.construct.graph_tokens(vg.construct.random_graphs(20, 700, density=0.2)).float()
    together = network(x)
    assert torch.equal(together.round(), torch.cat([network(part) for part in x.split(1)]).round())
    assert network.layers[0].heads[0].query.product.runs is not None and network(x[:0]).shape == (0, 1)
