"""Weak directions of the first layer, strengthened."""

from functools import cache

import pytest
import torch
from torch import Tensor

import vestige as vg
from vestige.core.rng import child
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.directions import POWER, RISE, directions_of
from vestige.reconstruct.weights.joint import gradient_sums, search


@cache
def _chain(*, bias: bool = True) -> Chain:
    """Of a trained network with two classes, whose first layer has strong and weak directions."""
    generator = child(0, "directions")
    x, y = torch.randn(8, 12, generator=generator), torch.arange(8) % 2
    biases = "first" if bias else "none"
    start = vg.nets.mlp([12, 30, 10, 1], bias=biases, first_init=1e-3, generator=generator)
    model = vg.train_to_margin(start, x, y, loss="logistic", weight_decay=1e-2).model
    chain = span_chain(model, None, torch.float64)
    assert chain is not None
    return chain


def _naive(target: Tensor, gap: Tensor, floor: float, share: float) -> Tensor:
    """(1) of the module by dense matrices, over that of the target."""
    left, sizes, right = torch.linalg.svd(target)
    v = (sizes / sizes[0]).clamp(min=floor)
    rows, columns = torch.ones(len(left)).to(v), torch.ones(len(right)).to(v)
    rows[: len(v)], columns[: len(v)] = v ** (-POWER * share), v ** (-POWER * share)

    def read(d: Tensor) -> Tensor:
        return ((left * rows) @ left.T @ d @ right.T @ torch.diag(columns) @ right).square().sum()

    return read(gap) / read(target)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_difference_is_read_as_stated(bias, share):
    chain = _chain(bias=bias)
    target = chain.first_augmented()
    gap = torch.randn(3, *target.shape, generator=child(1, "gap"), dtype=target.dtype)
    floor = float(chain.singular_values[chain.rank - 1] / chain.singular_values[0])
    read = directions_of(chain).strengthened(share * RISE).relative(gap)
    assert torch.allclose(read, torch.stack([_naive(target, g, floor, share) for g in gap]), rtol=1e-8)


def test_the_start_of_a_search_reads_plain_squares_and_the_end_the_whole_power():
    chain = _chain()
    target, directions = chain.first_augmented(), directions_of(chain)
    gap = torch.randn(target.shape, generator=child(1, "gap"), dtype=target.dtype)
    plain = gap.square().sum() / target.square().sum()
    assert directions.strengthened(0.0).relative(gap) == pytest.approx(float(plain))
    assert directions.strengthened(1.0).power == directions.strengthened(RISE).power == POWER


def test_a_weak_direction_that_is_missing_counts_more_and_nothing_else_changes_the_target():
    chain = _chain()
    target, directions = chain.first_augmented(), directions_of(chain)
    weak = chain.rank - 1
    missing = directions.sizes[weak] * directions.left[:, weak : weak + 1] @ directions.right[:, weak : weak + 1].T
    before, after = (float(directions.strengthened(p).relative(missing)) for p in (0.0, 1.0))
    assert after > 5 * before
    assert float(directions.strengthened(1.0).relative(target)) == pytest.approx(1.0)


def test_a_search_with_directions_fits_the_weak_ones_better():
    chain, norm = _chain(), 12**0.5
    directions = directions_of(chain)
    ends = []
    for chosen in (None, directions):
        joint = search(
            chain,
            candidates=16,
            restarts=2,
            steps=300,
            sample_norm=norm,
            layer_weights=[1.0, 1.0, 1.0],
            zero_sum=False,
            directions=chosen,
            generator=child(0, "search"),
        )
        ends.append(joint.residual[:, 0])
    assert float(ends[1].max()) < 0.2  # the residual that is told stays the plain one
    assert not torch.equal(*ends)


@pytest.mark.parametrize("bias", [True, False])
def test_what_known_columns_leave_is_read_by_its_own_directions(bias):
    """Reference: the module's (1) of the layer without what lies along them; what lies along them counts nothing."""
    chain = _chain(bias=bias)
    known = torch.linalg.qr(torch.randn(30, 3, generator=child(2, "known"), dtype=torch.float64))[0]
    target = chain.first_augmented() - known @ (known.T @ chain.first_augmented())
    gap = torch.randn(target.shape, generator=child(1, "gap"), dtype=target.dtype)
    values = torch.linalg.svdvals(target)
    floor = float(values[min(chain.rank, len(values)) - 1] / values[0])
    read = directions_of(chain, known).strengthened(1.0).relative(gap - known @ (known.T @ gap))
    assert torch.allclose(read, _naive(target, gap - known @ (known.T @ gap), floor, 1.0), rtol=1e-8)


def test_a_search_beside_known_columns_counts_what_they_leave():
    """Its end is as good as the residual beside them says; directions of everything would count them too."""
    chain = _chain()
    known = torch.linalg.qr(torch.randn(30, 3, generator=child(2, "known"), dtype=torch.float64))[0]
    end = search(
        chain,
        candidates=16,
        restarts=1,
        steps=60,
        sample_norm=3.0,
        layer_weights=[1.0, 0.0, 0.0],
        zero_sum=False,
        known=known,
        directions=directions_of(chain, known),
        generator=child(0, "search"),
    )
    (weight, bias), *_ = gradient_sums(chain, end.z[0], end.multipliers[0], 100.0)
    gap = chain.first_augmented() - torch.cat([weight, bias[:, None]], 1)
    left = (gap - known @ (known.T @ gap)).square().sum() / chain.first_augmented().square().sum()
    assert float(end.residual[0, 0]) == pytest.approx(float(left)) and left < 0.5
