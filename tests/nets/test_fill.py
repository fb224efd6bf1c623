"""Tensors of a file in a network: what fits goes in whole, and what does not is named."""

import pytest
import torch
from torch import nn

from vestige.nets.fill import fill_model
from vestige.nets.fully_connected import mlp
from vestige.nets.weights_file import CheckpointError


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.decode.weight = self.encode.weight


def numbers(*shape, dtype=torch.float64):
    return torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape).to(dtype)


def filled(model, tensors, is_chain=False):
    warnings = []
    return fill_model(model, tensors, is_chain=is_chain, warnings=warnings), warnings


def test_layer_k_of_the_file_is_layer_k_of_the_chain_whatever_it_is_called():
    tensors = {"body.2.weight": numbers(1, 4), "body.0.bias": numbers(4), "body.0.weight": numbers(4, 3)}
    model, warnings = filled(mlp([3, 4, 1]), tensors, is_chain=True)
    assert torch.equal(model[1].weight, numbers(4, 3)) and torch.equal(model[1].bias, numbers(4))
    assert torch.equal(model[3].weight, numbers(1, 4)) and not warnings


def test_a_users_model_is_known_by_its_names_alone():
    with pytest.raises(CheckpointError, match=r"2 tensors are missing \(first '0\.bias'\), 2 are unexpected"):
        filled(nn.Sequential(nn.Linear(3, 2)), {"fc.weight": numbers(2, 3), "fc.bias": numbers(2)})


@pytest.mark.parametrize("present", [["encode"], ["decode"], ["encode", "decode"]])
def test_ties_are_kept_and_one_copy_is_enough(present):
    model, _ = filled(Tied(), {f"{name}.weight": numbers(3, 3) for name in present})
    assert model.decode.weight is model.encode.weight and torch.equal(model.encode.weight, numbers(3, 3))


def test_copies_of_one_tensor_must_agree():
    with pytest.raises(CheckpointError, match="are one tensor in the architecture but differ"):
        filled(Tied(), {"encode.weight": numbers(3, 3), "decode.weight": numbers(3, 3) + 1})


@pytest.mark.parametrize(
    ("stored", "computed"),
    [
        (["float16", "float16"], "float32"),
        (["bfloat16", "float64"], "float64"),
        (["float32", "float64"], "float64"),
        (["float64", "float64"], "float64"),
        (["float32", "float32"], "float32"),
    ],
)
@pytest.mark.parametrize("is_chain", [True, False])
def test_precision_is_never_lowered_and_a_change_is_said(stored, computed, is_chain):
    model = mlp([3, 2], bias="all", dtype=torch.float32)
    shapes, kinds = ((2, 3), (2,)), [getattr(torch, each) for each in stored]
    names = ("1.weight", "1.bias")
    tensors = {k: numbers(*shape, dtype=kind) for k, shape, kind in zip(names, shapes, kinds, strict=True)}
    model, warnings = filled(model, tensors, is_chain)
    assert {p.dtype for p in model.parameters()} == {getattr(torch, computed)}
    assert torch.equal(model[1].weight.double(), numbers(2, 3))
    assert bool(warnings) == (set(stored) != {computed}) and all(f"in {computed}" in text for text in warnings)


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (numbers(3, 2), r"1\.weight has shape \[3, 2\], the architecture needs \[2, 3\]"),
        (numbers(2, 3, dtype=torch.int8), "quantized"),
        (numbers(2, 3, dtype=torch.complex128), "complex"),
    ],
)
def test_other_shapes_and_kinds_are_refused(weight, said):
    with pytest.raises(CheckpointError, match=said):
        filled(mlp([3, 2], bias="none"), {"1.weight": weight})


def test_counters_stay_integers():
    norm = nn.BatchNorm1d(2)
    tensors = {name: t.double() if t.is_floating_point() else t + 7 for name, t in norm.state_dict().items()}
    model, warnings = filled(nn.BatchNorm1d(2), tensors)
    assert model.num_batches_tracked.item() == 7 and model.num_batches_tracked.dtype == torch.long and not warnings


def test_a_copy_under_longer_names_is_not_taken_for_the_network():
    state = {"0.weight": numbers(2, 3), "0.bias": numbers(2)}
    both = state | {f"ema.{name}": t / 2 for name, t in state.items()}
    with pytest.raises(CheckpointError, match=r"2 networks in the file fit.*'ema\.', plain names.*--key ema"):
        filled(nn.Sequential(nn.Linear(3, 2)), both)
    assert torch.equal(filled(nn.Sequential(nn.Linear(3, 2)), state)[0][0].weight, state["0.weight"])
