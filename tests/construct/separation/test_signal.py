"""The signal in a gradient: an average over pairs of different samples, beside values dealt out to other inputs."""

import pytest
import torch

from vestige.construct.separation.learnability import DEVIATIONS, _signal
from vestige.core.rng import child


@pytest.mark.parametrize("n", [3, 16])
def test_equal_rows_and_values_agree_completely_and_no_dealing_changes_that(n):
    rows = torch.tensor([3.0, 4.0]).expand(n, 2)
    signal, floor = _signal(rows, torch.ones(n), child(0, "deal"))
    assert signal == pytest.approx(1) and floor == pytest.approx(DEVIATIONS)


def test_rows_that_share_nothing_have_no_signal():
    signal, floor = _signal(torch.eye(5), torch.tensor([1.0, -1.0, 2.0, 0.5, 1.0]), child(0, "deal"))
    assert signal == pytest.approx(0, abs=1e-12) and floor == pytest.approx(0, abs=1e-12)


def test_it_is_the_average_over_pairs():
    rows, f = torch.randn(7, 4, generator=child(0, "rows")), torch.randn(7, generator=child(1, "f"))
    pairs = [f[i] * f[j] * (rows[i] @ rows[j]) for i in range(7) for j in range(7) if i != j]
    scale = f.square().mean() * rows.square().sum(1).mean()
    assert _signal(rows, f, child(0, "deal"))[0] == pytest.approx(float(torch.stack(pairs).mean() / scale))
