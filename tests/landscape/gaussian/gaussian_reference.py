"""Slow, obvious references for the closed forms: autograd of textbook formulas, quadrature, samples, 50 digits."""

import math

import mpmath
import numpy as np
import torch

from vestige.core.rng import child
from vestige.landscape import Neurons

ACTIVATIONS = {
    "relu": torch.relu,
    "leaky_relu": lambda z: torch.nn.functional.leaky_relu(z, 0.1),
    "erf": torch.erf,
    "cos": torch.cos,
}


def draw(n, d, *, seed=0, bias=False, output=True):
    g = child(seed, "neurons", str(n), str(d))
    weight = torch.randn(n, d, generator=g)
    return Neurons(
        weight,
        torch.randn(n, generator=g) if bias else None,
        torch.randn(n, generator=g) if output else None,
    )


def textbook_pair(w, v):
    """kappa by arccos: fine away from parallel, and differentiable by autograd there."""
    norms = w.norm(dim=-1)[:, None] * v.norm(dim=-1)
    cosine = w @ v.T / norms
    return norms * ((1 - cosine**2).sqrt() + (math.pi - torch.arccos(cosine)) * cosine) / (2 * math.pi)


def by_quadrature(w, b, v, c, nodes=220):
    """kappa with biases: analytic in v.x given w.x, Gauss-Legendre for that. Differentiable."""
    x, share = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(nodes))
    a, tau = w.norm(dim=-1)[:, None], v.norm(dim=-1)[None]
    rho = w @ v.T / (a * tau)
    low, high = (-b[:, None] / a).expand_as(rho), torch.tensor(13.0)
    u = low[..., None] + (high - low)[..., None] * (x + 1) / 2
    density = torch.exp(-u.square() / 2) / math.sqrt(2 * math.pi)
    mean, sd = (tau * rho)[..., None] * u + c[None, :, None], (tau * (1 - rho**2).sqrt())[..., None]
    normal = torch.distributions.Normal(0.0, 1.0, validate_args=False)
    positive = mean * normal.cdf(mean / sd) + sd * torch.exp(normal.log_prob(mean / sd))
    values = (a[..., None] * u + b[:, None, None]) * positive * density
    return (values * share).sum(-1) * (high - low) / 2


def textbook_loss(student, teacher):
    """The loss with either reference; its own pairs (i, i), where autograd fails, by their norm."""

    def kappa(s, t):
        return (
            textbook_pair(s.weight, t.weight) if s.bias is None else by_quadrature(s.weight, s.bias, t.weight, t.bias)
        )

    def own(s):
        if s.bias is None:
            return s.weight.square().sum(-1) / 2
        a = s.weight.norm(dim=-1)
        ratio = s.bias / a
        cdf, pdf = (
            torch.special.erfc(-ratio / math.sqrt(2)) / 2,
            torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi),
        )
        return (a.square() + s.bias.square()) * cdf + a * s.bias * pdf

    def square(s):
        i, j = torch.triu_indices(len(s.weight), len(s.weight), 1)
        pairs = 0.0
        for x, y in zip(i.tolist(), j.tolist(), strict=True):
            one, two = (Neurons(s.weight[k : k + 1], None if s.bias is None else s.bias[k : k + 1]) for k in (x, y))
            pairs = pairs + s.outputs[x] * s.outputs[y] * kappa(one, two)[0, 0]
        return (s.outputs.square() * own(s)).sum() / 2 + pairs

    cross = student.outputs @ kappa(student, teacher) @ teacher.outputs
    return square(student) - cross + square(teacher)


def sampled_loss(student, teacher, activation, *, samples=400_000, seed=0, law=lambda z: z, noise=0.0):
    """Mean and standard error of half the squared error."""
    act = ACTIVATIONS[activation]
    g = child(seed, "samples")
    x = law(torch.randn(samples, student.weight.shape[-1], generator=g))

    def output(s):
        z = x @ s.weight.T if s.bias is None else x @ s.weight.T + s.bias
        return act(z) @ s.outputs

    label = output(teacher) + math.sqrt(noise) * torch.randn(samples, generator=g)
    values = (output(student) - label).square() / 2
    return float(values.mean()), float(values.std()) / math.sqrt(samples)


def precise_orthant(h, k, rho, digits=50):
    """P(U > h, V > k) by one integral, for any correlation below 1."""
    with mpmath.workdps(digits):
        h, k, rho = mpmath.mpf(h), mpmath.mpf(k), mpmath.mpf(rho)
        root = mpmath.sqrt((1 - rho) * (1 + rho))
        kink = sorted({h, max(h, k / rho if rho else h)})
        # the inner step is as wide as root / rho around k / rho: tell the quadrature where
        width = root / abs(rho) if rho else mpmath.mpf(1)
        points = sorted(
            {h, *(p for c in kink for p in (c - 30 * width, c - 3 * width, c, c + 3 * width, c + 30 * width))}
        )
        points = [p for p in points if h <= p < h + 40] + [h + 40]
        return mpmath.quad(lambda u: mpmath.npdf(u) * mpmath.ncdf((rho * u - k) / root), points)


def precise_pair(w, v, digits=50):
    """kappa of two rows, and pi - their angle, at 50 digits."""
    with mpmath.workdps(digits):
        w, v = ([mpmath.mpf(float(e)) for e in row] for row in (w, v))
        a, b = (mpmath.sqrt(sum(e * e for e in row)) for row in (w, v))
        apart = mpmath.sqrt(sum((x / a - y / b) ** 2 for x, y in zip(w, v, strict=True)))
        together = mpmath.sqrt(sum((x / a + y / b) ** 2 for x, y in zip(w, v, strict=True)))
        t = 2 * mpmath.atan2(apart, together)
        return a * b * (mpmath.sin(t) + (mpmath.pi - t) * mpmath.cos(t)) / (2 * mpmath.pi), mpmath.pi - t
