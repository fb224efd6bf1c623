"""More columns among many samples, found with their inputs: what pairs bring is kept where it is a sample's column."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import vestige as vg
from vestige.core.rng import child
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.paired.projections import Pairs
from vestige.reconstruct.weights.two_layer import with_inputs
from vestige.reconstruct.weights.two_layer.columns import ColumnSpace, column_space, distinct, with_multipliers

N, DIM, WIDTH, CLASSES, KNOWN = 70, 80, 240, 5, 40


@cache
def _trained() -> tuple[Chain, ColumnSpace, Tensor, Tensor, Tensor]:
    """The network, the space of its columns, the samples in span coordinates, their classes and their columns."""
    g = child(0, "many")
    x, y = torch.randn(N, DIM, generator=g, dtype=torch.float64), torch.arange(N) % CLASSES
    start = vg.nets.mlp([DIM, WIDTH, CLASSES], first_init=1e-3, generator=g, dtype=torch.float64)
    model = vg.train_to_margin(start, x, y, loss="cross_entropy", weight_decay=1e-3).model
    chain = span_chain(model, None, torch.float64)
    assert chain is not None and chain.rank == N
    z, space = x @ chain.basis, column_space(chain, zero_sum=True)
    s = (chain.first_augmented() @ torch.linalg.pinv(chain.augmented(z))).T
    return chain, space, z, y, F.normalize(s[:, space.alive], dim=1)


def found_with(z: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine of each column to its nearest true one, and which it is; the known ones first."""
    chain, space, _, y, s = _trained()
    known = with_multipliers(space, s[:KNOWN])
    known = known[distinct(known)]
    columns = with_inputs.more_columns(chain, space, known, z, y)
    cosine, of = (F.normalize(columns.s, dim=1) @ s.T).abs().max(1)
    return cosine, of


@pytest.fixture
def however_few(monkeypatch):
    monkeypatch.setattr(with_inputs, "SAMPLES", 10)


def pairs_of(s: Tensor, met: float):
    """A search that finds these columns."""

    def pairs_near(space: ColumnSpace, inputs: Tensor, u: Tensor, full: Tensor, **_) -> Pairs:
        columns = with_multipliers(_trained()[1], s)
        return Pairs(columns.s.float(), columns.full.float(), columns.s.float(), torch.full((len(s),), met))

    return pairs_near


@pytest.mark.usefixtures("however_few")
def test_columns_of_samples_are_kept_and_others_not(monkeypatch):
    _, space, z, _, s = _trained()
    error = F.normalize(torch.randn(len(s), N, generator=child(1, "e"), dtype=torch.float64) @ space.first.T, dim=1)
    rough = F.normalize(s[KNOWN:] + 0.03 * error[KNOWN:], dim=1)
    monkeypatch.setattr(with_inputs, "pairs_near", pairs_of(torch.cat([rough, error]), 0.9))
    cosine, of = found_with(z)
    assert len(of[of >= KNOWN].unique()) >= 8 and cosine.min() > 0.9
    assert len(of.unique()) == len(of)


@pytest.mark.usefixtures("however_few")
def test_pairs_that_are_met_at_few_neurons_bring_nothing(monkeypatch):
    """Null."""
    _, _, z, _, s = _trained()
    monkeypatch.setattr(with_inputs, "pairs_near", pairs_of(s[KNOWN:], 0.4))
    assert not (found_with(z)[1] >= KNOWN).any()


@pytest.mark.usefixtures("however_few")
def test_candidates_that_know_nothing_bring_nothing():
    """Null, with the pairs that there are."""
    z = torch.randn(200, _trained()[2].shape[1], generator=child(2, "nobody"), dtype=torch.float64)
    chain, space, _, _, s = _trained()
    known = with_multipliers(space, s[:KNOWN])
    columns = with_inputs.more_columns(chain, space, known, 12 * F.normalize(z, dim=1), torch.arange(200) % CLASSES)
    assert (F.normalize(columns.s, dim=1) @ s.T).abs().amax(1).min() > 0.9


def test_where_samples_are_few_columns_stay_as_they_are():
    chain, space, z, y, s = _trained()
    known = with_multipliers(space, s[:KNOWN])
    assert with_inputs.more_columns(chain, space, known, z, y) is known
