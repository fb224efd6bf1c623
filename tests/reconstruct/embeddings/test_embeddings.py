from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import nn

from vestige.audit.embeddings import retrieval
from vestige.audit.truth import Truth
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.data.dataset import DataSet
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin
from vestige.reconstruct.embeddings.from_embeddings import head_width, pool_repeats, reconstruct_from_embeddings
from vestige.reconstruct.embeddings.retrieval import best_rank, nearest_in_gallery, retrieval_rank
from vestige.reconstruct.scoring.score import score_reconstruction


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=child(seed, "gaussian"), dtype=torch.float64)


CLASSES, WIDTH = 6, 48
X = gaussian(12, WIDTH)
X = X - X.mean(0)
Y = torch.arange(12) % CLASSES
FIT = {"loss": "cross_entropy", "weight_decay": 1e-3}


@pytest.fixture(scope="module")
def head():
    start = mlp([WIDTH, 200, CLASSES], first_init=1e-3, generator=child(0, "head"), dtype=torch.float64)
    return train_to_margin(start, X, Y, steps=2500, **FIT).model


@pytest.fixture(scope="module")
def found(head):
    return reconstruct_from_embeddings(
        head, input_shape=(WIDTH,), repeats=2, restarts=2, steps=350, generator=child(1), **FIT
    )


def test_training_embeddings_come_back_and_chance_does_not(head, found):
    score = score_reconstruction(found, X, held_out=gaussian(1500, WIDTH, seed=7))
    assert score.n_recovered >= 6
    assert all(null.n_recovered <= 1 for null in score.nulls)
    names = {paper.arxiv for paper in found.source}
    assert "2407.15845" in names


def test_the_true_input_is_first_among_thousands_and_for_random_embeddings_it_is_not(found):
    gallery = torch.cat([gaussian(2000, WIDTH, seed=5), X])
    place = torch.arange(2000, 2012)
    rank = best_rank(found.samples, gallery, place)
    assert (rank == 1).sum() >= 6
    assert (best_rank(gaussian(len(found.samples), WIDTH, seed=6), gallery, place) == 1).sum() == 0
    unseen = best_rank(found.samples, gallery, torch.arange(2000))
    assert (unseen == 1).double().mean() < 0.05  # nothing is said of what was not trained on


def test_an_untrained_head_gives_nothing_up():
    start = mlp([WIDTH, 200, CLASSES], first_init=1e-3, generator=child(0, "head"), dtype=torch.float64)
    found = reconstruct_from_embeddings(start, n_candidates=24, restarts=2, steps=100, generator=child(1), **FIT)
    assert score_reconstruction(found, X, held_out=gaussian(1500, WIDTH, seed=7)).n_recovered == 0


def test_pooled_runs_keep_every_candidate_and_number_restarts_through(found):
    assert found.restart.unique().numel() == len(found.residual) and len(found.candidates) == len(found.restart)
    assert found.samples.shape[1:] == (WIDTH,) and len(found.confidence) == len(found.samples)
    assert found.cluster.max() < len(found.samples) and found.verified.long().diff().le(0).all()
    for k in (found.cluster[found.cluster >= 0]).unique().tolist():
        members = found.candidates[found.cluster == k]
        assert F.cosine_similarity(members, found.samples[k][None]).min() > 0.5
    single = pool_repeats([found])
    torch.testing.assert_close(single.samples[single.verified], found.samples[found.verified])
    assert single.gradient_evaluations == found.gradient_evaluations


def test_one_seed_one_result(head):
    runs = [reconstruct_from_embeddings(head, restarts=2, steps=20, generator=child(3), **FIT) for _ in range(2)]
    torch.testing.assert_close(runs[0].samples, runs[1].samples)


# linear heads


def linear_head(x, y, classes):
    """A stationary point of cross-entropy with weight decay 1e-3, by Newton-like steps."""
    layer = nn.Linear(x.shape[1], classes).double()
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(x), y) + 5e-4 * sum(p.square().sum() for p in layer.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)
    return layer


def test_a_linear_head_with_one_sample_a_class_holds_their_centered_directions():
    x = torch.linalg.qr(gaussian(40, 8)).Q.T * 3  # orthonormal: every wrong class is equally likely
    found = reconstruct_from_embeddings(linear_head(x, torch.arange(8), 8))
    cosine = F.cosine_similarity(found.samples, x - x.mean(0))
    assert cosine.min() > 0.999 and not found.verified.any() and not found.confidence.any()
    assert any("weighted sum" in warning for warning in found.warnings)
    untrained = reconstruct_from_embeddings(nn.Linear(40, 8).double())
    assert F.cosine_similarity(untrained.samples, x - x.mean(0)).abs().max() < 0.7


def test_what_all_rows_of_a_linear_head_share_says_nothing():
    """Softmax does not see it: W and W + 1 a^T are one classifier."""
    head, shifted = nn.Linear(12, 4).double(), nn.Linear(12, 4).double()
    with torch.no_grad():
        shifted.weight.copy_(head.weight + 5 * gaussian(1, 12))
    samples = [reconstruct_from_embeddings(layer).samples for layer in (head, shifted)]
    torch.testing.assert_close(*samples)
    torch.testing.assert_close(samples[0].sum(0), torch.zeros(12))


def test_a_linear_head_with_several_samples_a_class_holds_their_means():
    x = gaussian(16, 60) * 0.3
    y = torch.arange(16) % 4
    found = reconstruct_from_embeddings(nn.Sequential(nn.Flatten(), linear_head(x, y, 4)))
    means = torch.stack([x[y == k].mean(0) for k in range(4)])
    assert F.cosine_similarity(found.samples, means - means.mean(0)).min() > 0.9
    assert F.cosine_similarity(found.samples[:, None], (x - x.mean(0))[None], dim=2).max() < 0.9


def test_class_means_do_not_count_as_verified():
    """Two well separated classes: all samples of a class share their gates, and the columns are class means."""
    x = gaussian(2, 40).repeat_interleave(8, 0) * 3 + 0.3 * gaussian(16, 40, seed=2)
    y = torch.arange(2).repeat_interleave(8)
    start = mlp([40, 200, 1], first_init=1e-3, generator=child(0), dtype=torch.float64)
    head = train_to_margin(start, x, y, loss="logistic", weight_decay=1e-2, steps=2500).model
    found = reconstruct_from_embeddings(
        head, loss="logistic", weight_decay=1e-2, restarts=2, steps=100, generator=child(0)
    )
    assert found.identifiable <= 2 and not found.verified.any() and not found.confidence.any()
    assert any("class means" in warning for warning in found.warnings)


# galleries and bad input


def test_retrieval_is_by_cosine_and_reports_the_lead():
    gallery = torch.tensor([[1.0, 0.0], [0.0, 5.0], [1.0, 1.0]]).double()
    found = nearest_in_gallery(torch.tensor([[3.0, 0.0], [2.0, 2.0]]).double(), gallery, top=2)
    assert found.index.tolist() == [[0, 2], [2, 0]] or found.index.tolist() == [[0, 2], [2, 1]]
    torch.testing.assert_close(found.margin, torch.full((2,), 1 - 0.5**0.5).double())
    assert nearest_in_gallery(gallery, gallery[:1], top=3).margin.tolist() == [0, 0, 0]
    assert retrieval_rank(gallery, gallery, torch.arange(3)).tolist() == [1, 1, 1]


def test_ranks_are_those_of_scipy_with_ties_in_the_middle():
    gallery = gaussian(40, 8, seed=3)
    gallery[20:30] = gallery[:10]
    recovered, truth = gallery[:15] + 0.8 * gaussian(15, 8, seed=4), torch.arange(15)
    cosine = F.normalize(recovered, dim=1) @ F.normalize(gallery, dim=1).T
    wanted = rankdata(-cosine.numpy().round(12), axis=1)[torch.arange(15), truth]
    found = retrieval_rank(recovered, gallery, truth)
    assert found.tolist() == wanted.tolist() and found.unique().numel() > 3
    assert (found[:10] % 1 == 0.5).all()  # their twins tie with them
    assert (best_rank(recovered, gallery, truth) <= found).double().mean() > 0.5


@pytest.mark.parametrize("nothing", [torch.zeros(5, 8), torch.zeros(1, 8)], ids=["five", "one"])
def test_embeddings_that_say_nothing_rank_every_entry_in_the_middle(nothing):
    gallery, truth = gaussian(25, 8), torch.arange(len(nothing))
    assert retrieval_rank(nothing.double(), gallery, truth).tolist() == [13.0] * len(nothing)
    assert best_rank(nothing.double(), gallery, torch.arange(5)).tolist() == [13.0] * 5


def unnamed(x):
    y = torch.zeros(len(x), dtype=torch.long)
    return DataSet(name="x", x=x, y=y, classes=("a",), space=InputSpace(-1e9, 1e9), provenance="made")


def test_an_audit_counts_no_hit_for_samples_that_say_nothing():
    found = reconstruct_from_embeddings(nn.Linear(8, 4))
    data = unnamed(gaussian(6, 8))
    truth = Truth(data, replace(data, x=gaussian(9, 8, seed=2), y=torch.zeros(9, dtype=torch.long)), ())
    for samples, hits in ((torch.zeros(4, 8).double(), 0), (data.x[:4], 4)):
        shown = replace(found, samples=samples, confidence=torch.ones(4).double())
        summary = retrieval(shown, truth, None, samples)
        assert (summary["rank_1"], summary["likely_in_training"], summary["likely"]) == (hits, hits, 4)


def looked_up(found, samples, own, unseen):
    """What an audit says of these samples in a gallery of inputs that were trained on and others."""
    data = unnamed(own)
    truth = Truth(data, replace(data, x=unseen, y=torch.zeros(len(unseen), dtype=torch.long)), ())
    shown = replace(found, samples=samples, confidence=torch.ones(len(samples), dtype=samples.dtype))
    return retrieval(shown, truth, None, samples)


def test_hits_in_a_gallery_are_compared_with_those_in_a_shuffled_one():
    """Naive reference: which entries were trained on is drawn anew, many times."""
    found, gallery = reconstruct_from_embeddings(nn.Linear(8, 12)), gaussian(30, 8, seed=5)
    samples = torch.cat([gallery[:5], gallery[20:27]]) + 0.3 * gaussian(12, 8, seed=6)
    said = looked_up(found, samples, gallery[:10], gallery[10:])
    first = best_rank(samples, gallery, torch.arange(30)) == 1
    shuffled = torch.stack([first[torch.randperm(30, generator=child(k, "shuffle"))[:10]].sum() for k in range(4000)])
    assert said["rank_1"] == first[:10].sum()
    assert said["rank_1_by_chance"] == pytest.approx(float(shuffled.double().mean()), abs=0.1)
    assert said["rank_1_p"] == pytest.approx(float((shuffled >= said["rank_1"]).double().mean()), abs=0.04)


@pytest.mark.parametrize(("noise", "told"), [(0.3, True), (None, False)], ids=["samples", "nothing of them"])
def test_only_samples_that_are_right_beat_a_shuffled_gallery(noise, told):
    found, own, unseen = reconstruct_from_embeddings(nn.Linear(8, 12)), gaussian(12, 8), gaussian(200, 8, seed=5)
    drawn = gaussian(12, 8, seed=6)
    samples = drawn if noise is None else own + noise * drawn
    assert (looked_up(found, samples, own, unseen)["rank_1_p"] < 1e-6) == told


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: reconstruct_from_embeddings(mlp([5, 4, 2]), input_shape=(7,)), "inputs of 5 .* returns shape .7,"),
        (lambda: reconstruct_from_embeddings(mlp([5, 4, 2]), repeats=0), "repeats=0"),
        (lambda: reconstruct_from_embeddings(nn.Linear(5, 1)), "one output"),
        (lambda: head_width(nn.Sequential(nn.Conv2d(3, 4, 3))), "Conv2d"),
        (lambda: head_width(nn.ReLU()), "no layer"),
        (lambda: nearest_in_gallery(X, X[:, :5]), "same backbone"),
        (lambda: nearest_in_gallery(X, X[:0]), "at least one entry"),
        (lambda: retrieval_rank(X * torch.nan, X, Y), "embeddings hold NaN"),
        (lambda: best_rank(X * torch.inf, X, Y), "embeddings hold NaN"),
        (lambda: nearest_in_gallery(X, X / 0), "gallery hold NaN"),
        (lambda: best_rank(X[:0], X, Y), "no sample"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
