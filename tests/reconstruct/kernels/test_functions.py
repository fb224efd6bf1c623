"""Kernels against scikit-learn, closed forms and a wide network."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_reference import gaussian
from scipy.integrate import quad
from sklearn.metrics.pairwise import laplacian_kernel, polynomial_kernel, rbf_kernel

from vestige.core.rng import child
from vestige.reconstruct.kernels.functions import (
    Exponential,
    Gaussian,
    Laplace,
    Polynomial,
    RandomFeatureKernel,
    ReLUTangent,
    kappa0,
    kappa1,
    parse_kernel,
)

X, KERNEL = gaussian(20, 50), Gaussian(0.02)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Gaussian(0.3), lambda z, x: rbf_kernel(z, x, gamma=0.3)),
        (Laplace(0.3, norm=1), lambda z, x: laplacian_kernel(z, x, gamma=0.3)),
        (Polynomial(0.3, 0.5, 3), lambda z, x: polynomial_kernel(z, x, gamma=0.3, coef0=0.5, degree=3)),
    ],
)
def test_kernels_agree_with_scikit_learn(ours, theirs):
    z = gaussian(7, 5)
    torch.testing.assert_close(ours(z, X[:, :5]), torch.as_tensor(theirs(z.numpy(), X[:, :5].numpy())))


def test_arc_cosine_kernels_at_known_angles():
    u = torch.tensor([-1.0, 0.0, 1.0]).double()
    torch.testing.assert_close(kappa0(u), torch.tensor([0.0, 0.5, 1.0]).double())
    torch.testing.assert_close(kappa1(u), torch.tensor([0.0, 1 / math.pi, 1.0]).double())


@given(layers=st.integers(1, 5), tangent=st.booleans(), size=st.floats(0.1, 10))
def test_relu_kernels_are_homogeneous_and_keep_the_norm(layers, tangent, size):
    kernel = ReLUTangent(layers, tangent)
    torch.testing.assert_close(kernel(X, X).diagonal(), X.square().sum(1))
    torch.testing.assert_close(kernel(size * X, X), size * kernel(X, X))


def test_random_features_approach_the_gaussian_kernel():
    many = RandomFeatureKernel.draw(0.02, 50, 40_000, generator=child(0))
    assert (many(X, X) - KERNEL(X, X)).abs().max() < 0.03  # 40,000 features: standard error .005
    few = RandomFeatureKernel.draw(0.02, 50, 40, generator=child(0))
    assert (few(X, X) - KERNEL(X, X)).abs().max() > 0.1


@pytest.mark.parametrize("kernel", [Gaussian(0.02), Exponential(0.02)])
def test_exponential_type_means_what_the_pencil_takes_it_for(kernel):
    u, v = gaussian(2, 50, seed=5)
    scaled = [kernel(z[None], X)[0].log() + kernel.decay * z.square().sum() for z in (u + v, u, v, 0 * u)]
    torch.testing.assert_close(scaled[0] + scaled[3], scaled[1] + scaled[2])
    torch.testing.assert_close(scaled[1] - scaled[3], kernel.rate * X @ u)


def test_kernels_are_read_from_text():
    assert parse_kernel("rbf:gamma=0.003") == Gaussian(0.003) and parse_kernel("rbf") == Gaussian()
    assert parse_kernel("ntk:layers=2") == ReLUTangent(2) and parse_kernel("laplace-l2:gamma=1") == Laplace(1.0)
    assert parse_kernel("laplace-l1:gamma=1") == Laplace(1.0, norm=1)
    for word in ("laplace:gamma=1", "laplacian:gamma=1"):
        with pytest.raises(ValueError, match=r"laplace-l2.*laplace-l1"):
            parse_kernel(word)


def test_random_features_are_drawn_from_their_generator_alone():
    """None is seed 0: neither the global generator nor the caller's moves on."""
    before, own = torch.get_rng_state(), child(3)
    state = own.get_state()
    first, again, other = (RandomFeatureKernel.draw(0.1, 3, 4, generator=g) for g in (None, None, own))
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(own.get_state(), state)
    assert torch.equal(first.weights, again.weights) and torch.equal(first.phases, again.phases)
    assert not torch.equal(first.weights, other.weights)


def test_the_tangent_kernel_off_the_diagonal_is_that_of_three_layers_written_out():
    """Means of ReLU products and of common signs by quadrature over the angle, the recursion without a loop."""

    def relu_products(u):
        angle = math.acos(u)
        return quad(lambda t: math.cos(t) * math.cos(t - angle), angle - math.pi / 2, math.pi / 2)[0] / math.pi * 2

    def common_signs(u):
        return 1 - math.acos(u) / math.pi

    z, x = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.6, 0.8], [0.0, 1.0], [-0.6, 0.8], [-3.0, 0.4]])
    for k, row in enumerate(x):
        u = float(torch.nn.functional.cosine_similarity(z[0], row, dim=0))
        first = relu_products(u)
        second = relu_products(first)
        tangent = u * common_signs(u) * common_signs(first) + first * common_signs(first) + second
        length = float(z.norm() * row.norm())
        assert float(ReLUTangent(3)(z, x)[0, k]) == pytest.approx(length * tangent / 3)
        assert float(ReLUTangent(3, tangent=False)(z, x)[0, k]) == pytest.approx(length * second)


def test_the_tangent_kernel_is_that_of_a_wide_network():
    """Gradients of a three-layer network of width 1500: relative error 1 / sqrt(1500) a layer."""
    width, g = 1500, child(0, "wide")
    z, x = gaussian(2, 4, seed=8)
    sizes = [(width, 4), (width, width), (1, width)]
    weights = [torch.randn(*s, generator=g, dtype=torch.float64) for s in sizes]

    def layers(v):
        """Inputs of each layer and backward signals, in closed form."""
        first = weights[0] @ v
        second = weights[1] @ (first.relu() * (2 / width) ** 0.5)
        back = weights[2][0] * (second > 0) * (2 / width) ** 0.5
        return [v, first.relu() * (2 / width) ** 0.5, second.relu() * (2 / width) ** 0.5], [
            weights[1].T @ back * (first > 0) * (2 / width) ** 0.5,
            back,
            torch.ones(1).double(),
        ]

    (a, da), (b, db) = layers(z), layers(x)
    wide = sum(float(p @ q * (s @ t)) for p, q, s, t in zip(a, b, da, db, strict=True)) / 3
    limit = float(ReLUTangent(3)(z[None], x[None])[0, 0])
    assert abs(wide - limit) < 0.12 * float(z.norm() * x.norm())
