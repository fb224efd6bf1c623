"""Rows of `landscape`."""

import torch
from hygiene_rows import Row, gaussian, mixed
from sklearn.neighbors import KNeighborsClassifier
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


def imitation(_, n=3):
    """A student without biases, and orthonormal teachers."""
    return {"student": LAND.Neurons(gaussian(n, 3) + torch.eye(n, 3)), "teacher": LAND.Neurons(torch.eye(3).double())}


def many(_):
    return {**imitation(None), "student": LAND.Neurons(gaussian(2, 3, 3)), "steps": 20}


def one_neuron(_):
    return {
        "student": LAND.Neurons(gaussian(2, 3), gaussian(2)),
        "teacher": LAND.Neurons(gaussian(1, 3, seed=1)),
        "law": LAND.RadialInputs(3),
    }


def single(_):
    return {**one_neuron(None), "student": LAND.Neurons(gaussian(1, 3))}


def used(law):
    """A law, asked for loss and gradient."""
    return Row(
        lambda _: {"law": law, "student": LAND.Neurons(gaussian(2, 1, 3)), "teacher": one_neuron(None)["teacher"]},
        "sizes are checked by what takes a law",
        call=lambda law, student, teacher: (law.loss(student, teacher), law.gradient(student, teacher)),
    )


BIASED = {"teacher": LAND.Neurons(gaussian(3, 3), gaussian(3))}
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
    "landscape.certify_minimum": Row(imitation, BIASED),
    "landscape.MinimumCertificate": Row(
        lambda _: {"found": LAND.certify_minimum(**imitation(None))},
        "it was checked when it was made",
        call=lambda found: (found.is_minimum, found.certificate.table()),
    ),
    "landscape.descend": Row(many, BIASED),
    "landscape.find_spurious_minima": Row(
        lambda _: {"teacher": 3, "restarts": 2, "steps": 20, "generator": torch.Generator()}, {"restarts": 0}
    ),
    "landscape.known_minima": Row(lambda _: {"k": 6}, {"k": 5}),
    "landscape.one_point_convexity": Row(
        lambda _: {
            "minimum": imitation(None)["student"],
            "teacher": imitation(None)["teacher"],
            "directions": 2,
            "generator": torch.Generator(),
        },
        {"radii": [0.0]},
    ),
    "landscape.split_spectrum": Row(imitation, BIASED),
    "landscape.split_neuron": Row(
        lambda _: {"student": imitation(None)["student"], "neuron": 0, "distance": 0.1, "direction": torch.ones(3)},
        {"neuron": 3},
    ),
    "landscape.grow": Row(lambda _: {**imitation(None), "steps": 20}, {"neuron": 3}),
    "landscape.GaussianInputs": used(LAND.GaussianInputs(3)),
    "landscape.RadialInputs": used(LAND.RadialInputs(3)),
    "landscape.SampledInputs": used(LAND.SampledInputs(gaussian(5, 3))),
    "landscape.neuron_certificate": Row(single, {"teacher": LAND.Neurons(gaussian(1, 4))}),
    "landscape.neuron_descent": Row(lambda _: {**one_neuron(None), "steps": 30}, {"steps": 0}),
    "landscape.NeuronDescent": Row(
        lambda _: {"found": LAND.neuron_descent(**one_neuron(None), steps=30)},
        "its runs are there",
        call=lambda found: found.count("slow"),
    ),
    "landscape.neuron_flow": Row(
        lambda _: {"student": gaussian(3), "teacher": gaussian(3, seed=1), "times": torch.tensor([0.5, 1.0])},
        {"student": torch.zeros(3)},
    ),
    "landscape.one_point_terms": Row(
        lambda _: {**{k: v for k, v in one_neuron(None).items() if k != "law"}, "x": gaussian(5, 3)},
        {"x": gaussian(0, 3)},
    ),
    "landscape.start_within_reach_probability": Row(lambda _: {"dimension": 3, "init_scale": 0.1}, {"init_scale": 0.0}),
    "landscape.dead_start_probability": Row(lambda _: {"dimension": 3, "radius": 0.1}, {"radius": -1.0}),
    "landscape.overfitting_profile": Row(
        lambda _: {
            "fit": KNeighborsClassifier(1),
            "sizes": [20],
            "repeats": 2,
            "test_samples": 20,
            "generator": torch.Generator(),
        },
        {"repeats": 0},
    ),
    "landscape.fit_features": Row(
        lambda _: {"features": networks(_)["student"], "target": networks(_)["teacher"], "ridges": [0.0, 0.1]},
        {"ridges": [-1.0]},
    ),
    "landscape.random_features": Row(
        lambda _: {"r": 3, "dimension": 4, "bias_radius": 1.0, "generator": torch.Generator()}, {"r": 0}
    ),
    "landscape.random_feature_bound": Row(lambda _: {"dimension": 5, "r": 7}, {"dimension": 2}),
    "landscape.periodic_relu_sum": Row(lambda _: {"a": 3, "direction": gaussian(4)}, {"a": 0}),
}
