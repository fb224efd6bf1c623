"""Intervals contain what they must, in exact arithmetic, and are not much wider."""

from fractions import Fraction

import mpmath
import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from minima_reference import structured

from vestige.landscape import Neurons, population_gradient, population_hessian, population_loss
from vestige.landscape.teacher_student.enclosure import Enclosure
from vestige.landscape.teacher_student.interval import PI, Interval, angle

FLOATS = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-100)
POSITIVE = st.floats(1e-6, 1e6)


def one(x):
    return Interval.around(np.array([x]))


def holds(interval, exact):
    return Fraction(float(interval.low[0])) <= exact <= Fraction(float(interval.high[0]))


@given(a=FLOATS, b=FLOATS, c=POSITIVE)
def test_every_operation_contains_the_exact_result(a, b, c):
    x, y, z = Fraction(a), Fraction(b), Fraction(c)
    assert holds(one(a) + one(b), x + y) and holds(one(a) - one(b), x - y)
    assert holds(one(a) * one(b), x * y) and holds(one(a).over(one(c)), x / z) and holds(one(a).square(), x * x)
    root = one(c).sqrt()
    assert Fraction(float(root.low[0])) ** 2 <= z <= Fraction(float(root.high[0])) ** 2
    for side in (one(a) + one(b), one(c).sqrt()):
        assert float(side.high[0] - side.low[0]) <= 1e-15 * (abs(a) + abs(b) + c**0.5)


@given(values=st.lists(FLOATS, min_size=1, max_size=30))
def test_sums_contain_the_exact_sum(values):
    assert holds(Interval.around(np.array([values])).sum(1), sum(map(Fraction, values)))


def test_sums_that_cancel_contain_the_exact_sum():
    """Rounding of one step outward is not enough: float64 makes 0 of the first."""
    for values in ([1e16, 1.0, 1.0, -1e16], [0.1] * 1000):
        assert holds(Interval.around(np.array([values])).sum(1), sum(map(Fraction, values)))


@given(a=POSITIVE, b=POSITIVE)
def test_angles_contain_50_digits(a, b):
    with mpmath.workdps(50):
        exact = mpmath.atan2(mpmath.mpf(a), mpmath.mpf(b))
        found = angle(one(a), one(b))
        assert mpmath.mpf(float(found.low[0])) <= exact <= mpmath.mpf(float(found.high[0]))
        assert mpmath.mpf(float(PI.low)) <= mpmath.pi <= mpmath.mpf(float(PI.high))


def test_a_box_contains_the_images_of_its_points():
    wide = Interval.around(np.array([1.0, -2.0]), 0.5)
    for shift in np.linspace(-0.5, 0.5, 11):
        point = Interval.around(np.array([1.0 + shift, -2.0 - shift]))
        for image in (lambda x: x * x, lambda x: x.square(), lambda x: (x.square() + x).over(x.square())):
            assert image(wide).contains(image(point).low) and image(wide).contains(image(point).high)
    assert not Interval.around(np.array([1.0])).contains(np.array([1.1]))


def test_a_quotient_by_what_may_be_zero_is_everything():
    found = one(1.0).over(Interval(np.array([0.0]), np.array([1.0])))
    assert (found.low[0], found.high[0]) == (-np.inf, np.inf)


def networks(seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(4, 3, generator=g), torch.randn(2, 3, generator=g)


def test_enclosures_contain_the_closed_forms_and_are_narrow():
    for w, v in (*(networks(seed) for seed in range(5)), (structured(6), torch.eye(6))):
        found, student, teacher = Enclosure(w.numpy(), v.numpy()), Neurons(w), Neurons(v)
        pairs = (
            (found.loss(), population_loss(student, teacher)),
            (found.gradient(), population_gradient(student, teacher).weight),
            (found.hessian(), population_hessian(student, teacher)),
        )
        for interval, value in pairs:
            assert np.abs(interval.middle() - value.numpy()).max() < 1e-13
            assert float((interval.high - interval.low).max()) < 1e-11


def test_a_box_contains_loss_gradient_and_hessian_of_its_points():
    w, v = networks(7)
    box, teacher = Enclosure(w.numpy(), v.numpy(), 1e-3), Neurons(v)
    g = torch.Generator().manual_seed(1)
    for _ in range(20):
        student = Neurons(w + 1e-3 * (2 * torch.rand(4, 3, generator=g) - 1))
        assert box.loss().contains(population_loss(student, teacher).numpy())
        assert box.gradient().contains(population_gradient(student, teacher).weight.numpy())
        assert box.hessian().contains(population_hessian(student, teacher).numpy())
    outside = Neurons(w + 0.1)
    assert not box.hessian().contains(population_hessian(outside, teacher).numpy())


def test_the_loss_contains_50_digits():
    w, v = networks(3)

    def kappa(a, b):
        a, b = ([mpmath.mpf(float(x)) for x in row] for row in (a, b))
        n, m = (mpmath.sqrt(sum(x * x for x in row)) for row in (a, b))
        t = mpmath.acos(min(mpmath.mpf(1), sum(x * y for x, y in zip(a, b, strict=True)) / (n * m)))
        return n * m * (mpmath.sin(t) + (mpmath.pi - t) * mpmath.cos(t)) / (2 * mpmath.pi)

    with mpmath.workdps(50):
        total = sum(kappa(a, b) for a in w for b in w) / 2 - sum(kappa(a, b) for a in w for b in v)
        exact = total + sum(kappa(a, b) for a in v for b in v) / 2
        found = Enclosure(w.numpy(), v.numpy()).loss()
        assert mpmath.mpf(float(found.low)) <= exact <= mpmath.mpf(float(found.high))
