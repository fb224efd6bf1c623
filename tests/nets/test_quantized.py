"""Integers with scales are the floats they stand for, whichever way the scales run; what does not fit is refused."""

import pytest
import torch
from safetensors.torch import save_file

from vestige.nets.checkpoint import CheckpointError, convert, load_model
from vestige.nets.quantized import SAID, dequantized, with_floats
from vestige.nets.weights_file import read_weights

Q = torch.arange(-6, 6, dtype=torch.int8).reshape(3, 4)


@pytest.mark.parametrize(
    ("scale", "zero", "axis"),
    [
        (torch.tensor(0.5), None, 0),
        (torch.tensor([0.5]), torch.tensor([3]), 0),
        (torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1, 2, 3]), 0),
        (torch.tensor([[0.1], [0.2], [0.3]]), None, 0),
        (torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0, 1, 2, 3]), 1),
        (torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]), torch.ones(3, 2, dtype=torch.int8), 0),
    ],
)
def test_each_number_takes_its_own_scale_and_zero(scale, zero, axis):
    found = dequantized(Q, scale, zero, axis=axis)
    scales, zeros = scale.double(), torch.zeros(scale.shape) if zero is None else zero.double()
    for i in range(3):
        for j in range(4):
            grouped = scale.ndim == 2 and scale.shape[1] == 2
            place = (i, j // 2) if grouped else (0,) if scale.numel() == 1 else ((i, j)[axis],)
            s, z = (t if grouped else t.flatten() for t in (scales, zeros))
            assert found[i, j].item() == pytest.approx((Q[i, j].item() - z[place].item()) * s[place].item())


@pytest.mark.parametrize(
    ("scale", "zero", "said"),
    [
        (torch.ones(2), None, r"scales of shape \[2\]"),
        (torch.ones(3, 3), None, r"scales of shape \[3, 3\]"),
        (torch.ones(3), torch.ones(1), "1 zeros beside 3"),
        (torch.ones(12), None, r"scales of shape \[12\]"),
    ],
)
def test_scales_that_do_not_fit_are_refused(scale, zero, said):
    with pytest.raises(ValueError, match=said):
        dequantized(Q, scale, zero)


@pytest.mark.parametrize(
    ("beside", "factor"), [("weight_scale", 1.0), ("weight.scale", 1.0), ("scale", 1.0), ("SCB", 1 / 127)]
)
@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_a_scale_beside_a_weight_is_used_and_taken_away(beside, factor, dtype):
    notes = []
    held = {"a.weight": Q.to(dtype), f"a.{beside}": torch.tensor([2.0, 3.0, 4.0]), "a.bias": torch.ones(3)}
    found = with_floats(held, notes)
    assert set(found) == {"a.weight", "a.bias"} and notes == [SAID]
    torch.testing.assert_close(found["a.weight"], Q.float() * factor * torch.tensor([[2.0], [3.0], [4.0]]))


def test_what_bitsandbytes_and_vllm_write_beside_a_scale_is_taken_away_too():
    held = {"weight": Q, "SCB": torch.ones(3), "weight_format": torch.tensor(0), "input_scale": torch.ones(1)}
    assert set(with_floats(held, [])) == {"weight"}
    held["weight_format"] = torch.tensor(2)  # numbers in another order
    assert "weight_format" in with_floats(held, [])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("0.weight_scale_inv", "quantized weights"),
        ("input_mean", "say it with --mean"),
        ("0.activation_post_process.eps", "an observer of quantization"),
    ],
)
def test_what_cannot_be_read_is_called_what_it_is(name, said, tmp_path):
    save_file({"0.weight": torch.ones(3, 2), "0.bias": torch.ones(3), name: torch.ones(1)}, tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match=said):
        load_model(tmp_path / "m.safetensors")


def test_integers_are_refused_by_the_names_of_the_file(tmp_path):
    state = {
        "0.weight": torch.ones(3, 2),
        "0.bias": torch.ones(3),
        "2.weight": torch.ones(1, 3),
        "2.bias": torch.ones(1),
    }
    save_file({k: v.to(torch.int16) for k, v in state.items()}, tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match=r"^0\.bias is stored as torch\.int16"):
        load_model(tmp_path / "m.safetensors")


def test_floats_beside_something_called_scale_are_left_alone():
    held, notes = {"norm.weight": torch.ones(3), "norm.scale": torch.ones(3)}, []
    assert with_floats(held, notes) == held and notes == []
    with pytest.raises(ValueError, match=r"a\.weight is quantized with scales of shape \[7\].*export floats"):
        with_floats({"a.weight": Q, "a.scale": torch.ones(7)}, notes)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_what_was_rounded_is_said_by_convert_and_again_when_the_file_is_read(tmp_path):
    weight = torch.quantize_per_tensor(torch.rand(2, 3).float(), 0.01, 0, torch.qint8)
    torch.save({"w.weight": weight}, tmp_path / "q.pt")
    assert convert(tmp_path / "q.pt", tmp_path / "q.safetensors") == (SAID,)
    assert read_weights(tmp_path / "q.safetensors").notes == (SAID,)
    assert SAID in load_model(tmp_path / "q.safetensors").warnings


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_four_bits_are_named_as_quantized(tmp_path):
    packed = torch.quantize_per_channel(torch.ones(2, 4).float(), torch.ones(2), torch.zeros(2), 0, torch.quint4x2)
    torch.save({"w": packed}, tmp_path / "q.pt")
    with pytest.raises(CheckpointError, match=r"quantized as torch\.quint4x2.*dequantize"):
        convert(tmp_path / "q.pt", tmp_path / "q.safetensors")
