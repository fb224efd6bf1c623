"""Small networks and the slow, obvious references that the core is compared with."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from vestige.core.rng import child


def mlp(*widths: int, bias: str = "first", seed: int = 0, activation=nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for i, (a, b) in enumerate(pairwise(widths)):
        linear = nn.Linear(a, b, bias=bias == "all" or (bias == "first" and i == 0), dtype=torch.float64)
        with torch.no_grad():
            for p in linear.parameters():
                p.copy_(torch.randn(p.shape, generator=child(seed, str(i), str(p.ndim))) / a**0.5)
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


def cnn(channels=3, classes=4, seed=0) -> nn.Sequential:
    net = nn.Sequential(
        nn.Conv2d(channels, 5, 3, stride=(1, 2), padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(5, 4, (3, 2), bias=False, dilation=(2, 1), padding="valid"),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, classes, bias=False),
    ).double()
    with torch.no_grad():
        for k, p in net.named_parameters():
            p.copy_(torch.randn(p.shape, generator=child(seed, k)) / p[0].numel() ** 0.5)
    return net


def gradient_rows(model: nn.Module, x: Tensor, coef: Tensor) -> dict[str, Tensor]:
    """One backward pass a sample, on the model itself."""
    params = {k: p for k, p in model.named_parameters() if p.requires_grad}
    rows = {k: [] for k in params}
    for sample, c in zip(x, coef, strict=True):
        grads = torch.autograd.grad((model(sample[None]).reshape(-1) * c).sum(), list(params.values()))
        for k, g in zip(params, grads, strict=True):
            rows[k].append(g.reshape(-1))
    return {k: torch.stack(v) for k, v in rows.items()}
