"""The two real robust models that pyautoattack ships: a ResNet-18 for CIFAR-10 and a small CNN for MNIST.

Both are read from the installed package (extra `bench`); the MNIST weights are an .h5 file and need h5py.
"""

import importlib.util
from pathlib import Path

import torch
from torch import nn


def _examples() -> Path:
    found = importlib.util.find_spec("pyautoattack")
    if found is None or found.origin is None:
        raise ValueError("pyautoattack is not installed; it ships these models: pip install 'vestige[bench]'.")
    return Path(found.origin).parent / "examples"


def cifar_resnet() -> nn.Module:
    """ResNet-18, adversarially trained; its file holds tensors only."""
    spec = importlib.util.spec_from_file_location("peer_resnet", _examples() / "resnet.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.ResNet18()
    model.load_state_dict(torch.load(_examples() / "model_test.pt", weights_only=True, map_location="cpu"))
    return model.eval()


class ChannelLast(nn.Module):
    """Flatten as Keras does, so that its dense weights fit."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) to (n, h w c)."""
        return x.permute(0, 2, 3, 1).flatten(1)


def mnist_cnn() -> nn.Module:
    """Four convolutions and two dense layers, for pixels in [0, 1]."""
    import h5py

    convs = [nn.Conv2d(1 if i == 0 else 16, 16, 3, padding=1) for i in range(4)]
    dense = [nn.Linear(784, 256), nn.Linear(256, 10)]
    with h5py.File(_examples() / "tf_model.weight.h5") as file:
        for layer, name in zip([*convs, *dense], ("c1", "c2", "c3", "c4", "d1", "d2"), strict=True):
            stored = file[f"clf/{name}/clf/{name}"]
            kernel = torch.tensor(stored["kernel:0"][()])
            layer.weight.data = (kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T).contiguous()
            layer.bias.data = torch.tensor(stored["bias:0"][()])
    c1, c2, c3, c4 = convs
    pool, relu = nn.MaxPool2d(2), nn.ReLU()
    layers = [c1, relu, c2, relu, pool, c3, relu, c4, relu, pool, ChannelLast(), dense[0], relu, dense[1]]
    return nn.Sequential(*layers).eval()


PEERS = {"cifar-resnet18": cifar_resnet, "mnist-cnn": mnist_cnn}
