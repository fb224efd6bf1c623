"""Which tensors are taken out of what a pickle held, once torch has read it."""

import pytest
import torch

from vestige.nets.unpickle_worker import NESTED, tensors_of


@pytest.mark.parametrize("key", NESTED)
def test_the_usual_keys_are_looked_under_in_their_order(key):
    inner = {"w": torch.ones(2)}
    assert torch.equal(tensors_of({key: inner, "epoch": 3}, torch)["w"], inner["w"])


def test_a_layer_may_be_called_like_a_key():
    state = {"model": torch.ones(2), "net": torch.zeros(1)}
    assert set(tensors_of(state, torch)) == {"model", "net"}


def test_tied_weights_become_copies_and_nothing_keeps_a_graph():
    w = torch.arange(6.0).reshape(2, 3).requires_grad_()
    found = tensors_of({"a": w, "b": w, "c": w.T, "d": w.detach().to_sparse()}, torch)
    assert len({t.data_ptr() for t in found.values()}) == 4
    assert not any(t.requires_grad for t in found.values()) and all(t.is_contiguous() for t in found.values())
    assert torch.equal(found["c"], w.detach().T) and torch.equal(found["d"], w.detach())


@pytest.mark.parametrize(
    ("loaded", "said"),
    [
        (torch.ones(2), "holds a Tensor"),
        ([], "holds a list"),
        ({}, "holds a dict"),
        ({"a": torch.ones(1), "b": 3}, "1 of 2 entries are not named tensors, first 'b'"),
        ({7: torch.ones(1)}, "first '7'"),
    ],
)
def test_anything_else_is_named(loaded, said):
    with pytest.raises(ValueError, match=said):
        tensors_of(loaded, torch)
