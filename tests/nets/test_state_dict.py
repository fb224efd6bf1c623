"""A chain is told from its shapes: by names where they agree, by the only order that chains where they do not."""

import itertools
import re

import pytest
import torch

from vestige.nets.architecture import parse_architecture
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


NAMES = {  # in the order of computation, and whether the names say it; all layers but the last are 4 x 4
    "numbers": (["fc1", "fc2", "fc10"], True),
    "numbers inside": (["block.0.up", "block.0.down", "block.1.up"], False),
    "a number and a word": (["net.0", "net.2", "out"], True),
    "words, alphabetical": (["a", "b", "c"], False),
    "words that a reader understands": (["input", "hidden", "output"], False),
    "number words": (["one", "two", "three"], False),
    "two numbered stacks": (["enc.0", "enc.1", "dec.0", "dec.1"], False),
}


@pytest.mark.parametrize("case", NAMES)
def test_only_numbers_say_an_order(case):
    names, said = NAMES[case]
    state = {f"{name}.weight": torch.zeros(4, 4) for name in names[:-1]} | {f"{names[-1]}.weight": torch.zeros(2, 4)}
    if said:
        assert [layer.name for layer in chain_layers(state)] == names
        return
    with pytest.raises(ArchitectureError, match="several orders"):
        chain_layers(state)
    assert [layer.name for layer in chain_layers(state, order=names)] == names


def test_one_order_that_agrees_with_the_numbers_is_taken():
    state = weights(up_0=(8, 4), down_0=(4, 8), up_1=(8, 4), out=(2, 8))
    assert [layer.name for layer in chain_layers(state)] == ["up.0", "down.0", "up.1", "out"]


def test_an_order_that_is_stated_must_name_the_layers():
    with pytest.raises(ArchitectureError, match="the file has the layers a, b"):
        chain_layers(weights(a=(4, 4), b=(4, 4)), order=["a", "c"])


def test_numbered_layers_that_chain_transposed_only_are_named():
    with pytest.raises(ArchitectureError, match=r"stored as \(in, out\)"):
        chain_layers({"0.weight": torch.zeros(64, 100), "2.weight": torch.zeros(100, 10)})
    with pytest.raises(ArchitectureError, match=r"Transpose the weights"):
        chain_layers({"0.weight": torch.zeros(64, 100), "0.bias": torch.zeros(100)})


@pytest.mark.parametrize("n", [12, 70])
def test_counting_orders_ends_soon(n):
    """Sizes that chain in no order, and more layers than are looked through."""
    state = {f"{chr(97 + k // 26)}{chr(97 + k % 26)}.weight": torch.zeros(4, 4) for k in range(n)}
    state["zz.weight"] = torch.zeros(5, 6)
    with pytest.raises(ArchitectureError, match=r"do not chain|several orders"):
        chain_layers(state)


def test_two_orders_that_chain_are_not_guessed():
    with pytest.raises(ArchitectureError, match=r"several orders.*mlp:4-4-4-2:bias=none:layers=x,z,y"):
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


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bert.encoder.layer.0.attention.self.query", "attention"),
        ("model.embed_tokens", "an embedding table"),
        ("tok_emb", "an embedding table"),
        ("encoder.word_embeddings", "an embedding table"),
        ("layers.0.mlp.gate_proj", "a gated layer"),
        ("layer1.0.shortcut", "a skip connection"),
    ],
)
def test_a_name_of_another_module_is_believed_over_a_shape_that_fits(name, kind):
    state = {f"{name}.weight": torch.zeros(16, 8), "z.weight": torch.zeros(2, 16)}
    with pytest.raises(ArchitectureError, match=f"{name}.*is named as {kind}.*mlp:8-16-2:bias=none if it is a plain"):
        architecture_of(state)
    assert chain_layers(state, shapes=[(16, 8), (2, 16)])[0].name == name
    assert architecture_of(weights(attentive=(16, 8), z=(2, 16))) == "mlp:8-16-2:bias=none"


def test_images_that_stay_as_large_as_they_are_leave_no_question():
    state = weights(a=(4, 1, 3, 3), b=(2, 4 * 8 * 8))
    assert architecture_of(state, (1, 8, 8)) == "cnn:1x8x8-c4k3-2:bias=none"


@pytest.mark.parametrize(
    ("state", "shape", "said"),
    [
        (weights(a=(4, 1, 3, 3), b=(2, 64)), None, "Give the architecture"),
        (weights(a=(4, 1, 3, 3), b=(2, 64)), (3, 8, 8), "1 channels"),
        (weights(a=(4, 1, 3, 3), b=(2, 36)), (1, 8, 8), "leave 9 .*c4k3p0-m2-2:bias=none .max pooling, no pad"),
        (weights(a=(4, 1, 3, 3), b=(4, 4, 3, 3), c=(2, 64)), (1, 8, 8), "cnn:1x8x8-c4k3-m2-c4k3-2:bias=none"),
        (weights(a=(4, 1, 3, 5), b=(2, 64)), (1, 8, 8), "square kernels"),
        (weights(a=(4, 1, 3, 3)), (1, 8, 8), "followed by a linear layer"),
    ],
)
def test_what_the_weights_do_not_say_is_asked_for(state, shape, said):
    with pytest.raises(ArchitectureError, match=said):
        architecture_of(state, shape)


def test_matrices_without_biases_are_not_read_against_the_words_of_their_names():
    """hidden [64, 100] and out [100, 10] chain as 10-100-64 only, and are 64-100-10 stored as (in, out)."""
    turned = {"hidden.weight": torch.zeros(64, 100), "out.weight": torch.zeros(100, 10)}
    with pytest.raises(ArchitectureError, match=r"begins with out.*stored as \(in, out\).*:layers=out,hidden"):
        architecture_of(turned)
    assert architecture_of(turned, order=["out", "hidden"]) == "mlp:10-100-64:bias=none"
    biases = {"out.bias": torch.zeros(100), "hidden.bias": torch.zeros(64)}
    assert architecture_of(turned | biases) == "mlp:10-100-64:bias=all"
    assert architecture_of({name: t.T for name, t in turned.items()}) == "mlp:64-100-10:bias=none"


def test_the_order_that_is_suggested_is_the_likely_one():
    names = ["encoder.0", "encoder.2", "decoder.0", "decoder.2"]
    state = {f"{name}.weight": torch.zeros(4, 4) for name in reversed(names)}
    with pytest.raises(ArchitectureError, match=f":layers={','.join(names)}"):
        chain_layers(state)


def test_networks_side_by_side_are_counted():
    state = weights(actor_0=(16, 8), actor_2=(4, 16), critic_0=(16, 8), critic_2=(1, 16))
    with pytest.raises(ArchitectureError, match=r"2 networks side by side, actor, critic.*--key actor"):
        chain_layers(state)


@pytest.mark.parametrize(
    "stated",
    [
        "cnn:1x28x28-c6k5s2-c16k5s2-9-3:bias=all",
        "cnn:1x28x28-c6k5-m2-c16k5-m2-9-3",
        "cnn:1x28x28-c6k5-a2-c16k5-9:bias=none",
        "cnn:1x28x28-c6k5p0-c16k5p0-9",
        "cnn:3x32x32-c6k5p0-m2-c16k5p0-m2-9:bias=all",
    ],
)
def test_each_architecture_that_is_suggested_fits_the_weights(stated):
    shape = tuple(map(int, stated.partition(":")[2].partition("-")[0].split("x")))
    state = parse_architecture(stated).state_dict()
    with pytest.raises(ArchitectureError, match="Give the architecture: such as ") as refused:
        architecture_of(state, shape)
    found = re.findall(r"cnn:\S+", str(refused.value))
    assert stated in found
    for text in found:
        made = parse_architecture(text).state_dict().values()
        assert [t.shape for t in made] == [t.shape for t in state.values()]


def test_numbers_in_names_may_be_widths():
    """With biases, which say that nothing is transposed: in another order than that of the numbers."""
    state = {f"fc{n}.{k}": torch.zeros((n, m) if k == "weight" else n) for m, n in ((64, 32), (32, 16), (16, 10))
             for k in ("weight", "bias")}  # fmt: skip
    assert architecture_of(state) == "mlp:64-32-16-10:bias=all"
    equal = {f"fc{n}.{k}": torch.zeros((rows, 6) if k == "weight" else rows) for n, rows in ((64, 6), (32, 6), (10, 3))
             for k in ("weight", "bias")}  # fmt: skip
    with pytest.raises(ArchitectureError, match="several orders"):
        architecture_of(equal)


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [
        ("conv.weight", (4, 1, 5), "a convolution in one dimension"),
        ("act.weight", (1,), "PReLU"),
        ("norm.mean", (3, 1, 1), "--mean and --std"),
        ("optimizer.exp_avg", (4,), "the state of an optimizer"),
    ],
)
def test_what_no_chain_has_is_called_what_it_is_likely_to_be(name, shape, kind):
    with pytest.raises(ArchitectureError, match=kind):
        architecture_of({"fc.weight": torch.zeros(3, 4), name: torch.zeros(shape)})
