"""State dicts as training code leaves them: read with the same outputs, or refused by name."""

import argparse
import copy
import json
import pathlib
import shlex

import pytest
import torch
import torch.nn.utils as U
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune

from vestige.cli import run
from vestige.nets.architecture import ArchitectureError
from vestige.nets.checkpoint import CheckpointError, convert, load_model, save_model
from vestige.nets.stored_weights import chain_tensors

X = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)
FACTORY = """
from torch import nn
def plain():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
"""


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval()


@pytest.fixture
def factory(tmp_path):
    (tmp_path / "own.py").write_text(FACTORY)
    return f"{tmp_path}/own.py:plain"


def renamed(state, rename):
    return {rename(name): tensor.clone() for name, tensor in state.items()}


def named(words):
    words = dict(zip("024", words, strict=True))
    return lambda name: words[name[0]] + name[1:]


def reparametrized(how):
    def change(net):
        net = copy.deepcopy(net)
        for layer in (net[0], net[2]):
            how(layer)
        net.train()(X)  # spectral norm moves its vectors
        return net.eval()

    return change


KINDS = {
    "weight norm, old": reparametrized(U.weight_norm),
    "weight norm": reparametrized(U.parametrizations.weight_norm),
    "weight norm of all": reparametrized(lambda layer: U.weight_norm(layer, dim=None)),
    "weight norm of columns": reparametrized(lambda layer: U.parametrizations.weight_norm(layer, dim=1)),
    "spectral norm, old": reparametrized(U.spectral_norm),
    "spectral norm": reparametrized(U.parametrizations.spectral_norm),
    "pruned": reparametrized(lambda layer: prune.l1_unstructured(layer, "weight", 0.5)),
    "pruned biases": reparametrized(lambda layer: prune.random_unstructured(layer, "bias", 0.5)),
    "average": lambda net: torch.optim.swa_utils.AveragedModel(net),
    "data parallel": lambda net: nn.ModuleDict({"module": net}),
    "compiled": lambda net: nn.ModuleDict({"_orig_mod": nn.ModuleDict({"module": net})}),
    "lightning": lambda net: nn.ModuleDict({"model": nn.ModuleDict({"net": net})}),
    "with a weighted loss": lambda net: nn.ModuleDict({"model": net, "criterion": nn.CrossEntropyLoss(torch.ones(2))}),
}


@pytest.mark.parametrize("given", ["shapes", "text", "factory"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # torch's of the old parametrizations
def test_every_wrapping_is_read_with_the_same_outputs(kind, given, net, factory, tmp_path):
    made = KINDS[kind](net)
    inner = made
    while isinstance(inner, nn.ModuleDict):
        inner = inner[next(iter(inner))]
    state = {name: t.detach().clone().contiguous() for name, t in made.state_dict().items()}
    save_file(state, tmp_path / "m.safetensors")
    architecture = {"shapes": None, "text": "mlp:4-4-4-2:bias=all", "factory": factory}[given]
    loaded = load_model(tmp_path / "m.safetensors", architecture=architecture)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(X), inner(X))
    if "norm" in kind or "pruned" in kind:
        assert any("computed from what the file stores" in line for line in loaded.warnings)
    if kind in ("average", "with a weighted loss"):
        assert any("left out" in line for line in loaded.warnings)


def test_a_saved_parametrized_network_loads_again(net, tmp_path):
    U.parametrizations.weight_norm(net[0])
    save_model(net, tmp_path / "m.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path / "m.safetensors").model(X), net(X))


def test_an_order_that_words_hide_is_asked_for_and_can_be_stated(net, tmp_path):
    state = renamed(net.state_dict(), named(["input", "hidden", "output"]))
    save_file(state, tmp_path / "m.safetensors")
    for architecture in (None, "mlp:4-4-4-2:bias=all"):
        with pytest.raises((CheckpointError, ArchitectureError), match=r"several orders.*:layers="):
            load_model(tmp_path / "m.safetensors", architecture=architecture)
    stated = "mlp:4-4-4-2:bias=all:layers=input,hidden,output"
    loaded = load_model(tmp_path / "m.safetensors", architecture=stated)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(X), net(X))
    assert loaded.architecture == stated and loaded.input_shape == (4,)
    with pytest.raises(CheckpointError, match="the file has the layers"):
        load_model(tmp_path / "m.safetensors", architecture="mlp:4-4-4-2:bias=all:layers=input,hidden,exit")


def test_convert_keeps_the_order_and_says_what_it_leaves_out(net, tmp_path):
    state = renamed(net.state_dict(), named(["input", "hidden", "output"]))
    beside = {"hyper_parameters": argparse.Namespace(lr=1, path=pathlib.PosixPath("/x")), "epoch": 3}
    torch.save({"state_dict": state, **beside}, tmp_path / "m.ckpt")
    said = convert(tmp_path / "m.ckpt", tmp_path / "m.safetensors")
    assert said == ("the tensors under 'state_dict' were taken", "left out: hyper_parameters, epoch")
    for architecture in (None, "mlp:4-4-4-2:bias=all"):
        loaded = load_model(tmp_path / "m.safetensors", architecture=architecture)
        with torch.no_grad():
            torch.testing.assert_close(loaded.model(X), net(X))
        assert any("in which the checkpoint listed them: input, hidden, output" in line for line in loaded.warnings)


def test_a_stored_order_that_is_no_order_is_ignored(net, tmp_path):
    state = renamed(net.state_dict(), named(["input", "hidden", "output"]))
    for order in (["input.weight"], ["x"] * 6, 3, sorted(state, reverse=True)):
        save_file(state, tmp_path / "m.safetensors", {"tensor_order": json.dumps(order)})
        with pytest.raises(CheckpointError, match="several orders"):
            load_model(tmp_path / "m.safetensors")


def test_two_networks_in_one_file_are_told_apart(factory, net, tmp_path):
    state = {name: t.detach() for name, t in net.state_dict().items()}
    both = renamed(state, "net.{}".format) | renamed({n: t / 2 for n, t in state.items()}, "ema.{}".format)
    save_file(both, tmp_path / "m.safetensors")
    for architecture in (None, factory):
        with pytest.raises((CheckpointError, ArchitectureError), match=r"2 networks.*--key"):
            load_model(tmp_path / "m.safetensors", architecture=architecture)
    convert(tmp_path / "m.safetensors", tmp_path / "one.safetensors", key="ema")
    assert torch.equal(load_model(tmp_path / "one.safetensors").model[1].weight, state["0.weight"] / 2)
    with pytest.raises(CheckpointError, match="its names begin with ema, net"):
        convert(tmp_path / "m.safetensors", tmp_path / "two.safetensors", key="emma")


def test_a_network_and_its_copy_of_twice_the_depth_are_not_one(tmp_path):
    auto = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 6)).state_dict()
    save_file(renamed(auto, "net.{}".format) | renamed(auto, "ema_net.{}".format), tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match="2 networks of the same layers"):
        load_model(tmp_path / "m.safetensors")


def test_kernels_of_flax_are_turned_and_convolutions_are_not(net, tmp_path):
    state = {
        f"Dense_{k}.{'kernel' if kind == 'weight' else kind}": t.T.contiguous() if kind == "weight" else t.clone()
        for k, layer in enumerate("024")
        for kind, t in ((kind, net.state_dict()[f"{layer}.{kind}"]) for kind in ("weight", "bias"))
    }
    save_file(state, tmp_path / "m.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path / "m.safetensors").model(X), net(X))
    save_file(state | {"Conv_0.kernel": torch.ones(3, 3, 1, 4)}, tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match="another order than torch"):
        load_model(tmp_path / "m.safetensors")


REFUSED = {
    "transposed": ({"0.weight": torch.ones(4, 6), "2.weight": torch.ones(6, 2)}, r"stored as \(in, out\)"),
    "BatchNorm": ({"0.weight": torch.ones(4, 4), "1.running_mean": torch.ones(4)}, "BatchNorm"),
    "orthogonal": ({"0.parametrizations.weight.original": torch.ones(4, 4),
                    "0.parametrizations.weight.0.base": torch.ones(4, 4)}, "orthogonal"),
    "quantized": ({"0.weight": torch.ones(4, 4), "0.weight_scale": torch.ones(4)}, "quantized"),
    "quantized, packed": ({"0.qweight": torch.ones(4, 4, dtype=torch.int8)}, "quantized"),
    "a recurrent layer": ({"rnn.weight_ih_l0": torch.ones(4, 4)}, "recurrent"),
    "attention": ({"a.in_proj_weight": torch.ones(12, 4)}, "attention"),
    "keras names": ({"dense/kernel:0": torch.ones(4, 4)}, "Keras"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_read_is_called_what_it_is(case, tmp_path):
    state, said = REFUSED[case]
    save_file(state, tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match=said):
        load_model(tmp_path / "m.safetensors")


def test_a_part_of_a_model_is_not_a_model(net, tmp_path):
    name = "model-00001-of-00002.safetensors"
    save_file(dict(net.state_dict()), tmp_path / name)
    with pytest.raises(CheckpointError, match="part 1 of 2"):
        load_model(tmp_path / name)


@pytest.mark.parametrize(("before", "behind"), [("ema.", ""), ("ema_", ""), ("", "_ema"), ("shadow.", "")])
def test_a_copy_under_longer_names_is_a_second_network(before, behind):
    state = {"0.weight": torch.ones(3, 4), "0.bias": torch.ones(3), "2.weight": torch.ones(4, 3)}
    both = state | {f"{before}{name}{behind}": t / 2 for name, t in state.items()}
    with pytest.raises(ArchitectureError, match=f"2 networks of the same layers.*{before or behind}"):
        chain_tensors(both, [])
    assert set(chain_tensors(both, [], stated=True)) == set(both)
    assert set(chain_tensors(state | {"ema.0.weight": torch.ones(3, 4)}, [])) == {*state, "ema.0.weight"}
    smaller = state | {f"{before}{name}{behind}": t[:2] for name, t in state.items()}
    assert set(chain_tensors(smaller, [])) == set(smaller)
    numbered = {f"{k}{n}": t for k in ("", "1.") for n, t in state.items()}
    assert set(chain_tensors(numbered, [])) == set(numbered)


def test_a_part_is_not_converted_either(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "pytorch_model-00001-of-00002.bin")
    with pytest.raises(CheckpointError, match=r"part 1 of 2 .* save one file"):
        convert(tmp_path / "pytorch_model-00001-of-00002.bin", tmp_path / "one.safetensors")


def test_a_parametrization_of_ones_own_is_named_not_its_bias(net, tmp_path):
    nn.utils.parametrize.register_parametrization(net[0], "weight", nn.Identity())
    save_file(dict(net.state_dict()), tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match=r"weight\.original.*a parametrization"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("before", ["", "module.", "module.agent."])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_command_that_a_refusal_suggests_runs_as_printed(before, suffix, net, tmp_path):
    state = {
        f"{before}{one}.{n}": t * k for k, one in enumerate(("ema", "net"), 1) for n, t in net.state_dict().items()
    }
    path = tmp_path / f"two networks{suffix}"
    torch.save(state, path) if suffix == ".pt" else save_file(state, path)
    with pytest.raises(CheckpointError) as refusal:
        load_model(path, trust_pickle=True)
    line = shlex.split(str(refusal.value).split(": ")[-1])
    assert line[0] == "vestige" and run(line[1:]) == 0
    scale = 1 + (line[-1] == "net")
    found = load_model(line[3]).model
    torch.testing.assert_close(found[1].weight, net[0].weight * scale)
