"""Columns that a second layer confirms: all of them from rough gates, none with another second layer."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.solve_chain import _enough
from vestige.reconstruct.weights.two_layer.columns import column_space, fit_columns, with_multipliers
from vestige.reconstruct.weights.two_layer.many_samples import samples_of_some
from vestige.reconstruct.weights.zeros.confirmed import confirmed_columns
from vestige.reconstruct.weights.zeros.layer import first_layer
from vestige.reconstruct.weights.zeros.solver import ByZeros, solve_by_zeros

N, R, H, C, MANY = 10, 120, 300, 4, 4000


def draw(*shape: int, name: str) -> torch.Tensor:
    return torch.randn(*shape, generator=child(0, "confirmed", name), dtype=torch.float64)


def chain_of(first: torch.Tensor, last: torch.Tensor) -> Chain:
    weights, biases = (first[:, :-1], last), (first[:, -1], torch.zeros(len(last), dtype=torch.float64))
    return Chain(weights, biases, (True, False), weights, biases, torch.eye(R).double(), first.new_ones(1), N, True)


@pytest.fixture(scope="module")
def stationary():
    """Open gates are V^T l but for a hundredth, at neurons that their own samples open; chain, samples, columns."""
    x = draw(N, R, name="x")
    x = torch.cat([x - x.mean(0), torch.ones(N, 1, dtype=torch.float64)], 1)
    multipliers, last = draw(N, C, name="multipliers").abs(), draw(C, MANY, name="last").abs()
    gates = draw(MANY, N, name="gates") > 0
    s = gates * (last.T @ multipliers.T) * (1 + 0.003 * draw(MANY, N, name="unfinished"))
    agree = ((s @ x @ x.T > 0) == gates).all(1) & (gates.sum(1) > 1)  # centered samples close each other's neurons
    s, last = s[agree][:H], last[:, agree][:, :H]
    assert len(s) == H
    return chain_of(s @ x, last), x, s


def rough_gates(s: torch.Tensor, wrong: float, seed: int = 0) -> torch.Tensor:
    flip = torch.rand(s.T.shape, generator=child(seed, "flip"), dtype=torch.float64) < wrong
    return torch.where(flip, -1.0, 1.0) * ((s.T != 0).double() - 0.5)


def overlaps(found: torch.Tensor, chain: Chain, s: torch.Tensor) -> torch.Tensor:
    true = F.normalize(first_layer(chain).columns.T @ s, dim=0)
    return (found @ true).abs()


def test_all_columns_come_exactly_from_gates_of_which_an_eighth_is_wrong(stationary):
    chain, _, s = stationary
    layer, space = first_layer(chain), column_space(chain, zero_sum=False)
    found = confirmed_columns(layer, space, rough_gates(s, 0.125), generator=child(0, "power"))
    near = overlaps(found, chain, s)
    assert (near.amax(0) > 1 - 1e-8).sum() >= N - 1  # zeros are exact where open gates are not
    assert near.amax(1).min() > 1 - 1e-8  # and nothing else is confirmed


def test_the_second_fit_finds_more_than_the_first(stationary):
    """From gates of which a third or a quarter is wrong, over several draws."""
    chain, _, s = stationary
    layer, space = first_layer(chain), column_space(chain, zero_sum=False)
    once = twice = 0
    for wrong, seed in ((0.28, 9), (0.3, 1), (0.3, 9), (0.32, 4), (0.32, 9)):
        gates = rough_gates(s, wrong, seed)
        first = fit_columns(space, gates, generator=child(0, "power"))
        once += int((overlaps(F.normalize(first.s @ layer.columns, dim=1), chain, s).amax(0) > 0.9999).sum())
        found = confirmed_columns(layer, space, gates, generator=child(0, "power"))
        twice += int((overlaps(found, chain, s).amax(0) > 0.9999).sum())
    assert twice >= once + 3


def test_another_second_layer_confirms_nothing(stationary):
    """Null: of the same size, drawn anew; gates that no sample has; and gates that are nearly all lost."""
    chain, _, s = stationary
    other = replace(chain, weights=(chain.weights[0], draw(C, H, name="other")))
    layer = first_layer(chain)
    lost = rough_gates(s.repeat(1, 6), 0.4, 1)
    for source, gates in ((other, rough_gates(s, 0.125)), (chain, draw(N, H, name="none")), (chain, lost)):
        space = column_space(source, zero_sum=False)
        assert not len(confirmed_columns(layer, space, gates, generator=child(0, "power")))


def test_a_search_that_sees_half_of_the_samples_is_enough(stationary):
    chain, x, _ = stationary
    asked = []

    def search(known, generator, checkpoint):
        asked.append(known)
        few = x[: N // 2] if not known.shape[1] else x  # the first search sees one half of the samples
        return few[:, :-1] + 0.1 * torch.randn(len(few), R, generator=generator, dtype=torch.float64)

    found = solve_by_zeros(chain, sample_norm=R**0.5, metric=None, box=None, generator=child(0, "solve"), search=search)
    assert len(found.z) == N and len(asked) >= 1 and asked[0].shape == (H, 0)
    assert torch.cdist(x[:, :-1], found.z).amin(1).max() < 1e-4


def test_a_search_leaves_out_the_span_of_the_known_columns(stationary):
    chain, _, s = stationary
    layer = first_layer(chain)
    c = F.normalize(layer.columns.T @ s[layer.alive], dim=0).T[: N // 2]
    known = column_space(chain, zero_sum=False).orthonormal(c @ layer.columns.T)
    torch.testing.assert_close(known.T @ known, torch.eye(N // 2, dtype=torch.float64))
    torch.testing.assert_close(known @ (known.T @ s[:, : N // 2]), s[:, : N // 2])


class Memory:
    """A checkpoint that keeps every state."""

    def __init__(self, state=None):
        self.states = [] if state is None else [state]

    def save(self, tensors):
        self.states.append({name: tensor.clone() for name, tensor in tensors.items()})

    def load(self):
        return self.states[-1] if self.states else None


def test_a_killed_search_goes_on_from_its_own_state(stationary):
    chain, x, _ = stationary

    def solve(checkpoint, seen):
        def search(known, generator, part):
            seen.append(None if part.load() is None else part.load()["step"])
            part.save({"step": torch.tensor(7)})
            return x[: N // 2, :-1] if not known.shape[1] else x[:, :-1]

        common = {"sample_norm": R**0.5, "metric": None, "box": None, "generator": child(0, "solve")}
        return solve_by_zeros(chain, **common, search=search, checkpoint=checkpoint)

    whole, first = Memory(), []
    end = solve(whole, first)
    assert first[0] is None
    again = []
    resumed = solve(Memory(whole.states[0]), again)  # killed in the first search
    assert again[0] == 7 and torch.equal(resumed.z, end.z)
    resumed = solve(Memory(whole.states[1]), [])  # and after the first round
    assert torch.equal(resumed.z, end.z)


@pytest.mark.parametrize(
    ("layers", "rank", "found", "confirmed", "verified", "enough"),
    [
        (3, 20, 18, 18, 0, True),  # of deep networks 90 %
        (3, 20, 17, 17, 17, False),
        (2, 20, 20, 0, 5, True),  # of few in two layers all, and a quarter verified
        (2, 20, 20, 20, 4, False),
        (2, 20, 19, 19, 19, False),
        (2, 60, 31, 30, 0, True),  # of many half, which the second layer confirms
        (2, 60, 60, 29, 60, False),
    ],
)
def test_samples_follow_from_enough_columns_only(stationary, layers, rank, found, confirmed, verified, enough):
    first, last = stationary[0].weights
    chain = replace(stationary[0], weights=(*[first] * (layers - 1), last), rank=rank)
    z, sure = torch.zeros(found, 3), torch.arange(found) < verified
    assert _enough(ByZeros(z, z, z[:, 0], sure, confirmed, {}, 0, Outcome.STAGNATED), chain) == enough


def test_samples_follow_from_gates_the_other_columns_and_a_candidate(stationary):
    """Each of the three tells something: without one of them samples are less alike. Null: gates of other samples."""
    chain, x, s = stationary
    span = torch.linalg.svd(chain.weights[0], full_matrices=False)[2][: N - 1].T
    inside = (chain.weights[0] @ span, *chain.weights[1:])
    chain = replace(chain, basis=span, weights=inside, target_weights=inside)
    samples, space = x[: N // 2, :-1] @ span, column_space(chain, zero_sum=False)
    columns = with_multipliers(space, s.T[: N // 2])
    near = samples + 0.2 * draw(N // 2, N - 1, name="near")
    candidates = R**0.5 * F.normalize(torch.cat([draw(20, N - 1, name="unrelated"), near]), dim=1)

    def alike(columns, candidates):
        z, multipliers, similar = samples_of_some(chain, space, columns, candidates, R**0.5, None)
        return F.cosine_similarity(z, samples), multipliers, similar

    found, multipliers, similar = alike(columns, candidates)
    assert found.min() > 0.98 and similar.min() > 0.95
    last = chain.weights[1][:, first_layer(chain).alive]
    told = F.cosine_similarity(multipliers @ last, columns.full)
    assert told.min() > 0.99  # V^T l of the multipliers is what the columns say
    assert alike(columns, candidates[:20])[0].min() < found.min() - 0.002
    alone = [
        samples_of_some(chain, space, columns[torch.tensor([k])], candidates, R**0.5, None)[0] for k in range(N // 2)
    ]
    assert F.cosine_similarity(torch.cat(alone), samples).mean() < found.mean() - 0.002
    shuffled = columns[torch.arange(N // 2).roll(1)]
    assert alike(shuffled, candidates)[0].max() < 0.6
