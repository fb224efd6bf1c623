"""A trained classifier and its narrow form say the same on held-out data."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons

from vestige.construct.narrowing.narrower import narrow
from vestige.core.rng import child
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin


@pytest.mark.slow
@pytest.mark.parametrize("width", ["5d", "d+2"])
def test_two_moons_keep_every_prediction(width):
    x, y = make_moons(600, noise=0.15, random_state=0)
    x = torch.from_numpy(((x - x.mean(0)) / 2).astype(np.float32))
    start = mlp([2, 16, 16, 2], bias="all", generator=child(0, "init"), dtype=torch.float32)
    labels = torch.from_numpy(y)
    model = train_to_margin(
        start, x[:300], labels[:300], loss="cross_entropy", weight_decay=1e-4, schedule="one_cycle", steps=1000
    ).model
    said = model(x[300:]).argmax(1)
    assert float((said == labels[300:]).double().mean()) > 0.93
    built = narrow(model, x[300:], exact=False, tolerance=1e-3, delta=1e-3, width=width)
    safe = built.specification.is_safe(x[300:])
    assert built.certificate.holds and int(safe.sum()) >= 297
    narrow_said = torch.tensor([int(np.argmax(row)) for row in built.network(x[300:][safe])])
    assert torch.equal(narrow_said, said[safe])
    untrained = narrow(start, x[300:], exact=False, tolerance=1e-3, delta=1e-3, width=width)
    null = torch.tensor([int(np.argmax(row)) for row in untrained.network(x[300:][safe])])
    assert float((null != said[safe]).double().mean()) > 0.1


@pytest.mark.slow
def test_a_larger_target_at_the_papers_precision():
    """d = 3, n = 8, L = 3 and an error of 1e-12, which takes 43 bits behind the point."""
    model = mlp([3, 8, 8, 1], bias="all", generator=child(0, "init"))
    built = narrow(model, exact=False, radius=1.0, tolerance=1e-12, generator=child(1, "x"))
    assert built.certificate.holds and built.numbers["sampled_error"] <= 1e-12
    x = 2 * torch.rand((2000, 3), generator=child(2, "x")) - 1
    x = x[built.specification.is_safe(x)]
    assert float(abs(built.network(x) - built.specification.target(x)).max()) <= built.numbers["certified_error"]
