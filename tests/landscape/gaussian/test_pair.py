"""Pairs of neurons: closed forms against autograd of the textbook's, and 50 digits where that fails."""

import math

import pytest
import torch
from gaussian_reference import draw, precise_pair, textbook_pair
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.rng import child
from vestige.landscape.gaussian.pair import angles, normal, relu_blocks, relu_pair
from vestige.landscape.gaussian.smooth import cosine_kernel, erf_kernel, smooth_blocks, smooth_pair


def slope(pair, w, v):
    return pair.along_first[..., None] * w[:, None] + pair.along_second[..., None] * v[None]


def test_value_and_derivatives_agree_with_autograd_of_the_textbook():
    w, v = draw(4, 5).weight, draw(3, 5, seed=1).weight
    blocks, found = relu_blocks(w, v), relu_pair(w, v)
    for i in range(4):
        for j in range(3):

            def kappa(a, b):
                return textbook_pair(a[None], b[None])[0, 0]

            value, first = kappa(w[i], v[j]), torch.func.grad(kappa)(w[i], v[j])
            (ww, wv), _ = torch.func.hessian(kappa, argnums=(0, 1))(w[i], v[j])
            torch.testing.assert_close(found.value[i, j], value, rtol=0, atol=1e-12)
            torch.testing.assert_close(slope(found, w, v)[i, j], first, rtol=0, atol=1e-10)
            torch.testing.assert_close(blocks.first[i, j], ww, rtol=0, atol=1e-10)
            torch.testing.assert_close(blocks.mixed[i, j], wv, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kernel", [erf_kernel, cosine_kernel])
def test_smooth_pairs_agree_with_autograd_in_the_weights(kernel):
    w, v = draw(2, 3).weight, draw(2, 3, seed=1).weight

    def kappa(a, b):
        return kernel(torch.stack([a @ a, a @ b, b @ b]))

    found, blocks = smooth_pair(kernel, w, v), smooth_blocks(kernel, w, v)
    (ww, wv), _ = torch.func.hessian(kappa, argnums=(0, 1))(w[1], v[0])
    torch.testing.assert_close(slope(found, w, v)[1, 0], torch.func.grad(kappa)(w[1], v[0]), rtol=0, atol=1e-10)
    torch.testing.assert_close(blocks.first[1, 0], ww, rtol=0, atol=1e-10)
    torch.testing.assert_close(blocks.mixed[1, 0], wv, rtol=0, atol=1e-10)


@pytest.mark.parametrize("tilt", [1e-3, 1e-6, 1e-8, 1e-12, 0.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_nearly_parallel_rows_keep_all_digits(tilt, sign):
    w = draw(1, 6).weight
    v = sign * 2 * w + tilt * draw(1, 6, seed=3).weight
    value, rest = precise_pair(w[0], v[0])
    at, found = angles(w, v), relu_pair(w, v)
    torch.testing.assert_close(float(at.rest), float(rest), rtol=1e-7, atol=3e-16)
    torch.testing.assert_close(float(found.value), float(value), rtol=1e-14, atol=1e-40 + 1e-15 * float(rest))
    blocks = relu_blocks(w, v)
    limit = torch.eye(6) / 2 if sign > 0 else torch.zeros(6, 6)
    assert (blocks.mixed[0, 0] - limit).abs().max() <= 2 * tilt + 1e-15
    assert blocks.first[0, 0].abs().max() <= 2 * tilt + 1e-15


def test_the_textbook_fails_where_the_closed_form_does_not():
    w = draw(1, 4).weight.requires_grad_()
    assert textbook_pair(w, w.detach()).sum().backward() is None and bool(w.grad.isnan().any())
    torch.testing.assert_close(
        slope(relu_pair(w.detach(), w.detach()), w.detach(), w.detach())[0, 0], w.detach()[0] / 2
    )


@given(seed=st.integers(0, 20), scale=st.floats(0.1, 10), turn=st.integers(0, 9))
def test_scaling_and_rotation(seed, scale, turn):
    w, v = draw(3, 4, seed=seed).weight, draw(2, 4, seed=seed + 100).weight
    q = torch.linalg.qr(torch.randn(4, 4, generator=child(turn, "q")))[0]
    found = relu_pair(w, v)
    torch.testing.assert_close(relu_pair(scale * w @ q, v @ q).value, scale * found.value)
    euler = (slope(found, w, v) * w[:, None]).sum(-1)  # of degree 1 in w
    torch.testing.assert_close(euler, found.value)
    blocks = relu_blocks(w, v)
    torch.testing.assert_close((blocks.first @ w[:, None, :, None]).norm(), torch.tensor(0.0), atol=1e-12, rtol=0)
    torch.testing.assert_close((blocks.mixed @ v[None, :, :, None])[..., 0], slope(found, w, v))


def test_hermite_series_of_relu():
    """kappa = sum c_n^2 rho^n on unit vectors, with the coefficients of ReLU."""
    angle = torch.linspace(0.3, 2.8, 9)
    w, v = torch.tensor([[1.0, 0.0]]), torch.stack([angle.cos(), angle.sin()], 1)
    rho, total = angle.cos(), 1 / (2 * math.pi) + angle.cos() / 4
    odd = 1.0  # (n - 3)!!
    for n in range(2, 60, 2):
        odd = odd * max(1, n - 3)
        total = total + math.exp(2 * math.log(odd) - math.lgamma(n + 1)) / (2 * math.pi) * rho**n
    torch.testing.assert_close(relu_pair(w, v).value[0], total, rtol=0, atol=2e-4)


def test_normals_are_unit_and_orthogonal():
    w, v = draw(3, 5).weight, draw(4, 5, seed=1).weight
    at = angles(w, v)
    across = normal(at)
    torch.testing.assert_close(across.norm(dim=-1), torch.ones(3, 4))
    assert (across * at.first[:, None]).sum(-1).abs().max() < 1e-14
