"""What is expected of the inputs, and what is refused before any work."""

import pytest
import torch

from vestige.core.margins import Loss
from vestige.core.outcome import Step
from vestige.core.space import InputSpace
from vestige.nets.fully_connected import mlp
from vestige.reconstruct.weights.chain import span_chain
from vestige.reconstruct.weights.problem import HISTORY, SPREAD, Problem, Recorder, check_model, check_training

NET = mlp([6, 9, 3], bias="all", dtype=torch.float64)


def problem(**options):
    return Problem(
        model=NET, shape=(6,), outputs=3, loss=Loss.CROSS_ENTROPY, weight_decay=None, n_candidates=None, restarts=None,
        steps=None, generator=torch.Generator(), recorder=Recorder(None), checkpoint=None, **options,
    )  # fmt: skip


def test_the_range_of_inputs_says_their_spread():
    spread, box = problem(space=InputSpace(0, 1, mean=0.5, std=0.25)).spread_and_box(None)
    assert spread == pytest.approx(SPREAD * 4) and box is not None
    torch.testing.assert_close(torch.stack(box), torch.tensor([[-2.0], [2.0]]).double().expand(2, 6))


def test_without_a_range_the_first_layer_says_it():
    """[W b] = sum_i s_i [x_i 1]: for one sample the ratio of norms is the sample's."""
    x, s = torch.arange(6.0).double(), torch.linspace(-1, 1, 9).double()
    one = mlp([6, 9, 1], bias="all", dtype=torch.float64)
    with torch.no_grad():
        first = one[1]
        first.weight.copy_(s[:, None] * x)
        first.bias.copy_(s)
    chain = span_chain(one, None, torch.float64)
    spread, box = problem(space=None).spread_and_box(chain)
    assert box is None and spread == pytest.approx(float(x.norm()) / 6**0.5)
    assert problem(space=InputSpace(-torch.inf, torch.inf)).spread_and_box(None) == (1.0, None)


def test_only_cross_entropy_has_multipliers_that_sum_to_zero():
    assert problem(space=None).zero_sum
    assert not problem(space=None).__class__(**{**vars(problem(space=None)), "loss": Loss.MSE}).zero_sum


def test_the_history_is_thinned_and_every_step_passed_on():
    seen = []
    recorder = Recorder(seen.append)
    for k in range(60 * 2 * HISTORY):
        recorder(Step(k, 10**6, 0.0))
    assert len(seen) == 60 * 2 * HISTORY and HISTORY < len(recorder.kept) <= 2 * HISTORY
    assert recorder.kept[0].index == 0 and recorder.kept == sorted(recorder.kept, key=lambda step: step.index)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check_model(NET, (7,)), "refuses an input of shape"),
        (lambda: check_model(NET.requires_grad_(False), (6,)), "no trainable parameter"),
        (lambda: check_training(NET, -1.0), "weight_decay=-1"),
        (lambda: check_training(NET, None, {"1.weight": torch.zeros(9, 6)}), "lacks '1.bias'"),
    ],
)
def test_bad_input_is_refused(call, words):
    try:
        with pytest.raises(ValueError, match=words):
            call()
    finally:
        NET.requires_grad_(True)
    assert check_model(NET, (6,)) == 3
