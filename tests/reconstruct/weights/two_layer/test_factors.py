"""Factors of neurons: told by known columns, and columns are exact with them; where there are none, none is found."""

import pytest
import torch
import torch.nn.functional as F

from vestige.core.rng import child
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.two_layer.columns import Columns, ColumnSpace, column_space, measured, with_multipliers
from vestige.reconstruct.weights.two_layer.factors import neuron_factors, refined_columns, sharpened

N, H, C, R = 20, 120, 4, 40


def draw(*shape: int, name: str) -> torch.Tensor:
    return torch.randn(*shape, generator=child(0, "factors", name), dtype=torch.float64)


def network(spread: float) -> tuple[ColumnSpace, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Columns f_j g_ij (V^T l_i)_j with a few gates on a kink; space, columns, V^T l and f."""
    factors = torch.exp(spread * draw(H, name="factor"))
    factors = factors / factors.median()
    last = draw(C, H, name="last")
    full = draw(N, C, name="multipliers") @ last
    gates = (draw(N, H, name="gates") > 0).double()
    gates = torch.where(draw(N, H, name="kink") > 1.6, 0.5, gates)
    s = factors * gates * full
    weight = s.T @ draw(N, R, name="x")
    weights, biases = (weight, last), (torch.zeros(H).double(), torch.zeros(C).double())
    basis = torch.eye(R, dtype=torch.float64)
    chain = Chain(weights, biases, (False, False), weights, biases, basis, weight.new_ones(1), N, True)
    return column_space(chain, zero_sum=False), s, full, factors


def told(space: ColumnSpace, s: torch.Tensor) -> Columns:
    return with_multipliers(space, F.normalize(s, dim=1))


def off(found: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """Sine of the angle between columns."""
    return (1 - F.cosine_similarity(found, s).square()).clamp(min=0).sqrt()


def test_known_columns_tell_the_factors():
    space, s, full, factors = network(0.03)
    found = neuron_factors(space, measured(s, full), 0.05)
    assert (found / factors - 1).abs().quantile(0.95) < 0.002 < 0.01 < (factors - 1).abs().median()
    assert (neuron_factors(space, measured(s, factors * full), 0.05) - 1).abs().max() < 0.001  # told already


@pytest.mark.parametrize(("error", "reached"), [(0.01, 2e-4), (0.03, 4e-4)])
def test_columns_that_are_nearly_right_become_right(error, reached):
    """Without factors they come no nearer than the factors let them."""
    space, s, _, true = network(0.03)
    rough = F.normalize(s, dim=1) + error * F.normalize(draw(N, N, name="error") @ space.first.T, dim=1)
    found, factors = refined_columns(space, told(space, rough))
    ratio = factors / true
    assert (ratio / ratio.median() - 1).abs().quantile(0.75) < 0.001 < 0.01 < (true - 1).abs().median()
    assert off(found.s, s).quantile(0.9) < reached < 0.05 * off(rough, s).median()
    plain = sharpened(space, told(space, rough), 0.01)
    assert off(plain.s, s).median() > 3 * off(found.s, s).median()
    assert (found.fits > plain.fits).all()


@pytest.mark.parametrize("seed", range(3))
def test_where_columns_are_none_no_factor_helps(seed):
    """Null: vectors of the column space that are no columns do not become columns."""
    space, s, _, _ = network(0.03)
    g = child(seed, "null")
    vectors = torch.randn(N, N, generator=g, dtype=torch.float64) @ space.first.T
    found, true = (refined_columns(space, told(space, v))[0] for v in (vectors, s))
    assert found.exact.max() < 0.5 < 0.8 < true.exact.min()
