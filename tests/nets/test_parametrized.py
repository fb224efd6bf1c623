"""Weights under torch's parametrizations come out as torch computes them, or are refused."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm

from vestige.nets.checkpoint import CheckpointError, load_model, save_model
from vestige.nets.parametrized import effective_weights


class Magnitude(nn.Module):
    """A parametrization without tensors."""

    def forward(self, x):
        return x.abs()


def magnitude(net):
    parametrize.register_parametrization(net[0], "weight", Magnitude())


def chain(*changes):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)).float()
    for change in changes:
        change(net)
    net.train()
    for _ in range(3):  # power iteration
        net(torch.rand(4, 5, dtype=torch.float32))
    return net.eval()


def read(net, folder):
    save_model(net, folder / "m.safetensors", metadata={})
    return load_model(folder / "m.safetensors")


GOOD = {
    "rows": lambda net: parametrizations.spectral_norm(net[2]),
    "columns of a square matrix": lambda net: parametrizations.spectral_norm(net[0], dim=1),
    "columns of another": lambda net: parametrizations.spectral_norm(net[2], dim=1),
    "old columns": lambda net: spectral_norm(net[0], dim=1),
    "sizes of columns": lambda net: parametrizations.weight_norm(net[0], dim=1),
    "a mask": lambda net: prune.random_unstructured(net[2], "weight", 0.4),
}


@pytest.mark.parametrize("kind", GOOD)
def test_the_outputs_are_those_of_torch(kind, tmp_path):
    net = chain(GOOD[kind])
    x = torch.rand(6, 5, dtype=torch.float32)
    torch.testing.assert_close(read(net, tmp_path).model(x), net(x))


def test_a_network_that_never_ran_is_divided_as_torch_does(tmp_path):
    net = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)).float().eval()
    spectral_norm(net[0])  # its vectors are random until the first pass in training mode
    x = torch.rand(6, 5, dtype=torch.float32)
    torch.testing.assert_close(read(net, tmp_path).model(x), net(x))


def test_what_leaves_no_trace_is_said(tmp_path):
    found = read(chain(lambda net: parametrizations.spectral_norm(net[0]), magnitude), tmp_path)
    assert any("another parametrization on top of it" in note and "would not show" in note for note in found.warnings)
    assert not any("on top" in note for note in read(chain(GOOD["a mask"]), tmp_path).warnings)
    with pytest.raises(CheckpointError, match="a parametrization: remove it"):
        read(chain(magnitude, lambda net: parametrizations.spectral_norm(net[0])), tmp_path)


W, ONES = torch.diag(torch.arange(1.0, 6.0)) + torch.ones(5, 5).triu(1), torch.ones(5)
NEW = "0.parametrizations.weight."
BAD = {
    "zero vectors": ({f"{NEW}original": W, f"{NEW}0._u": 0 * ONES, f"{NEW}0._v": ONES}, "divides by zero"),
    "longer vectors": ({"0.weight_orig": W, "0.weight_u": torch.ones(7), "0.weight_v": ONES}, "shape"),
    "a zero row": ({"0.weight_g": ONES[:, None], "0.weight_v": W - torch.diag(W.diag()) * 1.0}, "divides by zero"),
    "sizes that would make it grow": ({"0.weight_g": torch.ones(9, 1), "0.weight_v": torch.ones(1, 5)}, "shape"),
    "sizes without axes": ({"0.weight_g": ONES, "0.weight_v": W}, "shape"),
    "a mask of another shape": ({"0.weight_orig": W, "0.weight_mask": ONES}, "mask has shape"),
}


@pytest.mark.parametrize("case", BAD)
def test_factors_that_do_not_fit_are_refused(case):
    tensors, said = BAD[case]
    with pytest.raises(ValueError, match=said):
        effective_weights(tensors, [])
