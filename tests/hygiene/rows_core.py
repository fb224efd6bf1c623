"""Rows of `core`, `nets` and `data`."""

import torch
from hygiene_rows import Row, classifier, gaussian, mixed, trained
from torch import nn

import vestige as vg
from vestige.core.cite import paper
from vestige.core.claims import Certificate, Claim
from vestige.core.threat import Threat


def margin_data(_):
    return trained() | {"loss": "logistic"}


def cotangents(_, dropout=0.5):
    """`weighted_gradient` runs a model in its own mode, and there dropout draws as the user's own call would."""
    given = classifier()
    given["model"][4].p = dropout
    return {"model": given["model"], "x": given["x"], "coef": gaussian(8, 3)}


def saved(folder, **options):
    path = folder / "model.safetensors"
    vg.save_model(vg.nets.mlp([6, 4, 3]), path, **options)
    return {"path": path}


def pickled(folder):
    path = folder / "model.pt"
    torch.save(vg.nets.mlp([6, 4, 3]).state_dict(), path)
    return {"path_in": path, "path_out": folder / "model.safetensors"}


def digits(_):
    return {"dataset": vg.load_data("digits").take(torch.arange(40))}


def group(kind, size, misfit=(2, 3, 5, 7)):
    def every_method(acting, x, shape):
        acting.check(shape)
        acting.misfit(shape), acting.order(shape), acting.orbit(x), acting.views(x), acting.project(x)
        acting.draw(x, torch.Generator()), acting.products(x, x), acting.align(x, x), acting.canonical(x)

    return Row(lambda _: {"acting": kind, "x": gaussian(3, *size), "shape": size}, {"shape": misfit}, call=every_method)


def boxed(space, x):
    space.to_model(x), space.to_data(x), space.bounds(tuple(x.shape[1:]), x), space.contains(x), space.check(x)


ROWS = {
    "core.citation": Row(
        lambda _: {"*results": (paper("2510.14844"),)}, {"*results": (3,)}, call=lambda *results: vg.citation(*results)
    ),
    "core.Paper": Row(lambda _: {"found": paper("2510.14844")}, "it only writes text", call=lambda found: found.bibtex),
    "core.Certificate": Row(
        lambda _: {"claims": (Claim("width", 2.0, 1.0, "here"),)},
        "any claims make a certificate",
        call=lambda claims: (Certificate(claims).table(), Certificate(claims).holds),
    ),
    "core.GramSystem": Row(
        lambda _: {"system": vg.core.gram_system(**cotangents(None)), "multipliers": torch.ones(8)},
        "a vector of another length is refused by its shape",
        call=lambda system, multipliers: system.residual(multipliers),
    ),
    "core.InputSpace": Row(
        lambda _: {"space": vg.InputSpace(), "x": torch.rand(2, 3)}, {"x": -torch.ones(2, 3)}, boxed
    ),
    "core.Threat": Row(
        lambda _: {"threat": Threat([0.1, 0.2]), "x": torch.rand(2, 3)},
        {"x": torch.rand(3, 3)},
        call=lambda threat, x: (threat.radii(x), threat.at(slice(1))),
    ),
    "core.gram_system": Row(cotangents, {"layers": ["none"]}),
    "core.stationarity_residual": Row(lambda _: cotangents(_, 0.0), "shapes that do not fit are refused by torch"),
    "core.weighted_gradient": Row(lambda _: cotangents(_, 0.0), "shapes that do not fit are refused by torch"),
    "core.margin": Row(lambda _: {"outputs": gaussian(4, 3), "y": torch.tensor([0, 1, 2, 0])}, {"y": torch.arange(4)}),
    "core.lp_norm": Row(lambda _: {"x": gaussian(4, 3), "p": 2}, {"p": 0}),
    "core.per_sample": Row(
        lambda _: {"values": gaussian(4), "like": gaussian(4, 3)}, "shapes that do not fit are refused by their types"
    ),
    "core.project_ball": Row(lambda _: {"x": gaussian(4, 3), "p": 1, "radius": 0.5}, {"p": 0}),
    "core.stationarity": Row(lambda _: classifier() | {"loss": "cross_entropy"}, {"loss": "none"}),
    "core.check_theory": Row(
        lambda _: {"model": classifier()["model"], "x": torch.rand(8, 6)}, {"x": torch.full((2, 6), torch.nan)}
    ),
    "data.DataSet": Row(
        lambda _: {"dataset": digits(_)["dataset"], "index": torch.arange(3)},
        "positions out of range are refused by torch",
        call=lambda dataset, index: dataset.take(index),
    ),
    "data.binarize": Row(lambda _: digits(_) | {"positive_classes": [1, 3]}, {"positive_classes": [17]}),
    "data.center": Row(digits, "any data set has a mean"),
    "data.sample": Row(lambda _: digits(_) | {"n": 10, "generator": torch.Generator()}, {"n": 100}),
    "data.load_data": Row(lambda _: {"spec": "digits"}, {"spec": "no such set"}),
    "nets.parse_architecture": Row(
        lambda _: {"text": "mlp:6-4-3", "generator": torch.Generator()}, {"text": "mlp:x"}, draws=True
    ),
    "nets.embed": Row(
        lambda _: {
            "backbone": mixed(nn.Sequential(nn.Linear(6, 4), nn.Flatten(), nn.Dropout())),
            "inputs": torch.rand(5, 6),
        },
        {"inputs": torch.rand(0, 6)},
    ),
    "nets.load_model": Row(saved, {"path": "no such file"}),
    "nets.save_model": Row(
        lambda folder: {"model": mixed(vg.nets.mlp([6, 4, 3])), "path": folder / "model.safetensors"},
        {"path": "no/such/folder/model.safetensors"},
    ),
    "nets.convert": Row(pickled, {"path_in": "no such file"}),
    "nets.cnn": Row(
        lambda _: {"input_shape": (1, 6, 6), "layers": [vg.nets.Conv(2, 3), 3], "generator": torch.Generator()},
        {"activation": "none"},
        draws=True,
    ),
    "nets.fixed_output_mlp": Row(
        lambda _: {"features": 6, "width": 4, "generator": torch.Generator()}, {"width": 0}, draws=True
    ),
    "nets.mlp": Row(lambda _: {"widths": [6, 4, 3], "generator": torch.Generator()}, {"widths": [6]}, draws=True),
    "nets.parse_group": Row(lambda _: {"text": "c4"}, {"text": "c5"}),
    "nets.architecture_of": Row(lambda _: {"state": vg.nets.mlp([6, 4, 3]).state_dict()}, {"state": {}}),
    "nets.train_to_margin": Row(lambda _: margin_data(_) | {"steps": 20}, {"loss": "none"}),
    "nets.invariance_gap": Row(
        lambda _: {"model": invariant(), "input_shape": (1, 4, 4), "group": vg.nets.Rotations()},
        {"input_shape": (1, 4, 5)},
    ),
    "nets.orbit_distance": Row(
        lambda _: {"x": gaussian(2, 1, 4, 4), "y": gaussian(3, 1, 4, 4), "group": vg.nets.Rotations()},
        {"x": gaussian(2, 1, 4, 5), "y": gaussian(3, 1, 4, 5)},
    ),
    "nets.symmetric_energy": Row(
        lambda _: {"x": gaussian(2, 1, 4, 4), "group": vg.nets.Rotations()}, {"x": gaussian(2, 1, 4, 5)}
    ),
    "nets.Group": group(vg.nets.Rotations(), (1, 4, 4)),
    "nets.Rotations": group(vg.nets.Rotations(mirror=True), (1, 4, 4)),
    "nets.Shifts": group(vg.nets.Shifts(), (1, 4, 4), (5,)),
    "nets.Permutations": group(vg.nets.Permutations(3), (3, 2)),
    "nets.InvariantNetwork": Row(
        lambda _: {"net": invariant(), "x": gaussian(3, 1, 4, 4)},
        "a window without shifts is refused by the constructor",
        call=lambda net, x: (net.views(x), net(x)),
    ),
}


def invariant():
    base = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(16, 3).double())
    return mixed(vg.nets.InvariantNetwork(base, vg.nets.Rotations()))
