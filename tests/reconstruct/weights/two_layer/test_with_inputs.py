"""More columns among many samples, found with their inputs: true ones from rough candidates, none from chance."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import vestige as vg
from vestige.core.rng import child
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.two_layer.columns import ColumnSpace, column_space, with_multipliers
from vestige.reconstruct.weights.two_layer.many_samples import has_many_samples
from vestige.reconstruct.weights.two_layer.with_inputs import more_columns

pytestmark = pytest.mark.slow
STEPS, DECAY = 6000, 1e-2
N, DIM, WIDTH, CLASSES, KNOWN = 70, 80, 240, 5, 40


@cache
def _trained() -> tuple[Chain, ColumnSpace, Tensor, Tensor, Tensor]:
    """The network, the space of its columns, the samples in span coordinates, their classes and their columns."""
    g = child(0, "many")
    x, y = torch.randn(N, DIM, generator=g, dtype=torch.float64), torch.arange(N) % CLASSES
    start = vg.nets.mlp([DIM, WIDTH, CLASSES], first_init=1e-3, generator=g, dtype=torch.float64)
    model = vg.train_to_margin(start, x, y, loss="cross_entropy", weight_decay=DECAY, steps=STEPS).model
    chain = span_chain(model, None, torch.float64)
    assert chain is not None and has_many_samples(chain)
    z, space = x @ chain.basis, column_space(chain, zero_sum=True)
    s = (chain.first_augmented() @ torch.linalg.pinv(chain.augmented(z))).T
    return chain, space, z, y, F.normalize(s[:, space.alive], dim=1)


def found_with(z: Tensor) -> tuple[int, Tensor]:
    """How many columns come beside the known ones from candidates, and the cosine of each to its nearest true one."""
    chain, space, _, y, s = _trained()
    columns = more_columns(chain, space, with_multipliers(space, s[:KNOWN]), z, y)
    cosine, of = (F.normalize(columns.s, dim=1) @ s.T).abs().max(1)
    assert len(of.unique()) == len(of)
    return len(columns) - KNOWN, cosine


def near(z: Tensor, cosine: float) -> Tensor:
    error = F.normalize(torch.randn(z.shape, generator=child(1, "near"), dtype=torch.float64), dim=1)
    return z * cosine + error * (1 - cosine**2) ** 0.5 * z.norm(dim=1, keepdim=True)


def test_rough_candidates_lead_to_the_columns_of_their_samples():
    more, cosine = found_with(near(_trained()[2], 0.8))
    assert more >= 10 and cosine.min() > 0.95


def test_candidates_that_know_nothing_lead_to_no_false_column():
    """Null."""
    more, cosine = found_with(near(_trained()[2], 0.0))
    assert more <= 5 and cosine.min() > 0.95
