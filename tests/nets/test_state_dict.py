"""A chain is told from its shapes: by names where they agree, by the only order that chains where they do not."""

import itertools

import pytest
import torch

from vestige.nets.state_dict import ArchitectureError, architecture_of, chain_layers


def weights(**shapes):
    return {name.replace("_", ".") + ".weight": torch.zeros(shape) for name, shape in shapes.items()}


def test_layers_stand_in_the_order_of_their_numbers_not_of_their_letters():
    names = [f"net.{k}.weight" for k in range(12)]
    state = {name: torch.zeros(4, 4) for name in reversed(names)}
    assert [layer.name for layer in chain_layers(state)] == [name.removesuffix(".weight") for name in names]


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_shapes_decide_where_names_mislead(order):
    state = weights(**dict(zip(order, [(5, 7), (3, 5), (2, 3)], strict=True)))
    assert tuple(layer.name for layer in chain_layers(state)) == order


def test_two_orders_that_chain_are_not_guessed():
    with pytest.raises(ArchitectureError, match="2 other orders fit"):
        chain_layers(weights(z=(4, 4), y=(2, 4), x=(4, 4)))
    with pytest.raises(ArchitectureError, match="no other orders fit"):
        chain_layers(weights(a=(4, 3), b=(4, 3)))


@pytest.mark.parametrize(
    ("biased", "option"), [((), ":bias=none"), (("a",), ""), (("a", "b", "c"), ":bias=all"), (("b",), None)]
)
def test_biases_are_none_the_first_or_all(biased, option):
    state = weights(a=(5, 7), b=(3, 5), c=(2, 3))
    state |= {f"{name}.bias": torch.zeros({"a": 5, "b": 3, "c": 2}[name]) for name in biased}
    if option is None:
        with pytest.raises(ArchitectureError, match="only b carry a bias"):
            architecture_of(state)
    else:
        assert architecture_of(state) == f"mlp:7-5-3-2{option}"


def test_a_bias_must_fit_its_weight_and_have_one():
    with pytest.raises(ArchitectureError, match=r"a\.bias has shape \[4\]"):
        chain_layers(weights(a=(5, 7)) | {"a.bias": torch.zeros(4)})
    with pytest.raises(ArchitectureError, match=r"it holds 'b\.bias'"):
        chain_layers(weights(a=(5, 7)) | {"b.bias": torch.zeros(4)})
    with pytest.raises(ArchitectureError, match="no linear or convolutional layer"):
        chain_layers({})


@pytest.mark.parametrize(("side", "text"), [(8, "c4k3-2"), (4, "c4k3s2-2")])
def test_strides_follow_from_the_number_of_features(side, text):
    state = weights(a=(4, 1, 3, 3), b=(2, 4 * side * side))
    assert architecture_of(state, (1, 8, 8)) == f"cnn:1x8x8-{text}:bias=none"


@pytest.mark.parametrize(
    ("state", "shape", "said"),
    [
        (weights(a=(4, 1, 3, 3), b=(2, 64)), None, "give that|Give that"),
        (weights(a=(4, 1, 3, 3), b=(2, 64)), (3, 8, 8), "1 channels"),
        (weights(a=(4, 1, 3, 3), b=(2, 36)), (1, 8, 8), "no strides of 1 or 2 fit"),
        (weights(a=(4, 1, 3, 3), b=(4, 4, 3, 3), c=(2, 64)), (1, 8, 8), r"2 sets|no strides"),
        (weights(a=(4, 1, 3, 5), b=(2, 64)), (1, 8, 8), "square kernels"),
        (weights(a=(4, 1, 3, 3)), (1, 8, 8), "followed by a linear layer"),
    ],
)
def test_what_the_weights_do_not_say_is_asked_for(state, shape, said):
    with pytest.raises(ArchitectureError, match=said):
        architecture_of(state, shape)
