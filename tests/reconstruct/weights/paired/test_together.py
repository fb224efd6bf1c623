"""All samples of a small network at once: the step, the coordinates, the search where killed, and what is told."""

from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from interruption import Memory, until_it_ends
from torch import Tensor

import vestige as vg
from vestige.core.rng import child
from vestige.reconstruct.scoring.untrained import untrained_like
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.paired import together
from vestige.reconstruct.weights.paired.signals import signal_space
from vestige.reconstruct.weights.paired.together import (
    INPUTS,
    MEMBERS,
    NOISE,
    POPULATIONS,
    SPREAD,
    Equations,
    Guesses,
    agreed,
    equations,
    search_together,
    settled,
    solve_together,
)
from vestige.reconstruct.weights.zeros.layer import FirstLayer, first_layer


@cache
def _trained(n: int = 16, dim: int = 96, *, seed: int = 5000, trained: bool = True) -> tuple[Chain, Tensor]:
    """Gaussian vectors in two classes, and a network that did not draw all its neurons together."""
    x = torch.randn(n + 2000, dim, generator=child(seed, "isotropic"), dtype=torch.float32)[:n]
    start = vg.nets.mlp([dim, 400, 1], first_init=1e-3, generator=child(seed, "init"), dtype=torch.float32)
    model = vg.train_to_margin(start, x, torch.arange(n) % 2, loss="logistic", weight_decay=1e-3).model
    chain = span_chain(model if trained else untrained_like(model), None, torch.float64)
    assert chain is not None
    return chain, x.double()


@cache
def _given(metric: bool = False) -> tuple[Equations, FirstLayer, Chain, Tensor]:
    chain, x = _trained()
    layer = first_layer(chain)
    space = signal_space(chain, layer, 0)
    assert space is not None and len(layer.values) == len(x)
    r = chain.basis.shape[1]
    rows = torch.diag(torch.linspace(0.2, 1, r).double()) / r**0.5 if metric else None
    given = equations(chain, layer, space, rows, 9.0)
    assert given is not None
    return given, layer, chain, x


def _random(m: int, seed: int) -> Tensor:
    n = len(_given()[0].coupling)
    return F.normalize(torch.randn(m, n, n, generator=child(seed), dtype=torch.float64), dim=2)


def _true(given: Equations, layer: FirstLayer, chain: Chain, x: Tensor) -> Tensor:
    y = chain.augmented(x @ chain.basis) @ layer.right.T
    return F.normalize(torch.linalg.solve(given.natural, y, left=False), dim=1)[None]


def test_columns_and_inputs_give_the_weights():
    """(1): the sum of outer products is the first layer, for any inputs."""
    given, layer, _, _ = _given()
    y = _random(1, 1)[0]
    s = given.columns_of(y[None])[0] @ given.columns.T
    size = torch.linalg.lstsq(
        (s[:, :, None] * (y @ given.natural)[:, None]).flatten(1).T, _rows(given, layer).flatten()
    )
    made = (size.solution[:, None, None] * s[:, :, None] * (y @ given.natural)[:, None]).sum(0)
    assert torch.allclose(made, _rows(given, layer), atol=1e-9)


def _rows(given: Equations, layer: FirstLayer) -> Tensor:
    """A of the neurons that the equations are over, one of each direction."""
    unit = F.normalize(layer.slopes, dim=1)
    likeness = F.normalize(given.inputs @ torch.linalg.inv(given.natural).T, dim=1) @ unit.T
    assert (likeness.amax(1) > 1 - 1e-9).all() and len(likeness) == layer.directions
    return layer.slopes[likeness.argmax(1)]


def test_a_step_is_the_one_of_least_squares():
    """Against a dense Jacobian by automatic differentiation."""
    given = _given()[0]
    n, h = len(given.coupling), len(given.columns)
    y, s, u = _random(1, 2), _random(1, 3)[..., :1].expand(1, n, h) + _noise(n, h, 4), _noise(n, h, 5)
    length = (given.coupling @ torch.linalg.inv(y[0])).T.norm(dim=1, keepdim=True)

    def off(flat: Tensor) -> Tensor:
        at = flat.reshape(n, n)
        columns = (given.coupling @ torch.linalg.inv(at)).T / length
        return torch.cat(
            [(columns - s[0] @ given.columns).flatten(), INPUTS**0.5 * (at - u[0] @ given.inputs).flatten()]
        )

    jacobian = torch.func.jacrev(off)(y.flatten())
    change = torch.linalg.lstsq(jacobian, -off(y.flatten())[:, None]).solution.reshape(n, n)
    assert torch.allclose(given.nearer(y, s, u)[0], F.normalize(y[0] + change, dim=1), atol=1e-6)


def _noise(n: int, h: int, seed: int) -> Tensor:
    return torch.randn(1, n, h, generator=child(seed), dtype=torch.float64)


@pytest.mark.parametrize("metric", [False, True])
def test_plausible_inputs_are_isotropic_in_even_coordinates(metric):
    given, layer, chain, _ = _given(metric)
    r = chain.basis.shape[1]
    v = torch.randn(40_000, r, generator=child(6), dtype=torch.float64)
    z = 9.0 * v / r**0.5 * (torch.linspace(0.2, 1, r).double() if metric else 1)
    y = torch.linalg.solve(given.natural, chain.augmented(z) @ layer.right.T, left=False) @ given.even
    moment = y.T @ y / len(y)
    assert (moment / moment.diagonal().mean() - torch.eye(len(moment))).abs().max() < 0.05


def test_inputs_are_kept_apart_and_left_alone_where_they_are():
    given = _given()[0]
    y = _random(8, 7)
    y[:, 1] = F.normalize(y[:, 0] + 1e-3 * y[:, 1], dim=1)
    before, after = (torch.linalg.svdvals(F.normalize(part @ given.even, dim=2)) for part in (y, given.apart(y)))
    assert (before.amin(1) < 0.05).all() and (after.amin(1) > 0.7 * SPREAD).all()
    orthogonal = given.from_even(torch.linalg.qr(_random(8, 8))[0])
    assert torch.allclose(given.apart(orthogonal), orthogonal)


def test_true_samples_meet_the_equations_and_others_do_not():
    """Null: as many vectors of nobody."""
    given, layer, chain, x = _given()
    true = _true(given, layer, chain, x)
    kept = settled(given, true, 60)
    assert ((kept.y * true).sum(2) > 0.95).all()
    assert float(kept.gap.sum()) < 0.3 * float(settled(given, _random(16, 9), 60).gap.sum(1).min())


def test_a_change_is_noise_of_some_length_or_samples_of_the_same_population():
    given = _given()[0]
    n, m = len(given.coupling), POPULATIONS * MEMBERS
    at = Guesses(_random(m, 10), torch.rand(m, n, generator=child(11), dtype=torch.float64))
    changed = together._changed(given, at, child(12))
    moved = (changed - at.y).norm(dim=2)
    taken = (changed[:, :, None, None] - at.y).norm(dim=4) < 1e-9  # of whom each sample is
    other = taken.any(3).double().argmax(2)
    copies = taken.any(3).any(2) & (moved > 1e-9)
    assert (
        copies.any() and (other[copies] // MEMBERS == (torch.arange(m)[:, None] // MEMBERS).expand(m, n)[copies]).all()
    )
    noisy = (moved > 1e-9).all(1) & ~copies.any(1)
    assert noisy.sum() > m / 3 and moved[noisy].mean() < max(NOISE)
    assert (copies.sum(1) <= max(together.TAKEN)).all() and not (noisy & copies.any(1)).any()


def test_better_guesses_replace_worse_ones_and_the_worst_become_copies():
    n, m = 3, POPULATIONS * MEMBERS
    gap = torch.arange(m, dtype=torch.float64)[:, None].expand(m, n)
    at, other = Guesses(torch.zeros(m, n, n).double(), gap), Guesses(torch.ones(m, n, n).double(), gap.flip(0))
    better = at.where_better(other)
    assert (better.gap[:, 0] == torch.minimum(gap, gap.flip(0))[:, 0]).all()
    assert (better.y[:, 0, 0] == (gap.flip(0) < gap)[:, 0]).all()
    renewed = together._renewed(at).gap[:, 0].reshape(POPULATIONS, MEMBERS)
    expected = [*range(MEMBERS - 2), 0, 1]
    assert all(row.sort().values.tolist() == sorted(k * MEMBERS + e for e in expected) for k, row in enumerate(renewed))


def test_samples_of_several_populations_come_first_and_once():
    """Each other population has orthogonal ones of its own; what only one has is told of the best alone."""
    given = _given()[0]
    n = len(given.coupling)
    y = given.from_even(torch.linalg.qr(_random(4, 13))[0])
    y[1, 3], y[2, 0], y[3, 1], y[3, 5] = y[0, 2], y[0, 2], -y[0, 4], y[2, 6]
    which, others = agreed(given, Guesses(y, torch.zeros(4, n)))
    assert which.tolist() == [2, 2 * n + 6, *(k for k in range(n) if k != 2)]
    assert others.tolist() == [2, 1] + [0] * (n - 1)


def test_a_search_improves_and_goes_on_where_it_was(monkeypatch):
    given, layer, chain, x = _given()
    monkeypatch.setattr(together, "ROUNDS", 0)
    start = search_together(given, generator=child(14))
    monkeypatch.setattr(together, "ROUNDS", 4)
    steps = []
    whole = search_together(given, generator=child(14), on_step=steps.append)
    assert (whole.gap.sum(1) < start.gap.sum(1)).all() and (whole.gap.sum(1).diff() >= 0).all()
    assert [s.index for s in steps] == [*range(1, 5)] and steps[-1].value == float(whole.gap[0].sum())
    true = _true(given, layer, chain, x)[0]
    found = [int(((y @ true.T).amax(0) > 0.9).sum()) for y in (whole.y[0], _random(1, 15)[0])]
    assert found[0] > 2 >= found[1]

    def attack(memory: Memory) -> Guesses:
        return search_together(given, generator=child(14), checkpoint=memory)

    resumed, kills = until_it_ends(attack, every=3)
    assert kills >= 1 and resumed is not None and torch.equal(resumed.y, whole.y)


def test_networks_of_few_samples_many_or_few_neurons_are_left_to_others(monkeypatch):
    monkeypatch.setattr(together, "ROUNDS", 1)
    chain, x = _trained()
    told = {"sample_norm": 9.0, "metric": None, "generator": child(0)}
    assert solve_together(chain, **told) is not None
    assert solve_together(replace(chain, clear=False), **told) is None
    second = torch.cat([chain.target_weights[1], chain.target_weights[1].flip(1)])
    assert solve_together(replace(chain, target_weights=(chain.target_weights[0], second)), **told) is None
    for bound, value in (("FEWEST", len(x) + 1), ("MOST", len(x) - 1)):
        with monkeypatch.context() as patched:
            patched.setattr(together, bound, value)
            assert solve_together(chain, **told) is None


def test_directions_that_do_not_span_the_columns_give_no_equations():
    _, layer, chain, _ = _given()
    space = signal_space(chain, layer, 0)
    assert space is not None
    columns = torch.cat([layer.columns[:, :-1], layer.columns[:, :1]], 1)
    assert equations(chain, replace(layer, columns=columns), space, None, 9.0) is None


@pytest.mark.slow
@pytest.mark.parametrize(("n", "dim", "seed", "least"), [(16, 96, 5000, 10), (20, 128, 5002, 12)])
def test_most_samples_of_isotropic_data_come_back(n, dim, seed, least):
    chain, x = _trained(n, dim, seed=seed)
    found = solve_together(chain, sample_norm=float(x.norm(dim=1).mean()), metric=None, generator=child(5))
    assert found is not None
    cosine, of = (F.normalize(found.z @ chain.basis.T, dim=1) @ F.normalize(x, dim=1).T).max(1)
    assert len(of[cosine > 0.9].unique()) >= least
    sure = found.confidence >= 0.8
    assert sure.sum() >= 3 and (cosine[sure] > 0.8).double().mean() > 0.8
    right = (found.multipliers[:, 0] > 0) == (of % 2 > 0)
    assert right[cosine > 0.9].all()


def test_an_untrained_network_meets_no_equations(monkeypatch):
    """Null: the same singular values, no data. Its populations agree by chance, and far from the equations."""
    monkeypatch.setattr(together, "ROUNDS", 1)
    for trained in (True, False):
        chain, _ = _trained(trained=trained)
        found = solve_together(chain, sample_norm=9.0, metric=None, generator=child(5))
        assert (found is not None) == trained
