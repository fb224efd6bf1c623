"""Models that fit noisy labels, by name: what `vestige overfit` profiles."""

from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from vestige.convex.line import max_margin_1d
from vestige.core.choices import ChoiceEnum
from vestige.core.rng import child
from vestige.landscape.overfitting.sweep import Fit
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin

WIDTH, FIRST_INIT, TOL_LOSS, STEPS = 64, 1e-2, 1e-3, 4000


class Learner(ChoiceEnum):
    """Models that interpolate."""

    MARGIN = "margin"
    NETWORK = "network"
    NETWORK_WITHOUT_BIAS = "network_without_bias"
    NEAREST_NEIGHBOR = "nearest_neighbor"


def learner(name: Learner) -> Fit:
    """What `vestige.landscape.overfitting_profile` takes."""
    match name:
        case Learner.MARGIN:
            return lambda x, y: max_margin_1d(x[:, 0], y).model
        case Learner.NEAREST_NEIGHBOR:
            return KNeighborsClassifier(1)
        case _:
            return lambda x, y: _network(x, y, "first" if name is Learner.NETWORK else "none")


def _network(x: Tensor, y: Tensor, bias: str) -> nn.Module:
    """Two layers from a small start, trained in the span of the samples."""
    start = mlp([x.shape[1], WIDTH, 1], bias=bias, first_init=FIRST_INIT, generator=child(0, "learner"), dtype=x.dtype)
    return train_to_margin(start, x, y, loss="logistic", tol_loss=TOL_LOSS, steps=STEPS).model
