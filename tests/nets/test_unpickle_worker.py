"""Which tensors are taken out of what a pickle held, once torch has read it, and how a refusal is told."""

import pytest
import torch

from vestige.nets.unpickle_worker import Ignored, Refused, cause, tensors_of


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "params", "network", "anything"])
def test_the_one_state_dict_is_found_under_any_key_and_the_rest_is_named(key):
    inner = {"w": torch.ones(2, 2)}
    state, said = tensors_of({key: inner, "epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(1)}}}}, torch)
    assert torch.equal(state["w"], inner["w"]) and said == {"key": key, "left": ["epoch", "optimizer"]}


def test_it_is_found_below_other_keys():
    state, said = tensors_of({"model": {"state_dict": {"w": torch.ones(2, 2)}}, "lr": 1.0}, torch)
    assert list(state) == ["w"] and said == {"key": "model.state_dict", "left": ["lr"]}


def test_it_is_found_in_a_tuple_beside_settings():
    state, said = tensors_of(({"w": torch.ones(2, 2)}, {"epoch": 3}, 7), torch)
    assert list(state) == ["w"] and said == {"key": "0", "left": ["1", "2"]}
    with pytest.raises(Refused, match="under 0, 1: name one with --key 0"):
        tensors_of([{"w": torch.ones(2, 2)}, {"w": torch.zeros(2, 2)}], torch)


def test_two_state_dicts_are_not_chosen_from_but_one_can_be_named():
    both = {"model": {"w": torch.ones(2, 2)}, "ema": {"w": torch.zeros(2, 2)}}
    with pytest.raises(ValueError, match=r"2 state dicts, under model, ema: name one with --key model"):
        tensors_of(both, torch)
    assert torch.equal(tensors_of(both, torch, "ema")[0]["w"], torch.zeros(2, 2))
    with pytest.raises(ValueError, match="no tensors under the key 'emma'"):
        tensors_of(both, torch, "emma")


def test_a_key_may_be_the_beginning_of_names():
    flat = {"net.0.weight": torch.ones(2, 2), "ema.0.weight": torch.zeros(2, 2)}
    state, said = tensors_of(flat, torch, "ema")
    assert list(state) == ["0.weight"] and said["left"] == ["net.0.weight"]


def test_a_layer_may_be_called_like_a_key():
    state = {"model": torch.ones(2, 2), "net": torch.zeros(1)}
    assert set(tensors_of(state, torch)[0]) == {"model", "net"}


def test_tied_weights_become_copies_in_the_order_of_the_file_and_nothing_keeps_a_graph():
    w = torch.arange(6.0).reshape(2, 3).requires_grad_()
    found, _ = tensors_of({"z": w, "b": w, "c": w.T}, torch)
    assert list(found) == ["z", "b", "c"] and len({t.data_ptr() for t in found.values()}) == 3
    assert not any(t.requires_grad for t in found.values()) and all(t.is_contiguous() for t in found.values())
    assert torch.equal(found["c"], w.detach().T)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.ones(2, 2).to_sparse(), "torch.sparse_coo: only plain tensors"),
        (torch.sparse_coo_tensor([[2**40], [0]], [1.0], (2**41, 2), check_invariants=False), "sparse_coo"),
        (torch.ones(1).expand(2**14, 2**14), "more than its storage holds"),
        (torch.ones(2, 2, device="meta"), "meta"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's of sparse and quantized tensors
def test_what_would_grow_or_is_not_plain_is_refused_before_it_is_touched(tensor, said):
    with pytest.raises(ValueError, match=said):
        tensors_of({"w": tensor}, torch)


@pytest.mark.parametrize(
    ("loaded", "said"),
    [
        (torch.ones(2), "holds a Tensor"),
        ([], "holds a list"),
        ({}, "holds an empty dictionary"),
        ({"a": torch.ones(1, 1), "b": 3}, "1 of its 2 entries are no named tensors, .* first 'b'"),
        ({7: torch.ones(1, 1)}, "first '7'"),
        ({"w": Ignored()}, "NumPy arrays"),
        (torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0).state_dict(), "state of an optimizer"),
        ([torch.ones(2, 2)] * 2, "holds a list"),
    ],
)
def test_anything_else_is_named(loaded, said):
    with pytest.raises(ValueError, match=said):
        tensors_of(loaded, torch)


def test_dictionaries_that_share_or_hold_themselves_are_not_walked_to_the_end():
    """Forty levels with two keys for one dictionary each are 2^40 ways down."""
    shared: dict = {"w": torch.zeros(3, 2)}
    for _ in range(40):
        shared = {"a": shared, "b": shared}
    within: dict = {"w": torch.zeros(3, 2)}
    within["again"] = within
    for loaded in (shared, within):
        with pytest.raises(ValueError, match="hold no dictionary of such"):
            tensors_of(loaded, torch)


def test_torchs_advice_to_switch_safety_off_is_not_repeated():
    advice = (
        "\x1b[1mWeights only load failed. Re-running `torch.load` with `weights_only` set to `False` will likely "
        "succeed. WeightsUnpickler error: Unsupported global: GLOBAL {} was not an allowed global by default."
    )
    assert (
        cause(RuntimeError(advice.format("my.code.Net"))) == "it holds an object of my.code.Net, which is not a tensor"
    )
    plain = cause(RuntimeError("\x1b[2J weights_only=False"))
    assert "False" not in plain and "\x1b" not in plain
    assert "\x1b" not in cause(ValueError("odd \x1b[31m key"))


def test_weights_beside_an_epoch_are_read_and_beside_a_copy_are_not_chosen_from():
    flat = {"fc.weight": torch.ones(2, 2), "fc.bias": torch.ones(2), "epoch": 3, "lr": 0.1}
    state, said = tensors_of(flat, torch)
    assert list(state) == ["fc.weight", "fc.bias"] and said == {"key": "", "left": ["epoch", "lr"]}
    with pytest.raises(Refused, match="2 state dicts, under plain names, ema: name one with --key ema"):
        tensors_of(flat | {"ema": {"fc.weight": torch.zeros(2, 2)}}, torch)
