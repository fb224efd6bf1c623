"""A network of two layers that was trained on many samples for its neurons, and what is true of it."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

import vestige as vg
from vestige.core.rng import child
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.two_layer.columns import ColumnSpace, column_space

N, DIM, WIDTH, CLASSES = 70, 80, 240, 5


def falling() -> Tensor:
    """Sizes of the coordinates of samples that fall as the frequencies of a picture do, of mean square 1."""
    scale = 1 / (1 + torch.arange(DIM, dtype=torch.float64) / 8)
    return scale / scale.square().mean().sqrt()


@cache
def trained_on_many(*, falls: bool = False, width: int = WIDTH) -> tuple[Chain, ColumnSpace, Tensor, Tensor, Tensor]:
    """The network, the space of its columns, the samples in span coordinates, their classes and their columns."""
    g = child(0, "many")
    x, y = torch.randn(N, DIM, generator=g, dtype=torch.float64), torch.arange(N) % CLASSES
    x = x * falling() if falls else x
    start = vg.nets.mlp([DIM, width, CLASSES], first_init=1e-3, generator=g, dtype=torch.float64)
    model = vg.train_to_margin(start, x, y, loss="cross_entropy", weight_decay=1e-3).model
    chain = span_chain(model, None, torch.float64)
    assert chain is not None and chain.rank == N
    z, space = x @ chain.basis, column_space(chain, zero_sum=True)
    s = (chain.first_augmented() @ torch.linalg.pinv(chain.augmented(z))).T
    return chain, space, z, y, F.normalize(s[:, space.alive], dim=1)
