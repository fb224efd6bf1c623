"""What a construction promises is measured on the network that it returns."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch

from vestige.construct.exact.compose import pass_through
from vestige.construct.exact.exact_construction import ExactConstruction
from vestige.construct.exact.interpolation import Interpolation
from vestige.construct.exact.layers import layer
from vestige.construct.exact.network import ExactNetwork
from vestige.core.claims import Certificate
from vestige.core.outcome import Outcome

POINTS = np.array([[0.0], [1.0], [5.0]])
IDENTITY = Interpolation(POINTS, POINTS, "by definition")


def construction(network):
    claims = IDENTITY.check(network)
    return ExactConstruction(
        network=network,
        specification=IDENTITY,
        certificate=Certificate(claims),
        outcome=Outcome.CONVERGED,
        source=(),
        numbers={},
    )


def test_the_identity_holds_and_the_zero_network_does_not():
    assert construction(pass_through(1, 3)).verify().holds
    zero = ExactNetwork((layer(1, [({}, 0)]),))
    wrong, worst = IDENTITY.check(zero)
    assert (wrong.measured, worst.measured) == (2, 5)
    assert not construction(zero).verify().holds


def test_a_last_bit_is_an_error_that_does_not_round_to_zero():
    tiny = Fraction(1, 2**2000)
    network = ExactNetwork((layer(1, [({0: 1}, tiny)]),))
    assert not Certificate(IDENTITY.check(network)).holds
    assert Certificate(replace(IDENTITY, tolerance=tiny).check(network)).claims[0].holds
    assert IDENTITY.errors(network) == [tiny] * 3


def test_to_torch_is_audited_at_the_points_of_the_specification():
    module = construction(pass_through(1, 3)).to_torch()
    assert module(torch.from_numpy(POINTS)).tolist() == POINTS.tolist()


def test_the_worst_output_of_a_point_counts():
    twice = ExactNetwork((layer(1, [({0: 1}, 0), ({0: 1}, 0)]),))
    assert Interpolation(POINTS[1:2], np.array([[1.0, 5.0]]), "by definition").errors(twice) == [4]
