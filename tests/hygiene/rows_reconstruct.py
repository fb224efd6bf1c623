"""Rows of `reconstruct` and its kernels."""

import torch
from hygiene_rows import Row, classifier, gaussian, mixed, trained
from sklearn.kernel_ridge import KernelRidge
from torch import nn

import vestige as vg

KERNELS = vg.kernels
SMALL = {"restarts": 1, "n_candidates": 8, "steps": 5}


def weights(**options):
    def make(_):
        model = trained(3)["model"]
        return {
            "model": model,
            "input_shape": (20,),
            "weight_decay": 1e-3,
            "generator": torch.Generator(),
            **SMALL,
        } | options

    return make


def head(_):
    return {"head": trained(3)["model"], "weight_decay": 1e-3, "generator": torch.Generator(), **SMALL}


def images(_):
    base = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)).double()
    model = mixed(vg.nets.InvariantNetwork(base, vg.nets.Rotations()))
    own = {"model": model, "input_shape": (1, 4, 4), "group": vg.nets.Rotations()}
    return own | {"weight_decay": 1e-3, "generator": torch.Generator(), **SMALL}


def kernel_machine(_):
    kernel, x = KERNELS.Gaussian(0.1), gaussian(4, 5)
    weight = torch.linalg.solve(kernel(x, x), gaussian(4, 2, seed=1))
    return {
        "predict": lambda z: kernel(torch.as_tensor(z), x) @ weight,
        "kernel": kernel,
        "input_shape": (5,),
        "n": 4,
        "steps": 50,
        "generator": torch.Generator(),
    }


def estimator(folder):
    fitted = KernelRidge(kernel="rbf", gamma=0.1).fit(gaussian(6, 5).numpy(), gaussian(6).numpy())
    return {"estimator": fitted, "path": folder / "kernel.safetensors"}


def stored(folder):
    given = estimator(folder)
    KERNELS.save_kernel_model(**given)
    return {"path": given["path"]}


def scored(_):
    given = weights()(_)
    found = vg.reconstruct_from_weights(**given)
    return {"reconstruction": found, "x_true": trained(3)["x"], "held_out": gaussian(6, 20, seed=3)}


def gallery(_):
    return {"samples": gaussian(3, 5), "gallery": gaussian(9, 5, seed=2), "truth": torch.arange(3)}


def kernel(made):
    return Row(
        lambda _: {"z": gaussian(3, 5), "x": gaussian(4, 5, seed=1)},
        "its parameters are checked by the constructor",
        call=lambda z, x: made(z, x),
    )


def damaged():
    model = nn.Linear(2, 2)
    nn.init.constant_(model.weight, torch.nan)
    return model


def drawn(gamma, inputs, features, x):
    KERNELS.RandomFeatureKernel.draw(gamma, inputs, features).features(x)


ROWS = {
    "reconstruct.reconstruct_from_weights": Row(weights(), {"input_shape": (21,)}),
    "reconstruct.reconstruct_from_embeddings": Row(head, {"loss": "none"}),
    "reconstruct.reconstruct_invariant": Row(images, {"input_shape": (1, 4, 5)}),
    "reconstruct.reconstruct_from_queries": Row(kernel_machine, {"n": 0}),
    "reconstruct.invert_embedding": Row(
        lambda _: {
            "backbone": mixed(nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Dropout(0.5))).double(),
            "target": gaussian(1, 6),
            "input_shape": (1, 8, 8),
            "steps": 2,
            "generator": torch.Generator(),
        },
        {"prior": "none"},
    ),
    "reconstruct.best_rank": Row(gallery, {"samples": torch.full((3, 5), torch.nan)}),
    "reconstruct.retrieval_rank": Row(
        lambda _: {"embeddings": gallery(_)["samples"], "gallery": gallery(_)["gallery"], "truth": torch.arange(3)},
        {"embeddings": torch.full((3, 5), torch.nan)},
    ),
    "reconstruct.nearest_in_gallery": Row(
        lambda _: {"embeddings": gaussian(3, 5), "gallery": gaussian(9, 5, seed=2), "top": 2},
        {"gallery": gaussian(9, 4)},
    ),
    "reconstruct.score_reconstruction": Row(scored, {"x_true": gaussian(6, 21)}),
    "reconstruct.untrained_like": Row(
        lambda _: {"model": classifier()["model"], "generator": torch.Generator()},
        {"model": damaged()},
    ),
    "reconstruct.split_kkt_point": Row(
        lambda _: {
            "model": trained()["model"],
            "x": trained()["x"],
            "coef": gaussian(6, 1),
            "generator": torch.Generator(),
        },
        {"most": -1.0},
    ),
    "reconstruct.kernels.Exponential": kernel(KERNELS.Exponential(0.1)),
    "reconstruct.kernels.Gaussian": kernel(KERNELS.Gaussian(0.1)),
    "reconstruct.kernels.Laplace": kernel(KERNELS.Laplace(0.1)),
    "reconstruct.kernels.Polynomial": kernel(KERNELS.Polynomial(0.5)),
    "reconstruct.kernels.ReLUTangent": kernel(KERNELS.ReLUTangent()),
    "reconstruct.kernels.RandomFeatureKernel": Row(
        lambda _: {"gamma": 0.1, "inputs": 5, "features": 7, "x": gaussian(3, 5)}, {"gamma": -1.0}, call=drawn
    ),
    "reconstruct.kernels.parse_kernel": Row(lambda _: {"text": "gaussian:gamma=.1"}, {"text": "none"}),
    "reconstruct.kernels.load_kernel_model": Row(stored, {"path": "no such file"}),
    "reconstruct.kernels.KernelModel": Row(
        lambda folder: {"machine": KERNELS.load_kernel_model(**stored(folder)), "z": gaussian(3, 5)},
        "points of another size are refused by their types",
        call=lambda machine, z: machine.predict(z),
    ),
    "reconstruct.kernels.save_kernel_model": Row(estimator, {"path": "no/such/folder/kernel.safetensors"}),
    "reconstruct.kernels.score_points": Row(
        lambda _: {"points": gaussian(3, 5), "x_true": gaussian(4, 5), "held_out": gaussian(4, 5, seed=1)},
        {"within": -1.0},
    ),
}
