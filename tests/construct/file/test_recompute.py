"""The second evaluator against the first, and what it refuses to compute."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.construct.exact.layers import Layer, Neuron, layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.recompute import sizes_of, values_at

dyadic = st.builds(lambda a, s: Fraction(a, 2**s), st.integers(-40, 40), st.integers(0, 5))


@st.composite
def rows(draw):
    """Rows of weights with a bias, layer by layer; the networks are made of them in the test."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=2, max_size=5))
    return [
        (a, [([draw(dyadic) for _ in range(a)], draw(dyadic)) for _ in range(b)]) for a, b in itertools.pairwise(sizes)
    ]


@given(rows=rows(), seed=st.integers(0, 99))
def test_both_evaluators_agree_to_the_last_bit(rows, seed):
    network = ExactNetwork(tuple(layer(a, [(dict(enumerate(w)), b) for w, b in item]) for a, item in rows))
    points = torch.randn(7, network.inputs, generator=torch.Generator().manual_seed(seed)).numpy()
    assert (np.array(values_at(network.layers, points), dtype=object) == network(points)).all()
    sizes = sizes_of(network.layers)
    for name in ("width", "nonzeros", "parameters"):
        assert sizes[name] == getattr(network, name)
    assert (sizes["layers"], sizes["weight bits"]) == (network.depth, network.weight_bits)


def test_numbers_without_end_are_refused():
    endless = tuple(Layer(1, (Neuron((0,), (3,), 0, 1 << 17),)) for _ in range(40))
    with pytest.raises(ValueError, match="its file's size allows"):
        values_at(endless, np.array([[1.0]]))
