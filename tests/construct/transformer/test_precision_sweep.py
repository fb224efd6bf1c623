"""The counterexample of a precision sweep is the first input that is wrong."""

import copy

import pytest
import torch

import vestige as vg


def test_the_counterexample_is_the_first_wrong_one():
    built = vg.construct.build_counter(200, 256)
    x = vg.construct.random_counts(200, 256, 60).unique(dim=0)
    counts = (x == x[:, -1:]).sum(1)
    off = (copy.deepcopy(built.network).to(torch.bfloat16)(x)[:, 0].double() - counts).abs() >= 0.5
    sweep = vg.construct.precision_sweep(built, x, dtypes=[torch.float32, torch.bfloat16])
    assert sweep.exact_rates[0] == 1 and sweep.exact_rates[1] == pytest.approx(1 - off.double().mean())
    assert 0 < off.sum() < len(x) and sweep.counterexamples[0] is None
    assert torch.equal(sweep.counterexamples[1], x[off.nonzero()[0, 0]])


def test_facts_in_small_integers_are_exact_in_eight_bits():
    facts = vg.construct.build_factual_recall(vg.construct.random_facts(20, 2))
    assert vg.construct.precision_sweep(facts).exact_rates == (1.0,) * 4
    with pytest.raises(ValueError, match="a dtype are needed"):
        vg.construct.precision_sweep(facts, dtypes=[])
