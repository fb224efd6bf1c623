"""Columns by zeros: exact where a first layer is stationary by construction, nothing where there is none to find."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.nets.fully_connected import mlp
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.two_layer.numerical_rank import numerical_rank
from vestige.reconstruct.weights.two_layer.posterior_mean import input_from_gates
from vestige.reconstruct.weights.zeros.activations import activation_space, near_activations
from vestige.reconstruct.weights.zeros.halfspace import parting_inputs, separable
from vestige.reconstruct.weights.zeros.layer import FirstLayer, first_layer
from vestige.reconstruct.weights.zeros.samples import agreement, inputs_of, likely_samples, multipliers_of
from vestige.reconstruct.weights.zeros.solver import PARTED, _checked, is_sparse, solve_by_zeros
from vestige.reconstruct.weights.zeros.span import independent, span_of_others
from vestige.reconstruct.weights.zeros.sparse import columns_of, sharpened, trimmed_columns

N, R, H, OUT = 8, 96, 240, 3


def draw(*shape: int, name: str) -> torch.Tensor:
    return torch.randn(*shape, generator=child(0, "zeros", name), dtype=torch.float64)


def chain_of(first: torch.Tensor, *later: torch.Tensor) -> Chain:
    singular = torch.linalg.svdvals(first)
    rank, clear = numerical_rank(torch.cat([singular, 1e-9 * singular[:1]]))
    weights = (first[:, :-1], *later)
    biases = (first[:, -1], *(w.new_zeros(len(w)) for w in later))
    return Chain(
        weights=weights,
        biases=biases,
        has_bias=(True, *(False for _ in later)),
        target_weights=weights,
        target_biases=biases,
        basis=torch.eye(R, dtype=first.dtype),
        singular_values=singular,
        rank=rank,
        clear=clear,
    )


@pytest.fixture(scope="module")
def stationary():
    """Neurons that are sums of the samples they open: gates and columns agree, in both layers; samples and columns."""
    x = draw(N, R, name="x")
    x = torch.cat([x - x.mean(0), torch.ones(N, 1, dtype=torch.float64)], 1)
    gates = draw(4 * H, N, name="gates") > 0
    s = gates * (0.5 + draw(4 * H, N, name="strength").abs())
    agree = ((s @ x @ x.T > 0) == gates).all(1) & (gates.sum(1) > 1)  # centered samples close each other's neurons
    s, first = s[agree][:H], (s @ x)[agree][:H]
    assert len(first) == H
    second = draw(H, N, name="second") @ (x @ first.T).relu()
    return chain_of(first, second, draw(OUT, H, name="last")), x, s


def solve(chain: Chain, seed: int = 0):
    return solve_by_zeros(chain, sample_norm=R**0.5, metric=None, box=None, generator=child(seed, "solve"))


def errors(z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Distance of each sample to the nearest solution, over its length."""
    return torch.cdist(x[:, :-1], z).min(1).values / x[:, :-1].norm(dim=1)


@pytest.mark.parametrize("layers", [2, 3])
def test_recovers_every_sample_of_a_stationary_first_layer_exactly(stationary, layers):
    chain, x, _ = stationary
    if layers == 2:  # nothing above the first layer helps: zeros alone
        chain = chain_of(chain.first_augmented(), draw(OUT, H, name="last"))
    assert is_sparse(chain)
    found = solve(chain)
    assert found.outcome is Outcome.CONVERGED and len(found.z) == N
    assert errors(found.z, x).max() < 1e-5
    if layers == 3:
        assert found.verified.all() and found.confidence.min() > 0.98
    else:  # no output layer sent these columns back: nothing is claimed
        assert not found.verified.any() and found.confidence.max() == 0
    assert found.residual["layer 1"] < 1e-9


def test_finds_nothing_in_random_weights(stationary):
    first = draw(H, N, name="columns") @ draw(N, R + 1, name="x")
    chain = chain_of(first, draw(H, N, name="second") @ draw(N, H, name="rows"), stationary[0].weights[2])
    found = solve(chain)
    assert len(found.z) == 0 and found.outcome is Outcome.STAGNATED
    assert found.residual["layer 1"] == pytest.approx(1.0)


def test_an_untrained_network_is_not_searched():
    chain = span_chain(mlp([20, 100, 30, 2], generator=child(0, "init"), dtype=torch.float64), None, torch.float64)
    assert chain is not None and not is_sparse(chain)


def test_many_samples_for_the_neurons_are_not_searched(stationary):
    chain = stationary[0]
    assert not is_sparse(replace(chain, rank=H // 3)) and not is_sparse(replace(chain, clear=False))


def test_permuted_neurons_and_scales_between_layers_change_nothing(stationary):
    chain, x, _ = stationary
    order, scale = torch.randperm(H, generator=child(3, "order")), 7.0
    first, second = scale * chain.first_augmented()[order], chain.weights[1][:, order] / scale
    found = solve(chain_of(first, second, chain.weights[2]))
    assert len(found.z) == N and errors(found.z, x).max() < 1e-5


def test_a_start_near_a_sample_gives_its_column_and_its_input(stationary):
    chain, x, s = stationary
    layer, y = first_layer(chain), x @ first_layer(chain).right.T
    space = activation_space(chain, layer)
    assert space is not None and space.shape == (H, N)
    near = y + 0.2 * y.norm(dim=1, keepdim=True) * F.normalize(draw(N, N, name="near"), dim=1)
    cosine = F.cosine_similarity(near_activations(layer.slopes, space, near), y)
    assert (cosine > 1 - 1e-9).sum() >= N - 2
    truth = F.normalize(layer.columns.T @ s, dim=0)
    for columns in (columns_of(layer, y), trimmed_columns(layer, y @ layer.slopes.T / layer.slopes.norm(dim=1))):
        assert ((columns * truth.T).sum(1).abs() > 1 - 1e-6).sum() >= N - 2


def test_one_hyperplane_parts_the_zeros_of_a_sample_and_not_those_of_a_mixture(stationary):
    chain, _, s = stationary
    layer = first_layer(chain)
    assert separable(layer, (s == 0).T).min() > 0.995
    cancel = ((s[:, 0] == 0) == (s[:, 1] == 0))[None]  # as in the difference of two equal columns
    chance = torch.rand(4, H, generator=child(5, "chance")) < 0.5
    assert separable(layer, torch.cat([cancel, chance])).max() < PARTED


def flat(rows: torch.Tensor) -> FirstLayer:
    """A layer of these rows, all different, without a bias."""
    left, values, right = torch.linalg.svd(rows, full_matrices=False)
    n, h = int(torch.linalg.matrix_rank(rows)), len(rows)
    left, values, right = left[:, :n], values[:n], right[:n]
    return FirstLayer(left, values, right, False, torch.full((h,), 1 / h).to(rows), h, torch.ones(h, dtype=torch.bool))


def test_the_hyperplane_is_found_where_whole_newton_steps_run_away():
    layer = flat(draw(120, 40, name="points"))
    side = (F.normalize(layer.slopes, dim=1) @ draw(40, 400, name="normals") < 0).T
    flipped = torch.rand(side.shape, generator=child(0, "zeros", "flipped")) < 0.1
    assert (separable(layer, side ^ flipped) > 1 - flipped.double().mean(1) - 0.1).all()
    assert separable(layer, side).min() > 0.99


def test_the_zeros_of_a_column_tell_a_rough_sample(stationary):
    chain, x, s = stationary
    layer, y = first_layer(chain), x @ first_layer(chain).right.T
    near = parting_inputs(layer, (s == 0).T)
    assert F.cosine_similarity(near, y).min() > 0.8
    span = span_of_others(layer, F.normalize(layer.columns.T @ s, dim=0).T[:5])
    within = parting_inputs(layer, (s == 0).T[5:], span)
    torch.testing.assert_close(within @ span @ span.T, within)
    assert (F.cosine_similarity(within, y[5:]) > F.cosine_similarity(near[5:], y[5:])).all()


def test_sharpening_forgets_closed_neurons_at_which_the_column_does_not_vanish():
    n = 60
    s = draw(H, n, name="open") * (torch.rand(H, n, generator=child(0, "zeros", "gates")) < 0.6)
    layer = flat(s @ draw(n, R, name="inputs"))
    truth = F.normalize(layer.columns.T @ s, dim=0).T
    closed = (s == 0).T | (torch.rand(n, H, generator=child(0, "zeros", "kinks")) < 0.05)
    rough = F.normalize(truth + 0.2 * F.normalize(draw(n, n, name="noise"), dim=1), dim=1)

    def found(where: torch.Tensor) -> int:
        return int(((sharpened(layer, rough, where) * truth).sum(1).abs() > 1 - 1e-6).sum())

    assert found(closed) == n
    assert found(torch.ones_like(closed)) < n / 2  # small entries of open neurons attract what was nearly right


def test_the_samples_not_known_yet_span_a_known_subspace(stationary):
    chain, x, s = stationary
    layer = first_layer(chain)
    c, y = F.normalize(layer.columns.T @ s, dim=0).T, x @ layer.right.T
    span = span_of_others(layer, c[:5])
    assert span.shape == (N, N - 5)
    torch.testing.assert_close(y[5:] @ span @ span.T, y[5:])
    assert (F.normalize(y[:5], dim=1) @ span).norm(dim=1).max() < 0.999


def test_mixtures_of_columns_with_more_zeros_are_dropped(stationary):
    chain, _, s = stationary
    layer = first_layer(chain)
    c = F.normalize(layer.columns.T @ s, dim=0).T
    mixed = F.normalize(torch.stack([c[0] + c[1], c[0] - 0.5 * c[2]]), dim=1)
    assert sorted(independent(layer, torch.cat([mixed, c[:3]])).tolist()) == [2, 3, 4]


def test_columns_of_single_samples_are_kept_and_mixtures_are_not(stationary):
    chain, _, s = stationary
    layer = first_layer(chain)
    c = F.normalize(layer.columns.T @ s, dim=0).T
    mixed = F.normalize(torch.stack([c[0] + c[1], c[2] - c[3], c[4] + c[5] + c[6]]), dim=1)
    assert len(_checked(layer, mixed)) == 0
    assert len(_checked(layer, torch.cat([mixed, c]))) == N


def columns_and_layer(chain, s):
    layer = first_layer(chain)
    sign = (-1.0) ** torch.arange(N)[:, None]  # a singular vector has none
    return sign * F.normalize(layer.columns.T @ s, dim=0).T, layer


def test_inputs_follow_from_all_columns(stationary):
    chain, x, s = stationary
    c, layer = columns_and_layer(chain, s)
    y = inputs_of(layer, c)
    assert agreement(layer, c, y).min() > 0.98
    assert agreement(layer, c, -y).max() < 0.1
    assert F.cosine_similarity(y, x @ layer.right.T).min() > 1 - 1e-9


@pytest.mark.parametrize("known", [N - 1, N // 2])
def test_likely_samples_follow_from_gates_and_the_other_columns(stationary, known):
    chain, x, s = stationary
    span = torch.linalg.svd(chain.weights[0], full_matrices=False)[2][:N].T
    chain = replace(chain, basis=span, weights=(chain.weights[0] @ span, *chain.weights[1:]))
    chain = replace(chain, target_weights=chain.weights)
    c, layer = columns_and_layer(chain, s)
    x, c = x[:known, :-1] @ span, c[:known]
    found, similar = likely_samples(chain, layer, c, R**0.5, None)
    assert F.cosine_similarity(found, x).min() > 0.99 and similar.min() > 0.9
    of_others, _ = likely_samples(chain, layer, c.roll(1, 0), R**0.5, None)
    assert F.cosine_similarity(of_others, x).max() < 0.5
    gates, brightness = torch.zeros(known, H).to(c), span.mean(0) * R**0.5
    gates[:, layer.alive] = 1.0 - 2.0 * layer.vanishes(c).to(c)
    alone, unsure = input_from_gates(chain.weights[0], chain.biases[0], gates, None, None, brightness, length=R**0.5)
    assert F.cosine_similarity(alone, x).mean() < F.cosine_similarity(found, x).mean()
    assert unsure.mean() < similar.mean()


def test_multipliers_are_those_of_the_last_layer(stationary):
    chain, x, _ = stationary
    multipliers = draw(N, OUT, name="multipliers")
    hidden = ((x @ chain.first_augmented().T).relu() @ chain.weights[1].T).relu()
    last = multipliers.T @ hidden
    found = multipliers_of(chain_of(chain.first_augmented(), chain.weights[1], last), x[:, :-1])
    torch.testing.assert_close(found, multipliers)
