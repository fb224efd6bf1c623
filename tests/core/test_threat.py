"""One threat model: what is read as a norm, and which balls are refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.space import InputSpace, lp_norm
from vestige.core.threat import Norm, Threat


@pytest.mark.parametrize(
    ("written", "norm"),
    [
        ("linf", Norm.LINF), ("Linf", Norm.LINF), ("inf", Norm.LINF), (math.inf, Norm.LINF), (Norm.LINF, Norm.LINF),
        ("l2", Norm.L2), ("L2", Norm.L2), ("2", Norm.L2), (2, Norm.L2), (2.0, Norm.L2),
        ("l1", Norm.L1), ("L1", Norm.L1), ("1", Norm.L1), (1, Norm.L1), (1.0, Norm.L1),
    ],
)  # fmt: skip
def test_ways_to_write_a_norm(written, norm):
    assert Norm(written) is norm


@pytest.mark.parametrize("wrong", ["l3", 3, 0, -1, 0.5, math.nan, True, None, "", "linfty", -math.inf])
def test_other_norms_are_refused_with_those_allowed(wrong):
    with pytest.raises(ValueError, match="given for Norm; allowed are 'linf', 'l2' and 'l1'"):
        Norm(wrong)


@given(
    norm=st.sampled_from(list(Norm)),
    x=st.lists(st.floats(-9, 9), min_size=4, max_size=4),
    y=st.lists(st.floats(-9, 9), min_size=4, max_size=4),
)
def test_hoelder(norm, x, y):
    a, b = torch.tensor([x]).double(), torch.tensor([y]).double()
    bound = float(lp_norm(a, norm.p) * lp_norm(b, norm.dual))
    assert abs(float((a * b).sum())) <= bound * (1 + 1e-12)


@pytest.mark.parametrize("norm", list(Norm))
def test_hoelder_is_tight(norm):
    g = torch.tensor([[3.0, -4.0, 0.5]])
    best = {
        Norm.LINF: g.sign(),
        Norm.L2: g / g.norm(),
        Norm.L1: torch.tensor([[0.0, -1.0, 0.0]]),
    }[norm]
    assert float(lp_norm(best, norm.p)) == pytest.approx(1)
    assert float((best * g).sum()) == pytest.approx(float(lp_norm(g, norm.dual)))


@pytest.mark.parametrize("eps", [0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("norm", list(Norm))
def test_a_radius_is_positive_and_finite(eps, norm):
    with pytest.raises(ValueError, match=r"eps must be positive and finite.*such as 8/255"):
        Threat(eps, norm)


def test_a_ball_that_covers_the_box_is_refused_in_l_inf_alone():
    with pytest.raises(ValueError, match=r"eps=8 given for data in \[0, 1\].*Write 8/255"):
        Threat(8)
    with pytest.raises(ValueError, match="every input is allowed"):
        Threat(2.0, space=InputSpace(-1, 1))
    assert Threat(8, "l2").eps == 8
    assert Threat(8, space=InputSpace(0, 255)).eps == 8
    assert Threat(1e9, space=InputSpace(-math.inf, math.inf)).eps == 1e9


def test_what_is_not_given_is_the_unit_box():
    threat = Threat(0.1, 1)
    assert threat.norm is Norm.L1 and (threat.space.low, threat.space.high) == (0, 1)
    with pytest.raises(AttributeError):
        threat.eps = 0.2


def test_each_sample_may_have_its_radius():
    threat = Threat([0.1, 0.3, 0.2], "linf")
    assert threat.eps == 0.3 and threat.at(slice(1, 3)).given.tolist() == [0.3, 0.2]
    assert threat.radii(torch.zeros(3, 2)).tolist() == [0.1, 0.3, 0.2]
    assert threat != Threat([0.3, 0.3, 0.3], "linf", threat.space)  # the largest radius alone says nothing
    assert Threat(torch.tensor(0.1)).each is None and Threat(0.1).radii(torch.zeros(2, 1)).tolist() == [0.1, 0.1]
    with pytest.raises(ValueError, match="3 radii given for 2 samples"):
        threat.radii(torch.zeros(2, 2))
    for wrong in ([0.1, -0.1], [0.1, math.nan]):
        with pytest.raises(ValueError, match="positive and finite"):
            Threat(wrong)
    for wrong in ([], np.array([[0.1]])):
        with pytest.raises(ValueError, match="one radius is needed"):
            Threat(wrong)
    with pytest.raises(ValueError, match="every input is allowed"):
        Threat([0.1, 1.0])
