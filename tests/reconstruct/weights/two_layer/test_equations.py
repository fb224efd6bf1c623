"""The best vector of a column space for given gates: against an eigendecomposition of the matrix written out."""

import pytest
import torch
import torch.nn.functional as F

from vestige.core.rng import child
from vestige.reconstruct.weights.two_layer.equations import INNER, RIDGE, Equations, davidson, inverse_iteration

M, H, N, Q = 5, 60, 12, 3


@pytest.fixture(params=[torch.float64, torch.float32], ids=["double", "single"])
def equations(request):
    g = child(0, "equations")
    first = torch.linalg.qr(torch.randn(H, N, generator=g))[0]
    output = torch.linalg.qr(torch.randn(H, Q, generator=g))[0]
    weight = torch.rand(M, H, generator=g) ** 3 + 0.01
    gate = torch.rand(M, H, generator=g) < 0.5
    return Equations.of(*(part.to(request.param) for part in (first, output, weight)), gate)


def written_out(equations):
    """A of each weighting, in double precision, l eliminated by least squares."""
    first, output, weight, opened = (
        part.double() for part in (equations.first, equations.output, equations.weight, equations.opened)
    )
    forms = []
    for w, o in zip(weight, opened, strict=True):
        gated = (o > 0).double()[:, None] * output
        stacked = torch.cat([gated * w.sqrt()[:, None], INNER**0.5 * torch.eye(Q)])
        target = torch.cat([first * w.sqrt()[:, None], torch.zeros(Q, N)])
        left = target - stacked @ torch.linalg.lstsq(stacked, target).solution
        ridge = RIDGE[equations.first.dtype] * (w @ first.square().sum(1)) / N
        forms.append(left.T @ left + ridge * torch.eye(N))
    return torch.stack(forms)


def smallest(forms):
    return torch.linalg.eigh(forms)[1][:, :, 0]


def start(equations):
    c = F.normalize(torch.randn(M, N, generator=child(1, "start"), dtype=torch.float64), dim=1)
    return c.to(equations.first)


def alignment(c, truth):
    return (c.double() * truth).sum(1).abs()


def test_products_and_factors_are_those_of_the_matrix(equations):
    forms, c = written_out(equations), start(equations)
    close = {"rtol": 1e-3, "atol": 1e-5} if c.dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-12}
    expected = (forms @ c.double()[:, :, None])[:, :, 0]
    torch.testing.assert_close(equations.product(c).double(), expected, **close)
    factor = equations.factor().double()
    torch.testing.assert_close(factor @ factor.mT, forms, **close)


def test_entries_are_the_column_and_the_best_signal(equations):
    c = start(equations)
    s, full = equations.entries(c)
    torch.testing.assert_close(s, c @ equations.first.T)
    for row, f, w in zip(s, full, equations.opened, strict=True):
        root = w.sqrt()[:, None]
        best = torch.linalg.lstsq(root * equations.output, root[:, 0] * row).solution @ equations.output.T
        torch.testing.assert_close(f, best, rtol=1e-3, atol=1e-4)


def test_inverse_iteration_ends_at_the_smallest_eigenvector(equations):
    c = inverse_iteration(equations.factor(), start(equations), steps=200)
    assert (alignment(c, smallest(written_out(equations))) > 1 - 1e-4).all()
    assert (alignment(start(equations), smallest(written_out(equations))) < 0.9).all()  # null: where it begins


def test_a_factor_of_other_weights_still_leads_there(equations):
    """Null: the same steps of inverse iteration with that factor end at the other weights' vector."""
    draw = torch.rand(M, H, generator=child(2, "weights"), dtype=torch.float64)
    other = torch.where(draw < 0.2, 0.05, 1.0).to(equations.first) * equations.weight
    old = Equations.of(equations.first, equations.output, other, equations.opened > 0).factor()
    forms = written_out(equations)
    least = torch.linalg.eigvalsh(forms)[:, 0]
    begun = inverse_iteration(old, start(equations), steps=50)
    near, stayed = davidson(equations, old, begun, steps=3), inverse_iteration(old, begun, steps=3)
    above = [(((c.double()[:, None] @ forms)[:, 0] * c).sum(1) / least - 1) for c in (near, stayed)]
    assert (above[0] < 0.2 * above[1]).all() and above[1].mean() > 0.1, above
    whole = davidson(equations, old, begun, steps=N - 1)  # the basis is the space
    assert (alignment(whole, smallest(forms)) > 1 - 1e-4).all()
    torch.testing.assert_close(near.norm(dim=1), torch.ones(M).to(near))


def test_a_vector_that_is_there_already_stays(equations):
    c = smallest(written_out(equations)).to(equations.first)
    moved = davidson(equations, equations.factor(), c, steps=2)
    assert bool(moved.isfinite().all()) and (alignment(moved, c.double()) > 1 - 1e-5).all()


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_space_of_few_dimensions_is_searched_whole(equations, dimensions):
    """More residuals than dimensions are asked for: what is left of them is rounding, and no vector."""
    first = torch.linalg.qr(equations.first[:, :dimensions])[0]
    few = Equations.of(first, equations.output, equations.weight, equations.opened > 0)
    c = F.normalize(torch.ones(M, dimensions).to(first), dim=1)
    near = davidson(few, few.factor(), c, steps=4)
    forms = torch.stack([few.product(row.expand(M, -1)) for row in torch.eye(dimensions).to(first)], 1)
    assert (alignment(near, smallest(forms.double())) > 1 - 1e-4).all()


def test_a_column_that_is_lost_stops_no_other(equations):
    c = start(equations)
    expected = davidson(equations, equations.factor(), c, steps=2)
    c[1] = torch.nan
    found = davidson(equations, equations.factor(), c, steps=2)
    kept = torch.arange(M) != 1
    assert bool(found[1].isnan().all())
    torch.testing.assert_close(found[kept], expected[kept])
