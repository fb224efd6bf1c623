"""Profiles of overfitting: the verdicts of models whose kind is known, and refusals."""

import math

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from vestige.convex import max_margin_1d
from vestige.core.residual import stationarity
from vestige.core.rng import child
from vestige.landscape import NotInterpolating, overfitting_profile
from vestige.landscape.overfitting.exponents import Exponent, fitted_exponent, interval, judged
from vestige.nets import mlp, train_to_margin


def line(x, y):
    return max_margin_1d(x[:, 0], y).model


def network(bias, width=64):
    def fit(x, y):
        start = mlp(
            [x.shape[1], width, 1], bias="first" if bias else "none", first_init=1e-2, generator=child(0, "net")
        )
        return train_to_margin(start.double(), x, y, loss="logistic", tol_loss=1e-3, steps=3000).model

    return fit


class Memory:
    """Fits every label, and answers anything else with the same number."""

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, x, y):
        def predict(inputs):
            if inputs.shape == x.shape and bool((inputs == x).all()):
                return y.double()
            return torch.full((len(inputs),), self.answer)

        return predict


def test_the_interpolator_of_the_line_is_tempered():
    """err is between 0.7 p and 1.4 p on average, published as linear in p."""
    found = overfitting_profile(line, noise_levels=(0.1, 0.2, 0.4), sizes=(100,), repeats=6)
    ratio = found.error.mean(-1)[0, 0] / torch.tensor(found.noise_levels)
    assert bool(((ratio > 0.7) & (ratio < 1.4)).all()) and float(found.margin.min()) > 0.999
    assert found.verdicts == ("tempered",) and 0.5 < found.exponents[0][0].exponent < 1.5


@pytest.mark.slow
def test_its_error_does_not_depend_on_the_number_of_samples():
    found = overfitting_profile(line, noise_levels=(0.1, 0.2, 0.3, 0.4), sizes=(300, 600), repeats=10)
    few, many = found.error[0]
    ratio = few.mean(-1) / torch.tensor(found.noise_levels)
    assert bool(((ratio > 0.7) & (ratio < 1.4)).all())
    assert bool(((few.mean(-1) - many.mean(-1)).abs() < 2 * few.std(-1)).all())


def test_memory_with_a_right_answer_is_benign_and_with_a_wrong_one_catastrophic():
    assert overfitting_profile(Memory(1.0), repeats=3).verdicts == ("benign",)
    assert overfitting_profile(Memory(0.0), repeats=3).verdicts == ("catastrophic",)  # 0 is an error
    assert overfitting_profile(Memory(math.nan), repeats=3).verdicts == ("catastrophic",)


def test_nearest_neighbors_are_tempered_in_scikit_learn():
    found = overfitting_profile(KNeighborsClassifier(1), dims=(1, 3), sizes=(400,), repeats=5)
    assert found.verdicts == ("tempered", "tempered")
    assert bool((found.error.mean(-1)[:, 0] - torch.tensor(found.noise_levels)).abs().max() < 0.06)


def test_two_layer_networks_are_benign_in_high_dimension_only_with_biases():
    """Published: d = 2000, 100 samples. Fast here because training stays in the span of the samples."""
    with_bias = overfitting_profile(network(True), noise_levels=(0.1,), dims=(2000,), repeats=2, test_samples=500)
    without = overfitting_profile(network(False), noise_levels=(0.1,), dims=(2000,), repeats=2, test_samples=500)
    assert float(with_bias.error[0, 0, 0].mean()) <= 0.01 and with_bias.verdicts == ("benign",)
    assert float(without.error[0, 0, 0].mean()) >= 0.15 and without.verdicts[0] != "benign"


@pytest.mark.slow
def test_networks_are_tempered_near_the_line_and_less_so_the_more_dimensions():
    """Published: the error is the noise within 40 % at d = 20, and falls beyond d = m = 100."""
    low = overfitting_profile(network(True), noise_levels=(0.1, 0.2, 0.3), dims=(20,), repeats=3)
    ratio = low.error[0, 0].mean(-1) / low.flipped[0, 0].mean(-1)
    assert bool(((ratio > 0.6) & (ratio < 1.4)).all()) and low.verdicts[0] != "benign"
    high = overfitting_profile(network(True), noise_levels=(0.2,), dims=(100, 500, 2000), repeats=3)
    falling = high.error[:, 0, 0].mean(-1)
    assert bool((falling.diff() < 0).all()) and float(falling[-1]) < 0.05 < float(falling[0])


def test_training_goes_on_towards_the_margin_conditions():
    """The residual of stationarity falls with the loss, and multipliers are not negative; random weights fail."""
    x = torch.randn(40, 1000, generator=child(0, "sphere"))
    x = 30 * x / x.norm(dim=1, keepdim=True)
    y = torch.where(torch.arange(40) < 4, -1, 1)
    start = mlp([1000, 64, 1], bias="first", first_init=1e-2, generator=child(0, "net")).double()
    models = [train_to_margin(start, x, y, loss="logistic", tol_loss=tol).model for tol in (1e-2, 1e-5, 1e-8)]
    found = [stationarity(model, x, y, loss="logistic") for model in (start, *models)]
    residuals = torch.tensor([float(f.residual) for f in found])
    assert bool((residuals.diff() < 0).all()) and residuals[-1] < 0.6 * residuals[1] and residuals[0] > 0.95
    assert all(bool((f.multipliers >= 0).all()) and float(f.multipliers.max()) > 0 for f in found[1:])


def test_a_model_that_does_not_fit_its_labels_is_refused():
    with pytest.raises(NotInterpolating, match="training labels"):
        overfitting_profile(KNeighborsClassifier(15))
    with pytest.raises(NotInterpolating, match="Train longer"):
        overfitting_profile(SVC(C=1e-3))
    with pytest.raises(NotInterpolating):
        overfitting_profile(lambda x, y: lambda inputs: torch.zeros(len(inputs)))
    assert issubclass(NotInterpolating, ValueError)


def test_few_repeats_have_wide_intervals_and_no_verdict():
    one = overfitting_profile(KNeighborsClassifier(1), repeats=1)
    assert one.verdicts == ("undecided",) and one.exponents[0][0].interval == (-math.inf, math.inf)
    assert "One repeat" in one.warnings[0]
    two = overfitting_profile(KNeighborsClassifier(1), repeats=2)
    low, high = two.exponents[0][0].interval
    assert high - low > 0.5 and "wide" in two.warnings[0]


def test_exponents_of_a_power_law_are_exact():
    levels = (0.1, 0.2, 0.4)
    error = torch.tensor([[2 * p**1.5] * 3 for p in levels])
    found = fitted_exponent(levels, error, floor=1e-9)
    assert found.exponent == pytest.approx(1.5) and found.factor == pytest.approx(2)
    assert found.interval == pytest.approx((1.5, 1.5))
    assert judged(levels, error, found) == "tempered"
    assert judged(levels, error, Exponent(2.0, 1.5, (0.4, 2.6))) == "undecided"
    error[0] = 0  # harmless at little noise and not at much
    assert judged(levels, error, found) == "undecided"
    flat = Exponent(1.0, 0.0, (-0.1, 0.1))
    assert judged(levels, torch.full((3, 3), 0.15), flat) == "catastrophic"
    assert judged(levels, torch.full((3, 3), 0.05), flat) == "undecided"  # below the noise
    assert math.isnan(fitted_exponent((0.1,), error[:1], floor=1e-9).exponent)
    low, high = interval(torch.tensor([1.0, 2.0, 3.0]))
    assert (low + high) / 2 == pytest.approx(2) and high - low == pytest.approx(2 * 4.302653 / 3**0.5, rel=1e-6)


def test_samples_do_not_depend_on_what_else_is_asked():
    few = overfitting_profile(KNeighborsClassifier(1), noise_levels=(0.2,), repeats=2)
    more = overfitting_profile(KNeighborsClassifier(1), noise_levels=(0.1, 0.2), dims=(2, 1), repeats=3)
    torch.testing.assert_close(few.error[0, 0, 0], more.error[1, 0, 1, :2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_levels": (0.0, 0.1)}, "Without noise"),
        ({"noise_levels": (0.2, 0.1)}, "increasing"),
        ({"noise_levels": (0.5,)}, "1/2"),
        ({"noise_levels": ()}, "increasing"),
        ({"dims": (0,)}, "at least 1"),
        ({"repeats": 0}, "at least 1"),
        ({"noise_levels": (0.001,)}, "less than one flipped"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        overfitting_profile(KNeighborsClassifier(1), **options)
