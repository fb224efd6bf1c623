"""Kernel machines that answer as scikit-learn's do, for tests of the parts of the attack."""

import math

import torch

from vestige.core.rng import child
from vestige.reconstruct.kernels.black_box import BlackBox, Scores


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=child(seed, "gaussian"), dtype=torch.float64)


def machine(kernel, x, weight):
    """f(z) = sum_i a_i k(z, x_i)."""
    return lambda z: kernel(torch.as_tensor(z), x) @ weight


def box_of(predict, d, scores=Scores.RAW, **known):
    return BlackBox(predict, d, scores, math.inf, offset=torch.zeros(1, dtype=torch.float64), **known)


def interpolant(kernel, x, y):
    """Scores of the kernel machine with these values at its points."""
    weight = torch.linalg.solve(kernel(x, x), y)
    return lambda z: kernel(torch.as_tensor(z), x) @ weight


def errors(found, x):
    """Relative error of each true point."""
    return torch.cdist(found.points, x).amin(0) / x.norm(dim=1) if len(found.points) else torch.full((len(x),), 9.0)


def recovered(found, x, within=0.05):
    return int((errors(found, x) <= within).sum())
