"""Iterative attacks on a ReLU network, point by point, against loops that are written from the papers."""

import math

import pytest
import torch
from naive import PUBLISHED, Recorded, apgd_points, fab_points, relu_net, sparse_points, target_scores

from vestige.attack.methods import momentum
from vestige.attack.methods._apgd import apgd
from vestige.attack.methods._fab import fab
from vestige.attack.methods._malt import Trial, _skipping
from vestige.attack.methods._square import share_of_features, square
from vestige.attack.methods.losses import AttackLoss
from vestige.attack.methods.search import Plan
from vestige.attack.methods.targets import rank_targets
from vestige.attack.problem import open_case
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.core.threat import Threat

P = {"linf": math.inf, "l2": 2}


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.2), ("l2", 0.5)])
def test_a_whole_run_of_apgd_is_that_of_the_algorithm(norm, eps):
    model, x, y = relu_net(lift=20.0)  # so that nothing succeeds and every search takes all its steps
    found = apgd(model, x, y, eps=eps, norm=norm, loss="margin", steps=100)
    seen = torch.stack(model.with_gradient)
    assert not bool(found.success.any()) and seen.shape == (101, *x.shape)
    for i in range(len(x)):

        def loss(z):
            logits = model.net(z[None])[0]
            return logits[1:].max() - logits[0]

        expected = apgd_points(loss, x[i], seen[0, i], eps, P[norm], PUBLISHED, 100)
        torch.testing.assert_close(seen[:, i], expected, atol=1e-9, rtol=0)


def test_a_whole_run_of_sparse_apgd_is_that_of_the_algorithm():
    model, x, y = relu_net(size=20, lift=60.0)
    found = apgd(model, x, y, eps=0.5, norm="l1", loss="margin", steps=60, space=InputSpace(-50.0, 50.0))
    seen = torch.stack(model.with_gradient)
    assert not bool(found.success.any()) and seen.shape == (61, *x.shape)
    for i in range(len(x)):

        def loss(z):
            logits = model.net(z[None])[0]
            return logits[1:].max() - logits[0]

        torch.testing.assert_close(seen[:, i], sparse_points(loss, x[i], seen[0, i], 0.5, 60), atol=1e-9, rtol=0)


@pytest.mark.parametrize("ups", [13.0, 14.0, 15.0, 19.0])  # of a window of 19 steps; 14.25 is three quarters
@pytest.mark.parametrize("reduced", [True, False])
@pytest.mark.parametrize(("best", "best_then"), [(1.0, 1.0), (2.0, 1.0)])
def test_the_step_is_halved_where_progress_is_slow_or_none(ups, reduced, best, best_then):
    model, x, y = relu_net(n=1)
    case = open_case(model, x, y, Threat(0.1))
    state = {
        "row": torch.tensor([0]),
        "clock": torch.tensor([PUBLISHED[1]]),
        "size": torch.tensor([0.2]),
        "ups": torch.tensor([ups]),
        "reduced": torch.tensor([reduced]),
        "best": torch.tensor([best]),
        "best_then": torch.tensor([best_then]),
        **{name: torch.full((1, 6), value) for name, value in (("at", 0.1), ("slope", 1.0))},
        **{name: torch.full((1, 6), value) for name, value in (("best_at", 0.7), ("best_slope", 3.0))},
    }
    momentum.adapt(case, state, 100)
    halved = ups <= 0.75 * (41 - 22) or (not reduced and best <= best_then)
    assert float(state["size"]) == (0.1 if halved else 0.2) and bool(state["reduced"]) == halved
    assert (float(state["at"][0, 0]), float(state["slope"][0, 0])) == ((0.7, 3.0) if halved else (0.1, 1.0))
    assert float(state["ups"]) == 0 and float(state["best_then"]) == best


@pytest.mark.parametrize("norm", P)
def test_fab_walks_from_plane_to_plane(norm):
    model, x, y = relu_net()
    far, steps = InputSpace(-50.0, 50.0), 12
    fooled = 0
    for i in range(len(x)):
        model.with_gradient.clear()
        fab(model, x[i : i + 1], y[:1], eps=9.0, norm=norm, space=far, targets=torch.tensor([1 + i % 3]), steps=steps)
        seen = torch.cat(model.with_gradient)
        expected = fab_points(model.net, x[i], 0, 1 + i % 3, P[norm], steps)
        torch.testing.assert_close(seen, expected, atol=1e-8, rtol=0)
        fooled += int((model.net(expected).argmax(1) != 0).sum())
    assert 0.1 * len(x) * steps < fooled < 0.9 * len(x) * steps  # steps forward and steps back are both taken


@pytest.mark.parametrize("norm", P)
def test_fab_without_a_target_takes_the_nearest_plane(norm):
    model, x, y = relu_net()
    fab(model, x, y, eps=9.0, norm=norm, space=InputSpace(-50.0, 50.0), steps=2)
    dual = {"linf": 1, "l2": 2}[norm]
    for i in range(len(x)):
        nearest = int(target_scores(model.net, x[i], 0, dual).argmin())
        expected = fab_points(model.net, x[i], 0, nearest, P[norm], 2)
        torch.testing.assert_close(model.with_gradient[1][i], expected[1], atol=1e-8, rtol=0)


@pytest.mark.parametrize("norm", P)
def test_fab_returns_the_best_point_brought_back_to_the_boundary(norm):
    model, x, y = relu_net(seed=7)
    targets = 1 + torch.arange(len(x)) % 3
    found = fab(model, x, y, eps=9.0, norm=norm, space=InputSpace(-50.0, 50.0), targets=targets, steps=12)
    for i in range(len(x)):
        points = fab_points(model.net, x[i], 0, 1 + i % 3, P[norm], 13)
        wrong = points[model.net(points).argmax(1) != 0]
        assert bool(found.success[i]) == (len(wrong) > 0)
        if not len(wrong):
            continue
        sizes = torch.linalg.vector_norm(wrong - x[i], ord=P[norm], dim=1)
        step = wrong[sizes.argmin()] - x[i]
        inner, outer = 0.0, 1.0
        for _ in range(5):
            middle = (inner + outer) / 2
            crossed = int(model.net((x[i] + middle * step)[None]).argmax()) != 0
            inner, outer = (inner, middle) if crossed else (middle, outer)
        assert found.distance[i].item() == pytest.approx(outer * float(sizes.min()), abs=1e-8)
    assert int(found.success.sum()) >= 3


def test_squares_shrink_as_published():
    """Share of the features after arXiv 1912.00049: 0.8, halved after these queries out of 10,000."""
    stops = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000]
    assert [share_of_features(q, 10_000) for q in (0, *stops)] == [0.8 / 2**k for k in (0, *range(9))]
    assert [share_of_features(q + 1, 10_000) for q in stops] == [0.8 / 2**k for k in range(1, 10)]
    assert share_of_features(2, 1000) == 0.4 == share_of_features(11, 10_000)  # 20 of 10,000


def image_net(side=6):
    model, _, _ = relu_net(size=2 * side * side, lift=30.0, n=1)
    net = torch.nn.Sequential(torch.nn.Flatten(), model.net)
    return Recorded(net).eval(), torch.full((1, 2, side, side), 0.5), torch.tensor([0])


def margins(net, points):
    logits = net(torch.cat(points)).detach()
    return (logits[:, 1:].amax(1) - logits[:, 0]).tolist()


def bounds(changed):
    """Height and width of the smallest window around what changed in any channel."""
    places = changed.any(0).nonzero()
    return (places.amax(0) - places.amin(0) + 1).tolist() if len(places) else [0, 0]


def test_a_query_of_square_repaints_one_window_and_is_kept_where_the_margin_rises():
    model, x, y = image_net()
    queries, eps = 300, 0.1
    found = square(model, x, y, eps=eps, queries=queries)
    assert not bool(found.success.any())
    points = model.without[1:-1]
    assert len(points) == queries
    margin = margins(model.net, points)
    assert bool((points[0][0] == points[0][0][:, :1]).all())  # vertical stripes
    best, largest, kept = 0, {}, 0
    for query in range(1, queries):
        side = max(1, round(math.sqrt(share_of_features(query, queries) * 36)))
        height, width = bounds((points[query] != points[best])[0])
        assert height <= side and width <= side
        largest[side] = max(largest.get(side, 0), height, width)
        if margin[query] > margin[best]:
            best, kept = query, kept + 1
        torch.testing.assert_close((points[query] - x).abs(), torch.full_like(x, eps))
    assert all(side == seen for side, seen in largest.items()) and len(largest) >= 4
    assert 5 <= kept < queries / 2


@pytest.mark.parametrize(("norm", "p"), [("l2", 2), ("l1", 1)])
def test_a_query_of_square_moves_mass_between_two_windows_and_stays_on_the_sphere(norm, p):
    model, x, y = image_net()
    queries, eps = 200, 0.3
    square(model, x, y, eps=eps, norm=norm, queries=queries, space=InputSpace(-50.0, 50.0))
    points = model.without[1:-1]
    margin = margins(model.net, points)
    best = 0
    for query in range(queries):
        size = torch.linalg.vector_norm((points[query] - x).flatten(), ord=p)
        assert float(size) == pytest.approx(eps)
        if query:
            side = max(1, round(math.sqrt(share_of_features(query, queries) * 36)))
            moved = (points[query] - points[best]).abs()[0] > 1e-9  # the projection rounds
            assert int(moved.any(0).sum()) <= 2 * side * side
            best = query if margin[query] > margin[best] else best


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2), ("l1", math.inf)])
def test_targets_are_ranked_by_the_definition(norm, dual):
    model, x, y = relu_net(classes=7)
    ranked = rank_targets(model, x, y, norm=norm, n_targets=6)
    for i in range(len(x)):
        scores = target_scores(model.net, x[i], 0, dual)
        assert ranked.classes[i].tolist() == scores.argsort()[:6].tolist()
        torch.testing.assert_close(ranked.scores[i], scores.sort().values[:6])


class Pretended(Trial):
    """Targets fall where `reach` says so, without a search."""

    def run(self, allowed):
        self.asked.append(allowed.clone())
        for row in allowed.any(1).nonzero().flatten().tolist():
            reached = (self.reach[row] & allowed[row]).nonzero().flatten()
            if len(reached):
                self.case.success[row], self.case.rank[row] = True, int(reached[0])


@pytest.mark.parametrize(("farthest", "limit"), [(0.5, 2.0), (1.2, 2.0), (4.0, 6.0)])
def test_targets_beyond_what_the_calibration_reached_are_skipped(farthest, limit):
    """score / eps may be half again the largest that was reached, and 2 at least."""
    model, x, y = relu_net(n=60)
    case = open_case(model, x, y, Threat(0.1))
    scores = 0.1 * torch.tensor([0.4, farthest, 7.0]).expand(60, 3).clone()
    scores[50:] = 0.1 * torch.linspace(0.1, 9, 30).reshape(10, 3)
    trial = Pretended(
        case, Plan(AttackLoss.MARGIN, 1), torch.arange(60), torch.ones(60, 3, dtype=torch.long), scores, None, None
    )
    object.__setattr__(trial, "asked", [])
    reach = torch.zeros(60, 3, dtype=torch.bool)
    reach[:5, 0], reach[5:8, 1] = True, True
    object.__setattr__(trial, "reach", reach)
    rule = _skipping(trial)
    first, second = trial.asked
    within = scores[50:] / 0.1 <= limit
    assert rule.limit == pytest.approx(limit)
    assert bool(first[:50].all()) and not bool(first[50:].any())
    assert not bool(second[:50].any()) and torch.equal(second[50:], within)
    assert (rule.skipped, rule.tried) == (int((~within).sum()), int(within.sum()))
    assert (rule.calibrated_on, rule.wrong) == (8, 0) and rule.bound == pytest.approx(0.3244, abs=1e-4)


def test_nothing_reached_leaves_the_least_limit_and_no_bound():
    model, x, y = relu_net(n=60)
    case = open_case(model, x, y, Threat(0.1))
    trial = Pretended(
        case,
        Plan(AttackLoss.MARGIN, 1),
        torch.arange(60),
        torch.ones(60, 1, dtype=torch.long),
        torch.full((60, 1), 0.3),
        None,
        None,
    )
    object.__setattr__(trial, "asked", [])
    object.__setattr__(trial, "reach", torch.zeros(60, 1, dtype=torch.bool))
    rule = _skipping(trial)
    assert (rule.limit, rule.skipped, rule.tried, rule.calibrated_on, rule.bound) == (2.0, 10, 0, 0, None)


def test_a_search_ends_at_its_first_success():
    model, x, y = relu_net(seed=7)
    successes = 0
    for i in range(len(x)):
        model.with_gradient.clear()
        found = apgd(model, x[i : i + 1], y[:1], eps=0.1, loss="margin", steps=40, generator=child(i))
        fooled = model.net(torch.cat(model.with_gradient)).argmax(1) != 0
        assert found.gradient_evaluations == len(fooled) and not bool(fooled[:-1].any())
        assert bool(fooled[-1]) == bool(found.success[0])
        if bool(fooled[-1]):
            assert torch.equal(found.adv, model.with_gradient[-1])
        successes += int(fooled[-1])
    assert 1 <= successes < len(x)
