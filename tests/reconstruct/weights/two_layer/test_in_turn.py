"""Columns and samples in turn: each makes the other better, and nobody's sample makes a column worse."""

import torch
import torch.nn.functional as F
from many_samples import DIM, N, falling, trained_on_many

from vestige.core.rng import child
from vestige.reconstruct.weights.two_layer.columns import fit_columns, with_multipliers
from vestige.reconstruct.weights.two_layer.in_turn import better, columns_again, nearest, samples_of
from vestige.reconstruct.weights.zeros.layer import first_layer

EXACT = 0.05  # sine below which a column is that of its sample


def sine(columns, true):
    return (1 - (columns.s * true).sum(1).square()).clamp(min=0).sqrt()


def test_samples_and_columns_make_each_other_better():
    """from inputs with a cosine of .9 to the samples, and the columns that their gates lead near to."""
    chain, space, z, _, s = trained_on_many(falls=True, width=360)
    cov = chain.basis.T @ (falling().square()[:, None] * chain.basis)
    metric = torch.linalg.cholesky(cov / cov.trace()).T
    error = F.normalize((torch.randn(N, DIM, generator=child(1, "input")) * falling()) @ chain.basis, dim=1)
    length = z.norm(dim=1).median()
    rough = length * F.normalize(F.normalize(z, dim=1) + 0.5 * error, dim=1)
    columns = fit_columns(space, rough @ chain.weights[0].T + chain.biases[0], generator=child(2, "fit"))
    near = sine(columns, s) < 0.45
    columns, z, s = columns[near], z[near], s[near]
    first, layer, cosines = sine(columns, s), first_layer(chain), []
    for _ in range(3):
        samples, _ = samples_of(chain, layer, space, columns, rough, float(length), metric)
        columns, space = columns_again(chain, space, columns, samples, generator=child(3, "again"))
        cosines.append(F.cosine_similarity(samples, z).mean())
    exact, exact_now = int((first < EXACT).sum()), int((sine(columns, s) < EXACT).sum())
    assert len(s) > 20 and cosines[0] + 0.03 < cosines[-1] and exact + 4 <= exact_now


def test_the_nearest_candidate_says_what_gates_leave_open():
    """Null: candidates of nobody."""
    chain, space, z, _, s = trained_on_many()
    columns, length = with_multipliers(space, s[:20]), float(z.norm(dim=1).median())
    nobody = length * F.normalize(torch.randn(z.shape, generator=child(7, "nobody")), dim=1)
    told, alone = (samples_of(chain, first_layer(chain), space, columns, c, length, None)[0] for c in (z, nobody))
    cosine = F.cosine_similarity
    assert cosine(told, z[:20]).mean() > cosine(alone, z[:20]).mean() + 0.1


def test_a_sample_of_nobody_leaves_columns_as_they_are():
    """Null: gates of drawn inputs lead to nothing that fits better than the columns of samples."""
    chain, space, z, _, s = trained_on_many()
    columns = with_multipliers(space, s)
    nobody = z.norm(dim=1).median() * F.normalize(torch.randn(z.shape, generator=child(4, "nobody")), dim=1)
    again, _ = columns_again(chain, space, columns, nobody, generator=child(5, "again"))
    assert sine(again, s).max() < 1e-6


def test_the_better_of_two_alike_columns_is_taken_one_by_one():
    _, space, _, _, s = trained_on_many()
    error = F.normalize(torch.randn(N, N, generator=child(6, "error")) @ space.first.T, dim=1)
    true, rough = (with_multipliers(space, F.normalize(s + part * error, dim=1)) for part in (0.0, 0.2))
    first, second = (better(*pair) for pair in ((true, rough), (rough, true)))
    assert (true.fits > rough.fits).all()
    torch.testing.assert_close(first.s, true.s)
    torch.testing.assert_close(second.s, true.s)
    another = true[torch.arange(N).roll(1)]
    torch.testing.assert_close(better(rough, another).s, rough.s)


def test_the_nearest_candidate_has_the_gates():
    chain, _, z, _, _ = trained_on_many()
    gates = z @ chain.weights[0].T + chain.biases[0]
    assert (nearest(chain, gates, z) == torch.arange(N)).all()
