"""Pairs of smooth neurons without biases: functions of |w|^2, w.v and |v|^2, differentiated as such."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, hessian, vmap

from vestige.landscape.gaussian.pair import Blocks, Pair, outer

Kernel = Callable[[Tensor], Tensor]


def erf_kernel(products: Tensor) -> Tensor:
    """(2 / pi) arcsin(2 w.v / sqrt((1 + 2 |w|^2)(1 + 2 |v|^2))), for products (|w|^2, w.v, |v|^2)."""
    p, q, r = products
    return 2 / math.pi * torch.asin(2 * q / ((1 + 2 * p) * (1 + 2 * r)).sqrt())


def cosine_kernel(products: Tensor) -> Tensor:
    """(exp(-|w - v|^2 / 2) + exp(-|w + v|^2 / 2)) / 2."""
    p, q, r = products
    return (torch.exp(-(p + r) / 2 + q) + torch.exp(-(p + r) / 2 - q)) / 2


def _products(w: Tensor, v: Tensor) -> Tensor:
    p, r = w.square().sum(-1)[..., :, None], v.square().sum(-1)[..., None, :]
    return torch.stack(torch.broadcast_tensors(p, w @ v.mT, r), -1)


def _each(function: Callable[[Tensor], Tensor], products: Tensor) -> Tensor:
    found = vmap(function)(products.reshape(-1, 3))
    return found.reshape(*products.shape[:-1], *found.shape[1:])


def smooth_pair(kernel: Kernel, w: Tensor, v: Tensor) -> Pair:
    """Value, and 2 f_p w + f_q v for the gradient."""
    products = _products(w, v)
    slope = _each(grad(kernel), products)
    return Pair(_each(kernel, products), 2 * slope[..., 0], slope[..., 1])


def smooth_blocks(kernel: Kernel, w: Tensor, v: Tensor) -> Blocks:
    """The chain rule through the three products."""
    products = _products(w, v)
    slope, curve = _each(grad(kernel), products)[..., None, None], _each(hessian(kernel), products)[..., None, None]
    fp, fq = slope[..., 0, :, :], slope[..., 1, :, :]
    pp, pq, pr, qq, qr = (curve[..., i, j, :, :] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2)))
    shape = (*products.shape[:-1], w.shape[-1])
    w, v = w[..., :, None, :].expand(shape), v[..., None, :, :].expand(shape)
    eye = torch.eye(shape[-1], dtype=w.dtype, device=w.device)
    ww, wv, vv = outer(w, w), outer(w, v), outer(v, v)
    return Blocks(
        2 * fp * eye + 4 * pp * ww + 2 * pq * (wv + wv.mT) + qq * vv,
        fq * eye + 2 * pq * ww + 4 * pr * wv + qq * wv.mT + 2 * qr * vv,
    )
