"""Names that speak against a plain chain: networks that work on each other, ensembles, blocks with skips, parts."""

import pytest
import torch

from vestige.nets.checkpoint import load_model
from vestige.nets.layer_names import against_a_chain, begins_late
from vestige.nets.layer_order import ChainLayer
from vestige.nets.weights_file import CheckpointError


def chain(*names, width=4):
    return [ChainLayer(name, (width, width), True) for name in names]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["generator.0", "generator.2", "discriminator.0", "discriminator.2"], "networks of their own"),
        (["net_g.0", "net_d.0"], "net_g and net_d"),
        (["netG.0", "netD.0"], "netG and netD"),
        (["policy_net.0", "value_net.0"], "policy_net and value_net"),
        (["student1.fc", "teacher.fc"], "networks of their own"),
        (["encoder.0", "encoder.2", "decoder.0", "decoder.2"], ""),
        (["policy.0", "policy.2"], ""),
        (["d1", "d2", "d3"], ""),
        (["value_1", "value_2"], ""),
        (["0.fc1", "0.fc2", "1.fc1", "1.fc2"], "0, 1 hold the same layers"),
        (["inp", "blocks.0.mlp.0", "blocks.0.mlp.2", "blocks.1.mlp.0", "blocks.1.mlp.2"], "blocks.0, blocks.1"),
        (["net1.a", "net1.b", "net2.a", "net2.b"], "net1, net2"),
        (["blocks.0.fc", "blocks.1.fc"], ""),
        (["0.fc1", "0.fc2", "1.fc1", "1.out"], ""),
        (["res1.0", "fc"], "a skip connection"),
        (["resblocks.0", "fc"], "a skip connection"),
        (["residual_layer", "fc"], "a skip connection"),
        (["result", "rest", "press"], ""),
        (["fc1", "fc_skip", "fc2"], "a skip connection"),
        (["lin", "transform_gate", "out"], "a gated layer"),
        (["aggregate", "gateway", "fc"], ""),
        (["enc", "fc_mu", "fc_logvar", "dec"], "one of two outputs"),
        (["mult", "mute", "fc"], ""),
        (["i2h", "h2o"], "a recurrent layer"),
        (["conv1.nn.0", "conv2.nn.0"], "a convolution of graphs"),
        (["conversion", "fc"], ""),
        (["phi.0", "phi.2", "rho.0"], "networks of their own"),
        (["advantage", "value"], "networks of their own"),
        (["word_embeddings", "fc"], "an embedding table"),
    ],
)
def test_names_tell_what_shapes_do_not(names, said):
    found = against_a_chain(chain(*names))
    assert said in found if said else not found


def test_a_convolution_of_images_is_none_of_graphs():
    assert not against_a_chain([ChainLayer("conv1", (2, 1, 3, 3), True), ChainLayer("fc", (3, 8), True)])


def test_blocks_of_other_sizes_are_no_copies():
    wide, narrow = chain("block1.0", "block1.2", width=8), chain("block2.0", "block2.2")
    assert not against_a_chain(wide + narrow)


def test_a_stated_chain_is_read_whatever_its_names_say(tmp_path, save):
    path = save({f"{name}.{k}.weight": torch.ones(4, 4) for name in ("netG", "netD") for k in (0, 2)})
    with pytest.raises(CheckpointError, match=r"several orders|networks"):
        load_model(path)
    order = "netG.0,netG.2,netD.0,netD.2"
    assert load_model(path, architecture=f"mlp:4-4-4-4-4:bias=none:layers={order}").architecture.startswith("mlp:4-4")


@pytest.fixture
def save(tmp_path):
    from safetensors.torch import save_file

    def write(state, name="m.safetensors"):
        save_file({key: t.float() for key, t in state.items()}, tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("names", "late"),
    [
        (["0", "2"], False),
        (["fc1", "fc2"], False),
        (["features.3", "features.6"], False),
        (["layers.12.fc", "layers.13.fc"], True),
        (["fc6", "fc7", "fc8"], True),
        (["a", "b"], False),
        (["classifier.6"], False),
        (["net4.a", "net4.b"], False),
    ],
)
def test_high_numbers_at_the_beginning_are_noticed(names, late):
    assert begins_late(chain(*names)) == late


def test_it_is_said_where_a_part_may_be_read(save):
    state = {f"layers.{k}.weight": torch.ones(4, 4) for k in (12, 13)}
    assert any("a part of a model" in note for note in load_model(save(state)).warnings)
