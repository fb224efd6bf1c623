"""Rows of `convex`."""

import torch
from hygiene_rows import Row, gaussian

import vestige as vg

CONVEX = vg.convex


def matrices(n=2):
    a = gaussian(n, 4, 4)
    return a + a.mT


def used(layer, x):
    return layer(x), layer.features(x)


def fitted(estimator):
    """A small fit, and everything that it can then be asked."""

    def call(x, y, **options):
        found = estimator(**options).fit(x, y)
        asked = ("predict", "represent", "decision_function")
        return [getattr(found, name)(x) for name in asked if hasattr(found, name)]

    return Row(
        lambda _: {"x": gaussian(20, 4).numpy(), "y": (torch.arange(20) % 2).numpy()}, {"ridge": -1.0}, call=call
    )


ROWS = {
    "convex.max_margin_1d": Row(
        lambda _: {"x": torch.arange(4).double(), "y": torch.tensor([0, 1, 1, 0])}, {"y": torch.tensor([0, 1, 2, 0])}
    ),
    "convex.RedExRegressor": fitted(CONVEX.RedExRegressor),
    "convex.RedExClassifier": fitted(CONVEX.RedExClassifier),
    "convex.ConvRedEx": fitted(CONVEX.ConvRedEx),
    "convex.to_redex": Row(
        lambda _: {"a": matrices(), "r": 20 * torch.eye(4).double()}, {"r": torch.eye(4).double() / 9}
    ),
    "convex.RedExLayer": Row(
        lambda _: {"layer": CONVEX.to_redex(matrices(), 20 * torch.eye(4).double()), "x": gaussian(3, 4)},
        "it was checked when it was made",
        call=used,
    ),
    "convex.redex_norm": Row(lambda _: {"a": matrices()}, {"a": gaussian(2, 4, 4)}),
    "convex.symmetric_squares": Row(lambda _: {"z": gaussian(3, 4)}, "any matrix has them"),
    "convex.compile_circuit": Row(lambda _: {"inputs": 2, "gates": [("and", (0, 1))]}, {"gates": []}),
    "convex.RedExCircuit": Row(
        lambda _: {"circuit": CONVEX.compile_circuit(2, [("or", (0, 1))]), "x": torch.ones(1, 2)},
        "it was checked when it was made",
        call=lambda circuit, x: (circuit(x), circuit.depth),
    ),
    "convex.kravchuk_polynomials": Row(lambda _: {"k": 4}, {"k": 0}),
    "convex.parity_staircase": Row(lambda _: {"n": 5, "dimension": 6, "generator": torch.Generator()}, {"k": 3}),
}
