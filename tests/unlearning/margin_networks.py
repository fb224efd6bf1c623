"""Networks at their margin, as arXiv 2510.14844 takes them: nearly orthogonal data, a fixed output layer."""

import functools

import torch
from scipy.optimize import nnls
from torch import nn

import vestige as vg

SIZE, SAMPLES, WIDTH = 400, 10, 100


@functools.cache
def trained(seed: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Two layers, the output layer fixed at +-1/sqrt(width), logistic loss down to 1e-10."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(SAMPLES, SIZE, generator=generator) / SIZE**0.5
    y = torch.arange(SAMPLES) % 2
    net = vg.nets.mlp([SIZE, WIDTH, 1], bias="none", first_init=1e-4, generator=generator, dtype=torch.float64)
    net[3].weight.data = (torch.randint(0, 2, (1, WIDTH), generator=generator) * 2.0 - 1) / WIDTH**0.5
    net[3].weight.requires_grad_(False)
    return vg.train_to_margin(net, x, y, loss="logistic", tol_loss=1e-10).model, x, y


def hard_margin(x: torch.Tensor, y: torch.Tensor) -> nn.Linear:
    """The hard-margin linear classifier without a bias; its dual is a least-squares problem over lam >= 0."""
    signed = (2 * y - 1)[:, None] * x
    values, vectors = torch.linalg.eigh(signed @ signed.T)
    values, vectors = values[values > 1e-12], vectors[:, values > 1e-12]
    lam, _ = nnls((vectors * values.sqrt()).T.numpy(), (vectors.sum(0) / values.sqrt()).numpy())
    net = nn.Linear(x.shape[1], 1, bias=False)
    net.weight.data = (torch.from_numpy(lam) @ signed)[None]
    return net
