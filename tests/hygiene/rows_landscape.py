"""Rows of `landscape` and `convex`."""

import torch
from hygiene_rows import Row, gaussian, mixed
from torch import nn

import vestige as vg

LAND = vg.landscape


def networks(_):
    """A student and its teacher, with biases."""
    return {
        "student": LAND.Neurons(gaussian(3, 4), gaussian(3)),
        "teacher": LAND.Neurons(gaussian(2, 4, seed=1), gaussian(2, seed=1)),
        "population": LAND.Population(mean=gaussian(4), covariance=2 * torch.eye(4)),
    }


def two_layer(bias):
    return mixed(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1, bias=bias)).double())


ZERO = {"student": LAND.Neurons(torch.zeros(3, 4).double())}
ROWS = {
    "landscape.Neurons": Row(
        lambda _: {"neurons": networks(_)["student"]}, "any shapes that fit", call=lambda neurons: neurons.double()
    ),
    "landscape.Population": Row(
        lambda _: {"population": networks(_)["population"], "neurons": networks(_)["student"]},
        {"population": LAND.Population(covariance=-torch.eye(4).double())},
        call=lambda population, neurons: (population.root(), population.standardized(neurons)),
    ),
    "landscape.population_loss": Row(networks, ZERO),
    "landscape.population_gradient": Row(networks, ZERO),
    "landscape.population_hessian": Row(networks, ZERO),
    "landscape.neurons_of": Row(lambda _: {"model": two_layer(False)}, {"model": two_layer(True)}),
}
