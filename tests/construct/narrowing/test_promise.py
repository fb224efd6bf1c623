"""What a narrow network promises: the widest ramp, and a word about rounding."""

import pytest
from narrow_reference import random_net

from vestige.construct.narrowing import equal
from vestige.construct.narrowing.agreement import SafeRegion
from vestige.construct.narrowing.narrower import narrow


@pytest.mark.parametrize("density", [None, 0.5])
@pytest.mark.parametrize("delta", [0.25, 0.1, 0.01])
def test_the_ramp_is_the_widest_that_delta_allows(delta, density):
    options = {"exact": False, "radius": 1.0, "tolerance": 0.3, "density": density}
    region = narrow(random_net([2, 3, 1]), delta=delta, **options).specification.region
    twice = SafeRegion(region.radius, region.bits, 2 * region.ramp)
    assert region.unsafe_probability(2, density) <= delta < twice.unsafe_probability(2, density)


def test_rounding_that_shows_in_floats_alone_is_noted(monkeypatch):
    model = random_net([2, 9, 1])
    assert not narrow(model).warnings
    monkeypatch.setattr(equal, "_error_in_floats", lambda *_: 1e-6)
    built = narrow(model)
    assert built.certificate.holds and built.numbers["float64_error"] == 1e-6
    assert built.warnings[0].startswith("Rounding shows")
