"""One head of full rank finds the nearest point; heads of rank one must vote, and an audit tells them apart."""

import pytest
import torch
from torch import nn

import vestige as vg
from vestige.construct.transformer.rank import sweep

BUILD = vg.construct


def test_one_head_of_full_rank_is_exact_up_to_the_tolerance():
    built = BUILD.build_nearest_neighbor(16, 8)
    assert built.certificate.holds
    x = BUILD.sphere_points(16, 8, 2000, generator=torch.Generator().manual_seed(3))
    assert BUILD.nearest_accuracy(built.network, x) == 1
    null = BUILD.build_nearest_neighbor(16, 8).network
    null.layers[0].heads[0].query.weight.zero_()
    assert BUILD.nearest_accuracy(null, x) < 0.6  # the mean of all points


def test_a_sharp_enough_head_finds_the_farthest_of_sixteen_points():
    built = BUILD.build_nearest_neighbor(64, 16, gap=1e-3, tolerance=1e-4, farthest=True)
    assert built.certificate.holds
    error = built.certificate.claims[1]
    assert error.measured <= 1e-4
    x = torch.from_numpy(built.specification.points[0])
    worst = (x @ x.transpose(1, 2)).argmin(2)
    assert (built.network(x) - x.gather(1, worst[..., None].expand_as(x))).square().sum(2).mean() < 1e-8


def test_a_vote_gets_better_with_heads_and_not_perfect():
    x = BUILD.sphere_points(8, 2, 2000, orthogonal=True)
    rates = [BUILD.nearest_accuracy(BUILD.build_rank_one_majority(8, h, gap=1e-6).network, x) for h in (15, 127)]
    assert 0.65 < rates[0] < 0.8 < rates[1] < 0.95


@pytest.mark.slow  # seconds, for a stream of 1,023 heads
def test_a_thousand_votes():
    x = BUILD.sphere_points(8, 2, 2000, orthogonal=True)
    assert 0.94 <= BUILD.nearest_accuracy(BUILD.build_rank_one_majority(8, 1023, gap=1e-6).network, x) < 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: BUILD.build_nearest_neighbor(1, 4), "at least 2"),
        (lambda: BUILD.build_nearest_neighbor(8, 4, gap=0.0), "above 0"),
        (lambda: BUILD.build_nearest_neighbor(8, 4, gap=1.9), "no random points have it"),
        (lambda: BUILD.build_rank_one_majority(8, 4), "an odd number of heads"),
        (lambda: BUILD.build_rank_one_majority(8, 401, gap=0.1), "no random points have it"),
        (lambda: BUILD.sphere_points(3, 4, 2, orthogonal=True), "at most 3"),
        (lambda: BUILD.rank_audit(nn.Linear(3, 3)), "without attention"),
        (lambda: BUILD.rank_sweep(8, 4, [3]), "divisors of dim=8"),
    ],
)
def test_what_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_the_audit_sees_the_rank_that_was_put_in():
    (full,) = BUILD.rank_audit(BUILD.build_nearest_neighbor(6, 4).network).heads
    assert (full.rank, full.dim, full.size) == (6, 12, 6)  # the stream has a block for the answer too
    assert full.effective == pytest.approx(6) and full.stable == pytest.approx(6)
    voters = BUILD.rank_audit(BUILD.build_rank_one_majority(6, 5, gap=1e-6).network)
    assert {head.rank for head in voters.heads} == {1} and voters.full_rank == 0 and voters.warnings


class Grouped(nn.Module):
    """Two keys that four queries share, as language models have them."""

    num_heads = 4

    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(8, 8), nn.Linear(8, 4)


def test_the_audit_reads_torchs_attention_and_that_of_language_models():
    draw = torch.Generator().manual_seed(0)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2, enable_nested_tensor=False)
    for p in encoder.parameters():
        p.data.normal_(generator=draw)
    audit = BUILD.rank_audit(encoder)
    assert [(h.size, h.rank, h.heads) for h in audit.heads] == [(4, 4, 2)] * 4
    attention = encoder.layers[0].self_attn
    query, key, _ = attention.in_proj_weight.detach().chunk(3)
    values = torch.linalg.svdvals(query[4:].T @ key[4:])[:4]
    assert audit.heads[1].stable == pytest.approx(float(values.square().sum() / values.max() ** 2))
    assert len(BUILD.rank_audit(Grouped()).heads) == 4
    (wide,) = BUILD.rank_audit(nn.MultiheadAttention(8, 1)).heads
    assert wide.rank == 8 and not BUILD.rank_audit(nn.MultiheadAttention(8, 1)).warnings


def test_a_head_of_zeros_has_no_rank():
    attention = nn.MultiheadAttention(4, 1)
    attention.in_proj_weight.data.zero_()
    (head,) = BUILD.rank_audit(attention).heads
    assert (head.rank, head.effective, head.stable) == (0, 0, 0)


def test_training_goes_on_bit_for_bit_and_falls():
    class Kept(dict):
        def save(self, tensors):
            self.clear(), self.update(tensors)

        def load(self):
            return dict(self) or None

    (whole,) = BUILD.rank_sweep(4, 3, [4], steps=40, hidden=8)
    assert whole.heads == 1 and sum(whole.losses[-10:]) < 0.8 * sum(whole.losses[:10])
    kept = Kept()
    BUILD.rank_sweep(4, 3, [4], steps=40, hidden=8, checkpoint=kept)
    (again,) = BUILD.rank_sweep(4, 3, [4], steps=40, hidden=8, checkpoint=kept)
    assert again.losses == whole.losses and again.error == whole.error


def test_the_exact_head_is_what_the_sweep_asks_for():
    """Trained encoders and the constructed one answer the same question; 0 is off by 1."""
    exact = BUILD.build_nearest_neighbor(16, 8, gap=1e-4, farthest=True).network.float()
    assert sweep._error(exact, 16, 8, 200, torch.Generator().manual_seed(1)) < 0.01
    zero = nn.Linear(16, 16).float()
    zero.weight.data.zero_(), zero.bias.data.zero_()
    assert sweep._error(zero, 16, 8, 200, torch.Generator().manual_seed(1)).item() == pytest.approx(1)


def test_heads_of_a_rank_are_as_many_as_fit(monkeypatch):
    seen, start = [], sweep._start

    def kept(*options):
        seen.append(start(*options))
        return seen[-1]

    monkeypatch.setattr(sweep, "_start", kept)
    found = BUILD.rank_sweep(8, 3, [8, 2], steps=1, hidden=4)
    assert [layer.self_attn.num_heads for layer in seen] == [fit.heads for fit in found] == [1, 4]
    assert len({sum(p.numel() for p in layer.self_attn.parameters()) for layer in seen}) == 1


@pytest.mark.slow  # a minute
def test_half_the_rank_does_not_fit_what_full_rank_does():
    full, half = BUILD.rank_sweep(16, 8, [16, 8])
    assert full.error <= 0.2 and half.error >= 0.4
