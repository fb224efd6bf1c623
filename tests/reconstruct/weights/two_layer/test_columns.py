"""Single columns: found from rough gates where equation (1) holds exactly, and never in a random network."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.joint import Joint
from vestige.reconstruct.weights.two_layer.columns import (
    Columns,
    accepted,
    column_space,
    distinct,
    fit_columns,
    measured,
    on_kinks,
    with_multipliers,
)
from vestige.reconstruct.weights.two_layer.factors import with_factors
from vestige.reconstruct.weights.two_layer.numerical_rank import numerical_rank
from vestige.reconstruct.weights.two_layer.solver import Rounds, _or_candidates, _samples, agreement

N, R, H, C = 8, 7, 300, 4


def chain_of(first: torch.Tensor, bias: torch.Tensor, last: torch.Tensor) -> Chain:
    singular = torch.linalg.svdvals(torch.cat([first, bias[:, None]], 1))
    return Chain(
        weights=(first, last),
        biases=(bias, torch.zeros(len(last))),
        has_bias=(True, False),
        target_weights=(first, last),
        target_biases=(bias, torch.zeros(len(last))),
        basis=torch.eye(first.shape[1]),
        singular_values=singular,
        rank=numerical_rank(singular)[0],
        clear=True,
    )


@pytest.fixture(scope="module")
def stationary():
    """A first layer that is exactly sum_i s_i [x_i 1]^T with gates drawn at random."""
    g = child(0, "columns")
    x = torch.randn(N, R, generator=g, dtype=torch.float64)
    last = torch.randn(C, H, generator=g, dtype=torch.float64)
    multipliers = torch.randn(N, C, generator=g, dtype=torch.float64)
    multipliers = multipliers - multipliers.mean(1, keepdim=True)
    gates = (torch.rand(N, H, generator=g, dtype=torch.float64) < 0.5).double()
    s = gates * (multipliers @ last)
    layer = s.T @ torch.cat([x, torch.ones(N, 1, dtype=torch.float64)], 1)
    return chain_of(layer[:, :-1], layer[:, -1], last), s, gates


def rough(gates: torch.Tensor, wrong: float) -> torch.Tensor:
    flip = torch.rand(gates.shape, generator=child(1, "flip"), dtype=torch.float64) < wrong
    return torch.where(flip, 1 - gates, gates) - 0.5


def test_columns_are_found_exactly_from_gates_of_which_a_tenth_is_wrong(stationary):
    chain, s, gates = stationary
    space = column_space(chain, zero_sum=True)
    found = fit_columns(space, rough(gates, 0.1), generator=child(2, "power"))
    overlap = (found.s * F.normalize(s[:, space.alive], dim=1)).sum(1).abs()
    assert (overlap > 1 - 1e-6).sum() >= N - 1
    assert torch.equal(accepted(found, space), overlap > 1 - 1e-6)


def test_multipliers_that_sum_to_zero_leave_one_dimension_less(stationary):
    """V^T l for l without a mean, and nothing else: V^T 1 is not among them."""
    chain, _, _ = stationary
    spaces = [column_space(chain, zero_sum=zero) for zero in (True, False)]
    last, (less, all_of_it) = chain.weights[1][:, spaces[0].alive].double(), (space.output for space in spaces)
    assert less.shape[1] == C - 1 and all_of_it.shape[1] == C
    centered = last - last.mean(0)
    torch.testing.assert_close(centered @ less @ less.T, centered)
    assert F.cosine_similarity(last.sum(0) @ less @ less.T, last.sum(0), dim=0) < 0.5


def test_a_random_network_has_no_column(stationary):
    """Null: the same sizes and gates, weights that no training made."""
    _, _, gates = stationary
    g = child(3, "null")
    first = torch.randn(H, R, generator=g, dtype=torch.float64)
    bias, last = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((H,), (C, H)))
    space = column_space(chain_of(first, bias, last), zero_sum=True)
    found = fit_columns(space, rough(gates, 0.1), generator=child(2, "power"))
    assert not accepted(found, space).any()


def test_multipliers_are_what_most_open_neurons_agree_on(stationary):
    chain = stationary[0]
    space = column_space(chain, zero_sum=False)
    full = torch.randn(4, space.output.shape[1], generator=child(0, "full"), dtype=torch.float64) @ space.output.T
    draw = torch.rand(full.shape, generator=child(0, "gates"), dtype=torch.float64)
    s = full * torch.where(draw < 0.4, 0.0, torch.where(draw < 0.8, 1.0, (draw - 0.8) / 0.2))
    found = with_multipliers(space, s)
    scale = s.norm(dim=1, keepdim=True)
    plain = [torch.linalg.lstsq(space.output[row != 0], row[row != 0]).solution @ space.output.T for row in s]
    off, plainly = ((f - full).norm() / full.norm() for f in (found.full * scale, torch.stack(plain)))
    assert off < 0.02 and plainly > 0.1
    assert (found.exact > 0.65).all()
    kinks = with_multipliers(space, full * draw)  # no gate is open: nothing to agree on
    assert (kinks.exact < 0.5).all()


def test_near_copies_are_one_column(stationary):
    chain, _, gates = stationary
    twice = torch.cat([rough(gates, 0.05), rough(gates, 0.1)])
    found = fit_columns(column_space(chain, zero_sum=True), twice, generator=child(2, "power"))
    right = found[accepted(found, column_space(chain, zero_sum=True))]
    assert N <= len(right) <= 2 * N
    assert N - 1 <= len(distinct(right)) <= N


def test_a_shuffled_sample_does_not_agree_with_its_column(stationary):
    """Null of the second check: gates that the pre-activations do not have."""
    chain, _, gates = stationary
    space = column_space(chain, zero_sum=True)
    found = fit_columns(space, rough(gates, 0.1), generator=child(2, "power"))
    z = torch.randn(N, R, generator=child(4, "z"), dtype=torch.float64)
    assert agreement(chain, space, found, z).max() < 0.75


def test_a_candidate_that_agrees_far_better_takes_the_place_of_a_blurred_sample(stationary):
    """Null: where least squares agrees as well, it stays, whatever the candidates."""
    chain, _, _ = stationary
    space = column_space(chain, zero_sum=True)
    z, error = torch.randn(2, N, R, generator=child(5, "samples"), dtype=torch.float64)
    full = torch.randn(N, H, generator=child(6, "full"), dtype=torch.float64)[:, space.alive]
    gates = (z @ chain.weights[0].T + chain.biases[0])[:, space.alive] > 0
    columns = measured(gates * full, full)
    blurred = z + 2 * error
    for least_squares, candidates in ((blurred, z), (z, blurred)):
        joint = Joint(candidates.flip(0)[None], torch.zeros(1, N, C), torch.zeros(1, 2), 1, Outcome.BUDGET_SPENT)
        agrees = agreement(chain, space, columns, least_squares).diagonal()
        rounds = Rounds(space, columns, [joint])
        torch.testing.assert_close(_or_candidates(chain, space, rounds, least_squares, agrees), z)


def test_rounds_come_back_from_a_checkpoint_with_the_factors_of_their_space(stationary):
    space = column_space(stationary[0], zero_sum=True)
    told = with_factors(space, 1 + 0.1 * torch.rand(len(space.first), generator=child(8, "factors")).double())
    joint = Joint(torch.ones(1, N, R), torch.ones(1, N, C), torch.zeros(1, 2), 1, Outcome.BUDGET_SPENT)
    rounds = Rounds(told, None, [joint], 1)
    back = Rounds.restored(rounds.tensors(), space)
    torch.testing.assert_close(back.space.output, told.output)
    assert back.quiet == 1 and back.columns is None and len(back.joints) == 1
    assert (told.output - space.output).abs().max() > 1e-3


def test_what_fits_half_as_well_as_the_best_is_not_accepted(stationary):
    """Combinations of two samples pass the absolute bar in a small space; only the best column gives them away."""
    space = column_space(stationary[0], zero_sum=True)
    n = space.first.shape[1]
    bar = 0.2 + n / (3 * float(space.weight.sum()))
    zeros = torch.tensor([0.8, 0.41, 0.39, bar + 1e-6, bar - 1e-6])
    blank = torch.zeros(5, space.first.shape[0])
    assert accepted(Columns(blank, blank, zeros, zeros), space).tolist() == [True, True, False, False, False]
    alone = Columns(blank[3:], blank[3:], zeros[3:], zeros[3:])
    assert accepted(alone, space).tolist() == [True, False]


@pytest.mark.parametrize("sample_norm", [0.5, 1.0, 8.0])
def test_without_a_bias_samples_get_the_usual_norm_and_multipliers_the_rest(stationary, sample_norm):
    """W alone holds s_i x_i^T up to one factor a sample: |x_i| is given, and the multipliers take what is left."""
    chain, s, _ = stationary
    x = torch.linalg.lstsq(s.T, chain.weights[0]).solution
    chain = replace(chain, has_bias=(False, False))
    space = column_space(chain, zero_sum=True)
    full = torch.linalg.lstsq(chain.weights[1].T, s.T).solution.T @ chain.weights[1]
    columns = measured(s[:, space.alive], full[:, space.alive])
    z, multipliers, keep = _samples(chain, space, columns, torch.zeros(H, R), sample_norm)
    assert keep.all()
    torch.testing.assert_close(z.norm(dim=1), torch.full((N,), sample_norm))
    torch.testing.assert_close(F.cosine_similarity(z, x).abs(), torch.ones(N))
    # the product of multiplier and sample is what the layer holds
    whole = (s * (multipliers @ chain.weights[1]).sign() != 0).sum()
    assert whole > 0
    scale = (x.norm(dim=1) / sample_norm)[:, None]
    torch.testing.assert_close((multipliers @ chain.weights[1]).abs(), (full * scale).abs())


def test_gates_that_are_neither_open_nor_closed_are_on_kinks():
    """And a faint V^T l says nothing of its gate."""
    full = torch.tensor([[2.0, -2.0, 2.0, 2.0, -2.0, 0.1]])
    gates = torch.tensor([[0.0, 1.0, 0.5, 0.95, 0.15, 0.5]])
    assert on_kinks(measured(gates * full, full)).tolist() == [[False, False, True, False, True, False]]
