"""The constructed model: its margin in closed form, no separator without the norm, and its blocks."""

import itertools

import pytest
import torch
from scipy.optimize import linprog

import vestige as vg

P = vg.probe
LAW = P.TruthCoOccurrence(n=6, rho=0.8)


def states(model, layer="norm"):
    """At y, for every pair of subject and attribute."""
    pairs = torch.tensor([(x, LAW.n + y, 0) for x, y in itertools.product(range(LAW.n), repeat=2)])
    truth = LAW.g[pairs[:, 0]] + LAW.n == pairs[:, 1]
    return P.activations(model, None, pairs, layer=layer, position=1), truth


def separable(x, truth):
    """Whether sign (w x + b) >= 1 has a solution."""
    sign = torch.where(truth, 1.0, -1.0)[:, None]
    rows = -torch.cat([sign * x, sign], 1).numpy()
    return linprog([0] * rows.shape[1], rows, [-1] * len(rows), bounds=(None, None)).status == 0


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("mean", [False, True])
def test_the_margin_is_theorem_2s(scale, mean):
    model = P.constructed_truth_model(LAW, alpha=scale, beta=scale, mean=mean)
    x, truth = states(model)
    along = x[:, 2 * LAW.n + 1] / model.d**0.5  # p_2, of unit vectors
    margin = float(along[truth].min() - along[~truth].max()) / 2
    assert margin == pytest.approx(P.truth_margin(scale, scale, mean=mean), abs=1e-9)
    assert separable(x, truth)


def test_nothing_separates_without_the_norm():
    model = P.constructed_truth_model(LAW, normalization="none")
    x, truth = states(model)
    assert not separable(x, truth)
    gap = x[truth].mean(0) - x[~truth].mean(0)
    assert float((x @ gap).std()) < 1e-9 or abs(float((x[truth] @ gap).mean() - (x[~truth] @ gap).mean())) < 1e-9
    before, _ = states(P.constructed_truth_model(LAW), "stream")
    assert not separable(before, truth)


def test_without_weights_nothing_separates():
    x, truth = states(P.constructed_truth_model(LAW, alpha=0.0, beta=0.0))
    assert not separable(x, truth)


def test_a_true_context_sharpens_the_answer():
    """Theorem 1: the answer to the second question is surer after a true fact."""
    model = P.constructed_truth_model(LAW, alpha=2.0, beta=2.0)
    held = LAW.balanced().draw(400).tokens
    truth = LAW.g[held[:, 0]] + LAW.n == held[:, 1]
    with torch.no_grad():
        logits = model(held[:, :3])[:, 2]
    score = logits[torch.arange(400), LAW.n + LAW.g[held[:, 2]]]
    assert float(score[truth].mean()) > float(score[~truth].mean()) + 0.5


def test_blocks_are_read_back():
    w = P.constructed_truth_model(LAW, alpha=(1.0, 2.0), beta=(3.0, 4.0)).w.detach()
    assert [round(v, 9) for v in P.value_matrix_blocks(w, LAW).values()] == [3.0, -1.0, -4.0, 2.0]
    assert max(map(abs, P.value_matrix_blocks(torch.randn(27, 27) * 1e-3, LAW).values())) < 0.01
    with pytest.raises(ValueError, match="4n"):
        P.value_matrix_blocks(torch.zeros(9, 9), LAW)


def test_positions_see_no_later_token():
    tokens = torch.tensor([[0, 7, 1], [0, 7, 5]])
    for model in (P.ToyTruthModel(6), P.LearnedTruthModel(6, 8, depth=2)):
        out = model(tokens)
        torch.testing.assert_close(out[0, :2], out[1, :2])
        assert not torch.equal(out[0, 2], out[1, 2])


def test_the_learned_model_is_attention_beside_the_stream_and_a_norm():
    """Position by position, as the docstring says it."""
    model = P.LearnedTruthModel(4, 6, init_scale=0.5).double()
    with torch.no_grad():
        model.position.normal_(generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([2, 5, 1])
    query, key, value, output = model.maps[0]
    h = model.embedding[tokens] + model.position
    for t in range(3):
        weights = torch.stack([(h[t] @ query) @ (h[s] @ key) / 6**0.5 for s in range(t + 1)]).softmax(0)
        state = h[t] + sum(w * (h[s] @ value) for s, w in enumerate(weights)) @ output
        state = state / state.square().mean().sqrt()
        torch.testing.assert_close(model(tokens[None])[0, t], model.unembedding @ state)


def test_norms():
    x = torch.randn(5, 8)
    rms, layer, none = (P.ToyTruthModel(4, normalization=kind).norm(x) for kind in ("rms", "layer", "none"))
    torch.testing.assert_close(rms.norm(dim=1), torch.full((5,), 8**0.5))
    torch.testing.assert_close(layer, torch.nn.functional.layer_norm(x, (8,), eps=0.0))
    assert torch.equal(none, x)
