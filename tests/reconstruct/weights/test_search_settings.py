"""Settings of a joint search: a wide start where the range of inputs is known, and what is known is left out."""

from dataclasses import replace

import pytest
import torch

from vestige.core.rng import child
from vestige.nets.fully_connected import mlp
from vestige.reconstruct.weights.chain import span_chain
from vestige.reconstruct.weights.joint import gradient_sums
from vestige.reconstruct.weights.search_settings import SearchSettings

CHAIN = span_chain(mlp([5, 60, 3], generator=child(0, "net"), dtype=torch.float64), None, torch.float64)
assert CHAIN is not None
BOX = torch.full((5,), -9.0).double(), torch.full((5,), 9.0).double()
SETTINGS = SearchSettings(
    sample_norm=1.5, layer_weights=[1.0, 1.0], zero_sum=True, labeled=True, metric=None, box=None, steps=40,
    generator=child(1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("samples", "box", "norm", "last"), [(5, None, 1.5, 100.0), (5, BOX, 3.0, 300.0), (16, BOX, 1.5, 100.0)]
)
def test_a_known_range_allows_a_wide_start_unless_samples_are_many_per_neuron(samples, box, norm, last):
    chain, settings = replace(CHAIN, rank=samples, clear=True), replace(SETTINGS, box=box)
    assert settings.start_norm(chain) == norm and settings.sharpness(chain)[1] == last


def test_uninformed_searches_have_no_labels_and_known_columns_do_not_count():
    how = {"candidates": 4, "restarts": 2, "checkpoint": None}
    told, free = (SETTINGS.search(CHAIN, informed=i, generator=child(2), **how) for i in (True, False))
    assert bool(((told.multipliers > 0).sum(-1) == 1).all()) and not bool(((free.multipliers > 0).sum(-1) == 1).all())
    known = torch.linalg.qr(torch.randn(60, 2, generator=child(3), dtype=torch.float64))[0]
    found = SETTINGS.search(CHAIN, known=known, generator=child(2), **how)
    weight, bias = gradient_sums(CHAIN, found.z, found.multipliers, 100.0)[0]
    gap = torch.cat([CHAIN.target_weights[0] - weight, (CHAIN.target_biases[0] - bias)[..., None]], -1)
    gap = gap - known @ (known.T @ gap)
    wanted = gap.square().sum((-2, -1)) / CHAIN.first_augmented().square().sum()
    torch.testing.assert_close(found.residual[:, 0], wanted)
