import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vestige.attack.methods.balls import steepest
from vestige.attack.methods.targets import rank_targets
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.core.threat import Norm

WIDE = InputSpace(-50.0, 50.0)


def linear(classes=30, size=20, seed=0, spread=1.0):
    draw = child(seed, "linear")
    model = nn.Linear(size, classes).eval()
    norms = (spread * torch.randn((classes, 1), generator=draw)).exp()
    model.weight.data = torch.randn((classes, size), generator=draw) * norms
    model.bias.data = torch.randn(classes, generator=draw)
    x = torch.randn((200, size), generator=draw)
    return model, x, model(x).argmax(1).detach()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_first_target_is_the_nearest_class_and_its_score_the_distance(norm):
    model, x, y = linear()
    ranked = rank_targets(model, x, y, norm=norm, space=WIDE)
    norm = Norm(norm)
    best, score = ranked.classes[:, 0], ranked.scores[:, 0]
    step = steepest(model.weight[best] - model.weight[y], norm).detach()
    beyond, before = (model(x + scale * score[:, None] * step).argmax(1) for scale in (1.001, 0.999))
    assert bool((beyond != y).all()) and bool((before == y).all())
    slope = torch.linalg.vector_norm(model.weight[None] - model.weight[y][:, None], ord=norm.dual, dim=2)
    z = model(x)
    exact = ((z.gather(1, y[:, None]) - z) / slope.clamp(min=1e-12)).scatter(1, y[:, None], torch.inf)
    assert torch.equal(exact.argmin(1), best)
    # Even at 0.999 of the score no class at all is within reach.
    assert bool((exact.amin(1) >= 0.999 * score).all())


def test_the_logit_order_misses_the_nearest_class_where_norms_differ():
    model, x, y = linear()
    nearest = rank_targets(model, x, y, space=WIDE).classes[:, 0]
    naive = rank_targets(model, x, y, space=WIDE, order="logit").classes[:, 0]
    assert 0.3 <= (nearest == naive).double().mean() <= 0.95


@given(st.floats(0.1, 10), st.floats(-5, 5), st.sampled_from(["linf", "l2", "l1"]))
def test_scores_scale_with_inputs_and_ignore_a_common_constant(scale, constant, norm):
    model, x, y = linear(6, 5)
    scaled = nn.Linear(5, 6).eval()
    scaled.weight.data, scaled.bias.data = model.weight.data / scale, model.bias.data + constant
    plain = rank_targets(model, x[:20], y[:20], norm=norm, space=WIDE)
    moved = rank_targets(scaled, x[:20] * scale, y[:20], norm=norm, space=InputSpace(-500.0, 500.0))
    assert torch.equal(plain.classes, moved.classes)
    torch.testing.assert_close(moved.scores, plain.scores * scale)


def test_a_class_without_gradient_is_last_and_infinitely_far():
    model, x, y = linear(4, 5, spread=0.0)
    y = torch.zeros(200, dtype=torch.long)
    model.weight.data[2] = model.weight.data[0]  # z_2 - z_0 does not depend on x
    ranked = rank_targets(model, x, y, space=WIDE)
    assert bool((ranked.classes[:, -1] == 2).all()) and bool(torch.isinf(ranked.scores[:, -1]).all())


def test_targets_are_clipped_to_the_classes_there_are():
    model, x, y = linear(3, 5)
    ranked = rank_targets(model, x, y, space=WIDE)
    assert ranked.classes.shape == (200, 2) and not bool((ranked.classes == y[:, None]).any())
    assert ranked.gradient_evaluations == 200 * 2


def test_fewer_candidates_than_targets_never_invent_a_class():
    model, x, y = linear(10, 5)
    ranked = rank_targets(model, x, y, space=WIDE, top_k=3, n_targets=9)
    top = model(x).scatter(1, y[:, None], -torch.inf).topk(3, 1).indices
    assert ranked.classes.shape == (200, 3) and torch.equal(ranked.classes.sort(1).values, top.sort(1).values)
