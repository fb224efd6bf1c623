"""Networks of two classes: samples of columns with their inputs, also where resumed, and none where none are."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from interruption import Memory, until_it_ends
from torch import Tensor

import vestige as vg
from vestige.core.descent import Checkpoint
from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.reconstruct.scoring.untrained import untrained_like
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.joint import Joint
from vestige.reconstruct.weights.paired.solver import SEARCHES, Others, Paired, solve_paired

pytestmark = pytest.mark.slow


@cache
def _trained(hidden: tuple[int, ...], dim: int, *, trained: bool = True) -> tuple[Chain, Tensor, Tensor]:
    """Twenty Gaussian vectors in two classes: the network, them and their classes."""
    draw, start = (child(0, "pairs"),) * 2 if len(hidden) > 1 else (child(1, "gaussian"), child(1))
    x, y = torch.randn(20, dim, generator=draw, dtype=torch.float64), torch.arange(20) % 2
    x = x if len(hidden) > 1 else x - x.mean(0)
    start = vg.nets.mlp([dim, *hidden, 1], first_init=1e-3, generator=start, dtype=torch.float64)
    model = vg.train_to_margin(start, x, y, loss="logistic", weight_decay=1e-3, steps=4000).model
    chain = span_chain(model if trained else untrained_like(model), None, torch.float64)
    assert chain is not None
    return chain, x, y


def solve(
    chain: Chain, x: Tensor, checkpoint: Memory | None = None, others: Others | None = None, starts: int = 200
) -> Paired | None:
    z = torch.randn(starts, chain.basis.shape[1], generator=child(4), dtype=torch.float64)
    told = {"sample_norm": float(x.norm(dim=1).mean()), "metric": None, "others": others}
    return solve_paired(chain, z, **told, generator=child(5), checkpoint=checkpoint)


def searches_that_find(z: Tensor) -> tuple[Others, list[int]]:
    """A search that returns these candidates, and of each call how many columns were known."""
    asked: list[int] = []

    def others(known: Tensor, number: int, checkpoint: Checkpoint | None) -> Joint:
        assert number == len(asked) and checkpoint is None
        asked.append(len(known))
        return Joint(z[None], z[None, :, :1], torch.zeros(1, 2).to(z), 7, Outcome.BUDGET_SPENT)

    return others, asked


def samples_near(found: Paired, chain: Chain, x: Tensor) -> Tensor:
    """Cosine of each found sample to the nearest true one, and which it is."""
    return torch.stack(list((F.normalize(found.z @ chain.basis.T, dim=1) @ F.normalize(x, dim=1).T).max(1)))


def test_two_layers_give_nearly_all_samples_without_a_search():
    """From starts that know nothing: 18 of 20 above a cosine of .9, where the joint search and columns give 2 to 8."""
    chain, x, y = _trained((400,), 128)
    found = solve(chain, x)
    assert found is not None
    cosine, of = samples_near(found, chain, x)
    assert len(of[cosine > 0.9].unique()) >= 16 and len(cosine) <= 20
    assert (found.confidence[cosine > 0.9] > 0.8).all()
    right = (found.multipliers[:, 0] > 0) == (y[of.long()] > 0)
    assert right[cosine > 0.9].all()


def test_three_layers_give_columns_of_samples_only():
    chain, x, _ = _trained((300, 50), 64)
    found = solve(chain, x)
    assert found is not None and len(found.z) >= 5
    cosine, of = samples_near(found, chain, x)
    assert cosine.median() > 0.65 and len(of.unique()) == len(of)


def test_a_search_for_the_others_is_asked_once_passes_end_and_helps():
    """With the true samples for candidates of that search there are more of them; null: with those of nobody not."""
    chain, x, _ = _trained((300, 50), 64)
    others, asked = searches_that_find(x @ chain.basis)
    found, alone = solve(chain, x, others=others), solve(chain, x)
    assert found is not None and alone is not None and 1 <= len(asked) <= SEARCHES and min(asked) >= 1
    assert len(found.joints) == len(asked) and alone.joints == ()
    near = [int((samples_near(f, chain, x)[0] > 0.9).sum()) for f in (found, alone)]
    assert near[0] > near[1]
    nobody = torch.randn(20, chain.basis.shape[1], generator=child(6), dtype=torch.float64)
    null = solve(chain, x, others=searches_that_find(nobody)[0])
    assert null is not None and int((samples_near(null, chain, x)[0] > 0.9).sum()) < near[0]


@pytest.mark.parametrize(("hidden", "dim"), [((400,), 128), ((300, 50), 64)])
def test_untrained_networks_have_no_columns(hidden, dim):
    """Null: the same singular values, no data."""
    chain, x, _ = _trained(hidden, dim, trained=False)
    assert solve(chain, x) is None


def test_a_search_goes_on_where_it_was():
    chain, x, _ = _trained((300, 50), 64)
    whole = solve(chain, x)

    def attack(memory: Memory) -> Paired | None:
        return solve(chain, x, memory)

    resumed, kills = until_it_ends(attack, every=2)
    assert kills >= 1 and whole is not None and resumed is not None
    assert torch.allclose(whole.z, resumed.z, rtol=1e-6) and torch.allclose(whole.confidence, resumed.confidence)
