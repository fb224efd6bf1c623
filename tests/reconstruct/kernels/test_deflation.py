"""What the rounds keep, what they leave unexplained, and where they look next."""

import pytest
import torch
from kernel_reference import box_of, gaussian, machine

from vestige.core.rng import child
from vestige.reconstruct.kernels.deflation import SAME, _strongest, _subtract, keep, misfit, nothing, search
from vestige.reconstruct.kernels.functions import Gaussian
from vestige.reconstruct.kernels.matrix_pencil import Terms
from vestige.reconstruct.kernels.task import Task

D, KERNEL = 8, Gaussian(0.1)
X, WEIGHT = gaussian(6, D), gaussian(6, 2, seed=1)
CENTER = torch.zeros(D, dtype=torch.float64)


def terms(points, error, weight=None):
    weight = torch.ones(len(points), 2, dtype=torch.float64) if weight is None else weight
    return Terms(points, weight, torch.as_tensor(error).double(), len(points), False, gaussian(3).abs(), 1.0)


def found_of(*parts, tolerance=0.01):
    found = nothing(D, 2)
    for part in parts:
        keep(found, part, CENTER, tolerance)
    return found


def test_each_point_is_kept_once_and_the_most_exact_estimate_of_it():
    near = X[:3] * (1 + 0.3 * SAME)
    found = found_of(terms(torch.cat([near, X[:3]]), [3e-3] * 3 + [1e-3] * 3))
    assert torch.equal(found.points, X[:3]) and found.error.tolist() == [1e-3] * 3 and not len(found.doubtful)
    again = found_of(terms(X[:3], [1e-3] * 3), terms(near, [1e-9] * 3))
    assert torch.equal(again.points, X[:3])
    apart = X[:3] * (1 + 3 * SAME)
    assert len(found_of(terms(torch.cat([apart, X[:3]]), [1e-3] * 6)).points) == 6


def test_doubtful_points_stand_apart_until_one_is_confirmed():
    bad = terms(torch.cat([X[:2], X[2:3] * torch.nan]), [0.5, 0.2, 0.0])
    found = found_of(bad)
    assert not len(found.points) and torch.equal(found.doubtful, X[:2]) and found.doubtful_error.tolist() == [0.5, 0.2]
    keep(found, terms(X[:1], [1e-6]), CENTER, 0.01)
    assert torch.equal(found.points, X[:1]) and torch.equal(found.doubtful, X[1:2])
    assert found.doubtful_error.tolist() == [0.2]
    assert len(found_of(terms(X[:1], [0.01])).points) == 1 and not len(found_of(terms(X[:1], [0.0101])).points)


def test_the_misfit_is_the_share_of_the_scores_left_unexplained():
    box = box_of(machine(KERNEL, X, WEIGHT), D)
    assert misfit(box, KERNEL, nothing(D, 2), child(0)) == 1.0
    whole = found_of(terms(X, [1e-9] * 6, WEIGHT))
    assert misfit(box, KERNEL, whole, child(0)) < 1e-12
    part = found_of(terms(X[:4], [1e-9] * 4, WEIGHT[:4]))
    alone = misfit(box, KERNEL, part, child(0))
    asked = []
    spy = box_of(lambda z: asked.append(torch.as_tensor(z)) or machine(KERNEL, X, WEIGHT)(z), D)
    misfit(spy, KERNEL, part, child(0))
    rest = KERNEL(asked[0], X[4:]) @ WEIGHT[4:]
    assert alone == pytest.approx(float(rest.norm() / (KERNEL(asked[0], X) @ WEIGHT).norm()))
    _subtract(box, KERNEL, part)  # with the found points subtracted from every answer it is the same number
    assert misfit(box, KERNEL, part, child(0)) == pytest.approx(alone)
    torch.testing.assert_close(box(X), KERNEL(X, X[4:]) @ WEIGHT[4:])


def test_the_next_round_looks_where_most_is_left_and_never_twice():
    box = box_of(machine(KERNEL, X, WEIGHT * torch.tensor([1, 1, 1, 1, 50, 9]).double()[:, None]), D)
    found = found_of(terms(X, [1.0] * 6))
    first = _strongest(box, KERNEL, found, [CENTER])
    assert torch.equal(first, X[4])
    second = _strongest(box, KERNEL, found, [CENTER, X[4]])
    assert second is not None and not torch.equal(second, X[4])
    assert _strongest(box, KERNEL, found, [CENTER, *X]) is None
    assert _strongest(box, KERNEL, nothing(D, 2), [CENTER]) is None


def test_rounds_bring_what_the_first_misses():
    """Points of far different distances: one set of anchors shows one of them, six rounds show all."""
    far = 3 * torch.nn.functional.normalize(gaussian(2, D, seed=9), dim=1) * X.norm(dim=1).mean()
    x, weight = torch.cat([X, far]), torch.cat([WEIGHT, WEIGHT[:2]])

    def task():
        box = box_of(machine(KERNEL, x, weight), D)
        return Task(
            box=box, kernel=KERNEL, center=CENTER, offset=torch.zeros(2).double(), n=None, n_candidates=49,
            tolerance=0.01, generator=child(0), warnings=(),
        )  # fmt: skip

    one, six = (search(task(), KERNEL, rounds) for rounds in (1, 6))
    right = [int((torch.cdist(found.points, x).amin(0) < 0.01 * x.norm(dim=1)).sum()) for found in (one, six)]
    assert right[0] <= 2 and right[1] == 8
    assert six.misfit < 0.05 < one.misfit and not six.spent
