"""Where the samples are that are not known yet: all others are there, and no known one."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.joint import Joint
from vestige.reconstruct.weights.remaining import Remaining
from vestige.reconstruct.weights.search_settings import SearchSettings
from vestige.reconstruct.weights.two_layer import solver
from vestige.reconstruct.weights.two_layer.columns import column_space, with_multipliers
from vestige.reconstruct.weights.zeros.layer import first_layer

N, R, H, KNOWN = 12, 16, 40, 5  # more than a quarter as many samples as neurons
NORM = 3.0


def draw(*shape: int, name: str) -> torch.Tensor:
    return torch.randn(*shape, generator=child(0, "remaining", name), dtype=torch.float64)


def network(has_bias: bool):
    """A first layer that is a sum of columns times samples; chain, samples, columns, and those of norm 1 in a basis."""
    x, s = draw(N, R, name="x"), draw(H, N, name="s")
    weight, bias = s @ x, s.sum(1) if has_bias else torch.zeros(H, dtype=torch.float64)
    weights, biases = (weight, draw(3, H, name="last")), (bias, torch.zeros(3, dtype=torch.float64))
    basis = torch.eye(R, dtype=torch.float64)
    chain = Chain(weights, biases, (has_bias, False), weights, biases, basis, weight.new_ones(1), N, True)
    layer = first_layer(chain)
    return chain, layer, x, s, F.normalize(layer.columns.T @ s, dim=0).T


def placed(rest: Remaining, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """t of the nearest points, and how far off they are."""
    t = (z - rest.start) @ rest.directions
    return t, (rest.start + t @ rest.directions.T - z).norm(dim=1)


@pytest.mark.parametrize("has_bias", [True, False])
def test_all_other_samples_are_there_and_no_known_one(has_bias):
    chain, layer, x, _, c = network(has_bias)
    rest = Remaining.of(chain, layer, c[:KNOWN], NORM, None)
    assert rest.directions.shape == (R, R - KNOWN)
    assert placed(rest, x[KNOWN:])[1].max() < 1e-9 < 0.1 < placed(rest, x[:KNOWN])[1].min()
    assert has_bias == (float(rest.start.norm()) > 1e-9)
    unrelated = F.normalize(draw(KNOWN, N, name="unrelated"), dim=1)
    assert placed(Remaining.of(chain, layer, unrelated, NORM, None), x[KNOWN:])[1].min() > 0.1


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("metric", [None, draw(R, R, name="metric")])
def test_the_network_on_t_is_the_network_on_z(has_bias, metric):
    chain, layer, x, s, c = network(has_bias)
    rest = Remaining.of(chain, layer, c[:KNOWN], NORM, metric)
    t, _ = placed(rest, x[KNOWN:])
    (weight, _), (bias, _) = rest.chain.weights, rest.chain.biases
    torch.testing.assert_close(t @ weight.T + bias, x[KNOWN:] @ chain.weights[0].T + chain.biases[0])
    q = torch.linalg.qr(s[:, :KNOWN])[0]  # the target is that of the others, but for what known columns span
    target = rest.chain.target_weights[0] - s[:, KNOWN:] @ t
    assert (target - q @ (q.T @ target)).abs().max() < 1e-9
    assert target.abs().max() > 0.1


def test_what_is_plausible_is_what_conditioning_leaves():
    """Oracle: mean and covariance of a Gaussian under linear equations, by the textbook."""
    chain, layer, _, _, c = network(True)
    metric = draw(R, R, name="metric")
    rest = Remaining.of(chain, layer, c[:KNOWN], NORM, metric)
    rows = (c[:KNOWN] / layer.values) @ layer.right
    covariance = NORM**2 * metric.T @ metric
    gain = covariance @ rows[:, :R].T @ torch.linalg.inv(rows[:, :R] @ covariance @ rows[:, :R].T)
    torch.testing.assert_close(rest.start, -gain @ rows[:, R])
    left = covariance - gain @ rows[:, :R] @ covariance
    assert rest.metric is not None
    root = NORM * rest.metric @ rest.directions.T
    torch.testing.assert_close(root.T @ root, left)


def test_a_search_for_t_is_one_for_z(monkeypatch):
    chain, layer, x, _, c = network(True)
    rest, seen = Remaining.of(chain, layer, c[:KNOWN], NORM, draw(R, R, name="metric")), []
    t, _ = placed(rest, x[KNOWN:])

    def search(self, chain, *, candidates):
        seen.append((self, chain, candidates))
        return Joint(t[None], t[None, :, :3], t.new_zeros(1, 2), 1, Outcome.BUDGET_SPENT)

    monkeypatch.setattr(SearchSettings, "search", search)
    low, high = torch.full((R,), -1.0).double(), torch.full((R,), 2.0).double()
    settings = SearchSettings(NORM, [1.0, 1.0], True, True, None, (low, high), 5, child(0, "search"))
    torch.testing.assert_close(rest.search(settings, candidates=3).z[0], x[KNOWN:])
    rest.search(replace(settings, box=None), candidates=3)
    (inner, searched, count), (free, _, _) = seen
    assert searched is rest.chain and inner.metric is rest.metric and count == 3 and inner.box is not None
    for bound, shifted in zip((low, high), inner.box, strict=True):
        torch.testing.assert_close(x[KNOWN:] - bound, t @ rest.chain.basis.T - shifted)
    assert free.box is None


def test_later_rounds_among_many_samples_look_where_the_others_are(monkeypatch):
    chain, _, _, s, c = network(True)
    space, seen = column_space(chain, zero_sum=False), []
    known = with_multipliers(space, s.T[:KNOWN])

    def search(self, chain, **options):
        z = torch.ones(1, 4, chain.basis.shape[1], dtype=torch.float64)
        seen.append((z.shape[2], options["known"] is not None))
        return Joint(z, z[:, :, :3], z.new_zeros(1, 2), 1, Outcome.BUDGET_SPENT)

    monkeypatch.setattr(SearchSettings, "search", search)
    monkeypatch.setattr(solver, "_fitted", lambda *_: known)
    monkeypatch.setattr(solver, "accepted", lambda columns, _: torch.ones(len(columns), dtype=torch.bool))
    monkeypatch.setattr(solver, "more_columns", lambda chain, space, columns, *_, **__: (columns, space))
    settings = SearchSettings(NORM, [1.0, 1.0], True, True, None, None, 5, child(0, "search"))
    rounds = solver.Rounds(space)
    for _ in range(2):
        solver._round(chain, settings, rounds, N, 1, None)
    assert seen == [(R, False), (R - KNOWN, True)]
    rest = Remaining.of(chain, first_layer(chain), c[:KNOWN], NORM, None)
    assert placed(rest, rounds.joints[1].z[0])[1].max() < 1e-9
