"""Every attack on a linear classifier, where the distance to each boundary is known.

With logits W x + b and no box, class c is |z_y - z_c| / |w_c - w_y|_q away, q dual to the norm. An attack passes when
it succeeds on every sample that is clearly within reach, on none that is out of reach, stays in the ball, and returns
points that the model gets wrong. Doing nothing, changing one pixel and random signs must not pass.
"""

import inspect
import math
import typing

import pytest
import torch
from torch import nn

from vestige.attack.methods._apgd import apgd
from vestige.attack.methods._fab import fab
from vestige.attack.methods._malt import malt
from vestige.attack.methods._square import square
from vestige.attack.result import AttackResult
from vestige.attack.suite import autoattack
from vestige.core.rng import child
from vestige.core.space import InputSpace, lp_norm

CLASSES, SHAPE, N = 5, (1, 4, 4), 24
SPACE = InputSpace(-50.0, 50.0)
P = {"linf": math.inf, "l2": 2, "l1": 1}
DUAL = {"linf": 1, "l2": 2, "l1": math.inf}
# name: (attack, takes targets, how much further than necessary it may need, per norm)
ATTACKS = {
    # Without a target the search follows the largest logit rather than the nearest class, hence 1.1.
    "apgd-dlr": (apgd, True, {"linf": 1.1, "l2": 1.1, "l1": 1.1}),
    "apgd-ce": (lambda *a, **k: apgd(*a, loss="ce", **k), True, {"linf": 1.1, "l2": 1.1, "l1": 1.1}),
    "apgd-margin": (lambda *a, **k: apgd(*a, loss="margin", **k), True, {"linf": 1.1, "l2": 1.1, "l1": 1.1}),
    "apgd-pm": (lambda *a, **k: apgd(*a, loss="pm", **k), True, {"linf": 1.1, "l2": 1.1, "l1": 1.1}),
    "fab": (fab, True, {"linf": 1.03, "l2": 1.03, "l1": 1.1}),
    "square": (lambda *a, **k: square(*a, queries=400, **k), True, {"linf": 1.1, "l2": 2.0, "l1": 3.5}),
    "malt": (malt, False, {"linf": 1.03, "l2": 1.03, "l1": 1.05}),
    "malt-published": (
        lambda *a, **k: malt(*a, preset="published", **k),
        False,
        {"linf": 1.03, "l2": 1.03, "l1": 1.03},
    ),
    "malt-fast": (lambda *a, **k: malt(*a, preset="fast", **k), False, {"linf": 1.05, "l2": 1.05, "l1": 1.1}),
    "autoattack": (
        lambda *a, **k: autoattack(*a, attacks=("apgd-ce", "apgd-t", "fab-t"), **k),
        False,
        {"linf": 1.03, "l2": 1.03, "l1": 1.03},
    ),
}


def nothing(model, x, y, **options):
    return x


def one_pixel(model, x, y, *, eps, norm, **options):
    moved = x.clone()
    moved[:, 0, 0, 0] += eps
    return moved


def random_sign(model, x, y, *, eps, norm, **options):
    sign = torch.randn(x.shape, generator=child(0, "null")).sign()
    return x + eps * sign / lp_norm(sign, P[norm])[0]


def problem(norm, targeted):
    draw = child(3, "linear")
    linear = nn.Linear(math.prod(SHAPE), CLASSES)
    model = nn.Sequential(nn.Flatten(), linear).eval()
    linear.weight.data = torch.randn(CLASSES, math.prod(SHAPE), generator=draw)
    linear.bias.data = torch.randn(CLASSES, generator=draw) / 3
    x = torch.randn((N, *SHAPE), generator=draw)
    z = model(x).detach()
    y = z.argmax(1)
    w = linear.weight.detach()
    size = torch.linalg.vector_norm(w[None] - w[y][:, None], ord=DUAL[norm], dim=2)
    distance = (z.gather(1, y[:, None]) - z) / size.clamp(min=1e-12)
    distance[torch.arange(N), y] = torch.inf
    order = distance.argsort(1)
    target = order[:, 0]
    return model, x, y, distance.gather(1, target[:, None])[:, 0], target


def passes(attack, norm, targeted, ratio):
    model, x, y, distance, target = problem(norm, targeted)
    eps = float(distance.median()) * ratio * 1.001
    found = attack(model, x, y, eps=eps, norm=norm, space=SPACE, **({"targets": target} if targeted else {}))
    adv = found if isinstance(found, torch.Tensor) else found.adv
    fooled = model(adv).argmax(1) != y
    in_ball = bool((lp_norm(adv - x, P[norm]) <= eps * (1 + 1e-6)).all())
    within, beyond = distance * ratio <= eps, distance > eps * (1 + 1e-9)
    claimed = fooled if isinstance(found, torch.Tensor) else found.success
    honest = bool((claimed == fooled).all())
    return in_ball and honest and bool(fooled[within].all()) and not bool(fooled[beyond].any())


SLOW = {
    ("square", "l1"),
    ("malt", "l1"),
    ("malt-published", "l1"),
    ("autoattack", "linf"),
    ("autoattack", "l2"),
    ("autoattack", "l1"),
}
ROWS = [
    pytest.param(name, norm, targeted, marks=[pytest.mark.slow] if (name, norm) in SLOW else [])
    for name, (_, takes_targets, _) in ATTACKS.items()
    for norm in P
    for targeted in ([False, True] if takes_targets else [False])
]


@pytest.mark.parametrize(("name", "norm", "targeted"), ROWS)
def test_attack_is_nearly_optimal_on_a_linear_model(name, norm, targeted):
    attack, _, ratio = ATTACKS[name]
    assert passes(attack, norm, targeted, ratio[norm])


LARGEST_RATIO = {norm: max(ratio[norm] for _, _, ratio in ATTACKS.values()) for norm in P}


@pytest.mark.parametrize("norm", P)
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("null", [nothing, one_pixel, random_sign])
def test_null_attacks_fail(null, targeted, norm):
    """At the radius of the least demanding row, hence at that of every row, where less must be in reach."""
    for ratio in {LARGEST_RATIO[norm], *(ratio[norm] for _, _, ratio in ATTACKS.values())}:
        assert not passes(null, norm, targeted, ratio)


def test_every_attack_of_the_library_has_a_row():
    import vestige

    returning = {
        name
        for name in vestige.attack.__all__
        if inspect.isfunction(found := getattr(vestige.attack, name))
        and typing.get_type_hints(inspect.unwrap(found)).get("return") is AttackResult
    }
    assert {name.split("-")[0] for name in ATTACKS} == returning


@pytest.mark.parametrize("norm", P)
@pytest.mark.parametrize("attack", [apgd, fab])
def test_a_target_that_must_be_reached_is(attack, norm):
    model, x, y, distance, target = problem(norm, True)
    found = attack(
        model, x, y, eps=float(distance.median()) * 1.1, norm=norm, space=SPACE, targets=target, must_reach=True
    )
    assert int(found.success.sum()) >= N // 2
    assert bool((model(found.adv).argmax(1) == target)[found.success].all())
    assert bool((found.predicted == target)[found.success].all())
