"""RedEx as scikit-learn estimators, circuits, and the separation from fixed kernels."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_ridge import KernelRidge

from vestige.convex import ConvRedEx, RedExClassifier, RedExRegressor, compile_circuit, parity_staircase


@pytest.mark.parametrize("name", ["RedExRegressor", "RedExClassifier", "ConvRedEx"])
def test_scikit_learn_takes_it(name):
    """In a process of its own: some of the checks pass what the types that tests check do not allow."""
    imports = f"from sklearn.utils.estimator_checks import check_estimator; from vestige.convex import {name}"
    code = f"{imports}; check_estimator({name}())"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True)


def test_it_learns_a_product_and_says_of_what():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6))
    y = np.stack([x[:, 1] * x[:, 4], x[:, 1] ** 2], 1)
    found = RedExRegressor(ridge=1e-5, trace_penalty=1e-3).fit(x[:200], y[:200])
    assert found.score(x[200:], y[200:]) > 0.99
    assert set(found.relevance_.argsort()[-2:]) == {1, 4}
    assert found.solutions_[0].gap < 1e-3 and found.represent(x).shape[0] == 300
    assert RedExRegressor(constant=0.0).fit(x, x[:, 0]).score(x, x[:, 0]) < 0.1  # no constant, no odd functions


def test_few_samples_are_solved_in_their_span():
    """m < d: the same predictions as in the full space."""
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(8, 12)), rng.normal(size=(5, 12))
    y = x[:, 0] * x[:, 1]
    small = RedExRegressor(ridge=0.1, gap=1e-9).fit(x, y)
    assert small.layers_[0].v.shape[0] <= 8
    doubled = RedExRegressor(ridge=0.1, gap=1e-9).fit(np.vstack([x, x]), np.hstack([y, y]))
    assert np.allclose(small.predict(new), doubled.predict(new), atol=1e-5)


def test_two_layers_learn_what_one_cannot():
    x, y, hidden = parity_staircase(600, dimension=8, k=4)
    fresh, wanted, _ = parity_staircase(601, dimension=8, k=4)
    one = RedExRegressor(1, ridge=2e-3).fit(x.numpy(), y.numpy())
    two = RedExRegressor(2, ridge=2e-3).fit(x.numpy(), y.numpy())
    guess, parity = (np.sign(e.predict(fresh.numpy())[:, -1]) for e in (one, two))
    sign = np.sign(wanted[:, -1].numpy())
    assert (parity == sign).mean() > 0.99 and (guess == sign).mean() < 0.75
    assert set(two.relevance_.argsort()[-4:]) == set(hidden.tolist())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_separation_from_kernels(seed):
    """d = 24, k = 4, 1,000 samples a layer: RedEx finds the parity, and kernels with all of them do not."""
    draw = torch.Generator().manual_seed(seed)
    x, y, hidden = (t.numpy() for t in parity_staircase(2000, dimension=24, k=4, generator=draw))
    fresh, wanted, _ = (t.numpy() for t in parity_staircase(2001, dimension=24, k=4, generator=draw))

    def right(found):
        return (np.sign(found if found.ndim == 1 else found[:, -1]) == np.sign(wanted[:, -1])).mean()

    redex = RedExRegressor(2, ridge=2e-3, fresh_split=True)
    assert right(redex.fit(x, y).predict(fresh)) >= 0.999
    assert ((redex.predict(fresh) - wanted) ** 2).mean() <= 0.1  # .01 to .06 measured elsewhere, for each target
    assert set(redex.relevance_.argsort()[-4:]) == set(hidden) and max(s.gap for s in redex.solutions_) <= 1e-3
    for kernel in (KernelRidge(kernel="poly", degree=4, alpha=1e-3), KernelRidge(kernel="rbf", alpha=1e-3)):
        assert right(kernel.fit(x, y[:, -1]).predict(fresh)) <= 0.6
    one = RedExRegressor(1, ridge=2e-3)  # null: a layer less than log2 k, with all samples
    assert right(one.fit(x, y).predict(fresh)) <= 0.5 + 5 * 0.5 / len(fresh) ** 0.5


def test_patches_share_an_extractor():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6))
    y = x[:, 0] * x[:, 1] - 2 * x[:, 2] * x[:, 3]
    found = ConvRedEx(patches=3, ridge=1e-5).fit(x, y)
    assert found.score(x, y) > 0.99 and found.solution_.a.shape == (1, 3, 3, 3)
    whole = RedExRegressor(ridge=1e-3).fit(x, y)
    assert np.allclose(ConvRedEx(patches=1, ridge=1e-3, gap=1e-6).fit(x, y).predict(x), whole.predict(x), atol=1e-2)
    with pytest.raises(ValueError, match="equal parts"):
        ConvRedEx(patches=4).fit(x, y)


def test_options_out_of_range_and_what_the_solver_says():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    for wrong in ({"n_layers": 0}, {"row_share": 1.0}, {"solver": "magic"}, {"ridge": -1.0}):
        with pytest.raises(ValueError):
            RedExRegressor(**wrong).fit(x, y)
    with pytest.raises(ValueError, match="scale them"):
        RedExRegressor().fit(1e9 * x, y)
    with pytest.raises(ValueError, match="2 classes"):
        RedExClassifier().fit(x, np.zeros(20))
    with pytest.warns(ConvergenceWarning, match="gap"):
        ConvRedEx(solver="splitting", gap=-1.0).fit(x, y)
    with pytest.warns(ConvergenceWarning, match="gap"):
        RedExRegressor(solver="splitting", gap=-1.0).fit(x, y)


@given(st.integers(1, 5), st.integers(1, 20), st.integers(0, 1000))
def test_circuits_are_exact_on_all_inputs(inputs, size, seed):
    rng = np.random.default_rng(seed)
    gates = []
    for number in range(size):
        kind = ("not", "and", "or")[rng.integers(3)]
        gates.append((kind, tuple(int(i) for i in rng.integers(inputs + number, size=1 if kind == "not" else 2))))
    x = torch.tensor(np.array(np.meshgrid(*[[0, 1]] * inputs)).reshape(inputs, -1).T).double()
    values = [column.bool() for column in x.T]
    for kind, taken in gates:
        a, b = values[taken[0]], values[taken[-1]]
        values.append({"not": ~a, "and": a & b, "or": a | b}[kind])
    circuit = compile_circuit(inputs, gates)
    assert torch.equal(circuit(x), values[-1].double())
    assert circuit.depth == size + sum(kind == "or" for kind, _ in gates)


@pytest.mark.parametrize("gates", [[], [("and", (0,))], [("not", (2,))], [("xor", (0, 1))]])
def test_circuits_that_are_none(gates):
    with pytest.raises(ValueError):
        compile_circuit(2, gates)
