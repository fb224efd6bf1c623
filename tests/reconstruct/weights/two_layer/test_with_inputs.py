"""More columns among many samples, found with their inputs: what pairs bring is kept where it is a sample's column."""

import pytest
import torch
import torch.nn.functional as F
from many_samples import CLASSES, N, trained_on_many
from torch import Tensor

from vestige.core.rng import child
from vestige.reconstruct.weights.paired.projections import Pairs
from vestige.reconstruct.weights.two_layer import with_inputs
from vestige.reconstruct.weights.two_layer.columns import Columns, ColumnSpace, distinct, with_multipliers

KNOWN = 40


def more_columns(known: Columns, z: Tensor, y: Tensor) -> Columns:
    chain, space, x, _, _ = trained_on_many()
    told = known, z, y, float(x.norm(dim=1).median()), None
    return with_inputs.more_columns(chain, space, *told, generator=child(0, "more"))[0]


def found_with(z: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine of each column to its nearest true one, and which it is; the known ones first."""
    _, space, _, y, s = trained_on_many()
    known = with_multipliers(space, s[:KNOWN])
    columns = more_columns(known[distinct(known)], z, y)
    cosine, of = (F.normalize(columns.s, dim=1) @ s.T).abs().max(1)
    return cosine, of


@pytest.fixture
def however_few(monkeypatch):
    monkeypatch.setattr(with_inputs, "SAMPLES", 10)


def pairs_of(s: Tensor, met: float):
    """A search that finds these columns."""

    def pairs_near(space: ColumnSpace, inputs: Tensor, u: Tensor, full: Tensor, **_) -> Pairs:
        columns = with_multipliers(trained_on_many()[1], s)
        return Pairs(columns.s.float(), columns.full.float(), columns.s.float(), torch.full((len(s),), met))

    return pairs_near


@pytest.mark.usefixtures("however_few")
def test_columns_of_samples_are_kept_and_others_not(monkeypatch):
    _, space, z, _, s = trained_on_many()
    error = F.normalize(torch.randn(len(s), N, generator=child(1, "e"), dtype=torch.float64) @ space.first.T, dim=1)
    rough = F.normalize(s[KNOWN:] + 0.03 * error[KNOWN:], dim=1)
    monkeypatch.setattr(with_inputs, "pairs_near", pairs_of(torch.cat([rough, error]), 0.9))
    cosine, of = found_with(z)
    assert len(of[of >= KNOWN].unique()) >= 8 and cosine.min() > 0.9
    assert len(of.unique()) == len(of)


@pytest.mark.usefixtures("however_few")
def test_columns_that_pairs_brought_have_a_turn_too(monkeypatch):
    _, space, z, y, s = trained_on_many()
    turns = []

    def columns_again(_, factored: ColumnSpace, columns: Columns, samples: Tensor, **__) -> tuple[Columns, ColumnSpace]:
        turns.append((len(columns), len(samples)))
        return columns, factored

    monkeypatch.setattr(with_inputs, "pairs_near", pairs_of(s[KNOWN:], 0.9))
    monkeypatch.setattr(with_inputs, "columns_again", columns_again)
    columns = more_columns(with_multipliers(space, s[:KNOWN]), z, y)
    assert turns[0] == (KNOWN, KNOWN) and turns[-1] == (len(columns), len(columns)) and len(columns) > KNOWN


@pytest.mark.usefixtures("however_few")
def test_pairs_that_are_met_at_few_neurons_bring_nothing(monkeypatch):
    """Null."""
    _, _, z, _, s = trained_on_many()
    monkeypatch.setattr(with_inputs, "pairs_near", pairs_of(s[KNOWN:], 0.4))
    assert not (found_with(z)[1] >= KNOWN).any()


@pytest.mark.usefixtures("however_few")
def test_candidates_that_know_nothing_bring_nothing():
    """Null, with the pairs that there are."""
    z = torch.randn(200, trained_on_many()[2].shape[1], generator=child(2, "nobody"), dtype=torch.float64)
    _, space, _, _, s = trained_on_many()
    known = with_multipliers(space, s[:KNOWN])
    columns = more_columns(known, 12 * F.normalize(z, dim=1), torch.arange(200) % CLASSES)
    assert (F.normalize(columns.s, dim=1) @ s.T).abs().amax(1).min() > 0.9


def test_where_samples_are_few_columns_stay_those_they_are(monkeypatch):
    monkeypatch.setattr(with_inputs, "pairs_near", pairs_of(trained_on_many()[-1][KNOWN:], 0.9))
    _, space, z, y, s = trained_on_many()
    known = with_multipliers(space, s[:KNOWN])
    columns = more_columns(known, z, y)
    cosine, of = (columns.s @ s.T).abs().max(1)
    assert (of == torch.arange(KNOWN)).all() and cosine.min() > 0.9
