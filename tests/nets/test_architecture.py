"""The architecture grammar: text -> module -> text, and text from weights alone."""

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vestige.nets.architecture import ArchitectureError, architecture_of, describe, is_factory, parse_architecture

WIDTHS = st.lists(st.integers(1, 9), min_size=2, max_size=5)
ACTIVATIONS = st.sampled_from(["", ":gelu", ":softplus", ":leaky_relu"])
BIASES = st.sampled_from(["", ":bias=all", ":bias=none"])


@given(widths=WIDTHS, activation=ACTIVATIONS, bias=BIASES)
def test_mlp_text_survives_the_round_trip(widths, activation, bias):
    if len(widths) == 2:  # without a hidden layer there is no activation, and the first layer is all layers
        activation, bias = "", ":bias=none" if bias == ":bias=none" else ""
    text = "mlp:" + "-".join(map(str, widths)) + activation + bias
    assert describe(parse_architecture(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "cnn:3x8x8-c4k5s2-c2k3-10",
        "cnn:1x8x8-c4k3p0-a2-6-1:gelu:bias=all",
        "cnn:1x8x8-c4k3-m2-1:silu",
        "cnn:1x9x7-c2k3s2p2-1",
        "mlp:3-2-2-2-1",
    ],
)
def test_cnn_text_survives_the_round_trip(text):
    shape = tuple(map(int, text[4:].split("-")[0].split("x"))) if text.startswith("cnn") else None
    assert describe(parse_architecture(text), shape) == text


@given(widths=st.lists(st.integers(1, 9), min_size=2, max_size=5), bias=BIASES)
def test_mlp_is_read_off_its_weights(widths, bias):
    if len(widths) == 2 and bias == ":bias=all":
        bias = ""
    text = "mlp:" + "-".join(map(str, widths)) + bias
    assert architecture_of(parse_architecture(text).state_dict()) == text


def test_cnn_is_read_off_its_weights_and_the_image_size_where_nothing_made_images_smaller():
    text = "cnn:3x16x16-c4k5-c6k3-10"
    state = parse_architecture(text).state_dict()
    assert architecture_of(state, (3, 16, 16)) == text
    with pytest.raises(ArchitectureError, match="input_shape=None"):
        architecture_of(state)


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("cnn:3x16x16-c4k5s2-c6k3s2-10", r"c4k\ds2.*strides.*a2.*average pooling.*max pooling"),
        ("cnn:3x16x16-c4k5-a2-c6k3-a2-10", r"c4k\ds2.*strides.*a2.*average pooling.*max pooling"),
        ("cnn:3x8x8-c4k3p0-2", r"such as cnn:3x8x8-c4k3p0-2 \(no padding\)$"),
    ],
)
def test_strides_and_pooling_are_asked_for_in_ways_that_fit(text, ways):
    shape = tuple(map(int, text[4:].split("-")[0].split("x")))
    with pytest.raises(ArchitectureError, match=ways):
        architecture_of(parse_architecture(text).state_dict(), shape)


def test_names_of_layers_are_stated_in_the_text():
    assert [m.out_features for m in parse_architecture("mlp:3-2-1:layers=in.a,out-b") if isinstance(m, nn.Linear)] == [
        2,
        1,
    ]
    for wrong in (":layers=", ":layers=a,", ":layers=a:layers=b", ":layers=a b"):
        with pytest.raises(ArchitectureError, match="layers="):
            parse_architecture("mlp:3-2-1" + wrong)


def test_order_comes_from_shapes_when_names_mislead():
    state = {"out.weight": torch.zeros(2, 5), "a.weight": torch.zeros(5, 7), "z.weight": torch.zeros(7, 3)}
    assert architecture_of(state) == "mlp:3-7-5-2:bias=none"


def test_layer_ten_comes_after_layer_nine():
    model = nn.Sequential(*[layer for _ in range(7) for layer in (nn.Linear(3, 3, bias=False), nn.ReLU())])
    assert architecture_of(model.state_dict()) == "mlp:" + "-".join("3" * 8) + ":bias=none"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"0.weight": torch.zeros(3, 4), "1.running_mean": torch.zeros(3)}, "running_mean"),
        ({"0.weight": torch.zeros(3, 4), "1.weight": torch.zeros(1, 5)}, "do not chain"),
        ({"0.weight": torch.zeros(3, 4), "0.bias": torch.zeros(2)}, r"bias has shape \[2\]"),
        ({}, "no linear"),
        ({"1.weight": torch.zeros(2, 2), "2.weight": torch.zeros(2, 2), "2.bias": torch.zeros(2)}, "only 2 carry"),
    ],
)
def test_what_cannot_be_read_is_named(state, said):
    with pytest.raises(ArchitectureError, match=said):
        architecture_of(state)


@pytest.mark.parametrize(
    "text",
    [
        "mlp:",
        "mlp:4",
        "mlp:4-0-1",
        "mlp:4--1",
        "mlp:4-3-1:relu7",
        "mlp:4-3-1:gelu:relu",
        "mlp:٤-3",
        "mlp:4-999999999-1",
        "cnn:3x8-c4k3-1",
        "cnn:3x8x8-4-c4k3",
        "cnn:3x8x8-c4k9p0-1",
        "transformer",
        "",
        "x" * 501,
        "no_such_module_of_mine:make",
        "vestige.nets.fully_connected:mlp",
        "builtins:dict",
    ],
)
def test_bad_text_is_an_architecture_error(text):
    with pytest.raises(ArchitectureError):
        parse_architecture(text)


@given(st.text(max_size=40))
def test_any_text_gives_a_module_or_a_named_error(text):
    if is_factory(text):
        return
    try:
        assert isinstance(parse_architecture(text, device="meta"), nn.Module)
    except ArchitectureError:
        pass


def test_a_factory_is_called(monkeypatch, tmp_path):
    (tmp_path / "my_net.py").write_text("from torch import nn\ndef make():\n    return nn.Linear(2, 1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(parse_architecture("my_net:make"), nn.Linear)
    assert not is_factory("mlp:relu")


OWN_NET = "from torch import nn\nfrom sizes import WIDTH\ndef make():\n    return nn.Linear(WIDTH, 1)\n"


def test_a_factory_in_a_file_is_called_with_what_stands_beside_it(monkeypatch, tmp_path):
    (tmp_path / "sizes.py").write_text("WIDTH = 3\n")
    (tmp_path / "own_net.py").write_text(OWN_NET)
    monkeypatch.chdir(tmp_path)
    assert parse_architecture("./own_net.py:make").in_features == 3
    assert parse_architecture(f"{tmp_path}/own_net.py:make").in_features == 3
    assert is_factory("./own_net.py:make") and str(tmp_path) not in sys.path
    with pytest.raises(ArchitectureError, match=r"write \./own_net\.py:make"):
        parse_architecture("own_net:make")
    with pytest.raises(ArchitectureError, match="not there"):
        parse_architecture("./other.py:make")


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.ReLU(), nn.Linear(2, 1, bias=False)),
        nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 1, bias=False)),
        nn.Sequential(nn.Linear(3, 2), nn.GELU(approximate="tanh"), nn.Linear(2, 1, bias=False)),
        nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1, bias=False), nn.Softmax(1)),
        nn.Linear(3, 2),
    ],
)
def test_modules_outside_the_grammar_have_no_text(model):
    assert describe(model) is None


def test_nested_chain_without_flatten_is_described():
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), nn.Identity(), nn.Linear(2, 1, bias=False))
    assert describe(model) == "mlp:3-2-1"


def test_pooling_over_the_whole_image_is_one_of_the_ways():
    state = {"0.weight": torch.ones(4, 1, 3, 3), "3.weight": torch.ones(10, 4)}
    with pytest.raises(ArchitectureError, match=r"cnn:1x7x7-c4k3-a7-10.*over the whole image"):
        architecture_of(state, (1, 7, 7))
