"""A network like the audited one that no data has touched: what the attack draws from it is chance and prior alone."""

import copy

import torch
from torch import Tensor, nn

from vestige.core.rng import spawn


def untrained_like(model: nn.Module, *, generator: torch.Generator | None = None) -> nn.Module:
    """A copy with random weights in which every layer keeps its singular values, and so its norm and its rank.

    The weight of each layer, its bias as one more column, becomes U S V^T with its own S and uniformly random U and V;
    every other parameter has its entries permuted. The attack then meets the same architecture, the same scales and the
    same number of directions, and no sample: offer its samples to `score_reconstruction` as a null.

    Args:
        model: any module; left as it is.
        generator: source of the directions; the same seed gives the same network.

    Returns:
        The copy.

    Raises:
        ValueError: weights that are not finite.

    >>> linear = nn.Linear(3, 2, bias=False)
    >>> twin = untrained_like(linear)
    >>> bool(torch.isclose(twin.weight.norm(), linear.weight.norm())), bool(torch.equal(twin.weight, linear.weight))
    (True, False)
    """
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for name, module in twin.named_modules():
            own = dict(module.named_parameters(recurse=False))
            bad = [key for key, p in own.items() if not bool(torch.isfinite(p).all())]
            if bad:
                raise ValueError(f"{name}.{bad[0]} holds NaN or infinite values; there is no scale to imitate.")
            weight, bias = own.get("weight"), own.get("bias")
            if weight is not None and weight.ndim >= 2:
                joined = [] if bias is None or bias.shape != weight.shape[:1] else [bias]
                matrix = torch.cat([weight.flatten(1), *(b[:, None] for b in joined)], 1)
                turned = _turned(matrix.double().cpu(), spawn(generator, "untrained", name))
                width = weight[0].numel()
                weight.copy_(turned[:, :width].reshape(weight.shape))
                for b in joined:
                    b.copy_(turned[:, width])
                own = {key: p for key, p in own.items() if p is not weight and all(p is not b for b in joined)}
            for key, p in own.items():
                order = torch.randperm(p.numel(), generator=spawn(generator, "untrained", name, key))
                p.copy_(p.flatten()[order.to(p.device)].reshape(p.shape))
    return twin


def _turned(matrix: Tensor, generator: torch.Generator) -> Tensor:
    size = torch.linalg.svdvals(matrix)
    left, right = (_orthonormal(side, len(size), generator) for side in matrix.shape)
    return left * size @ right.T


def _orthonormal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Uniformly random orthonormal columns: QR of a Gaussian matrix, with the signs that make it unique."""
    q, r = torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64))
    return q * r.diagonal().sign()
