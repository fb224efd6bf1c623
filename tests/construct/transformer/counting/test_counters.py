"""Counters give every count, at every sequence, and say where they stop."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vestige as vg

BUILD = vg.construct


def counted(x):
    return torch.tensor([[float(row.count(row[-1]))] for row in x.tolist()])


def every_sequence(vocab, length):
    return torch.cartesian_prod(*[torch.arange(vocab)] * length)


@pytest.mark.parametrize("method", ["histogram", "attend"])
def test_all_sequences_of_three_tokens(method):
    network = BUILD.build_counter(3, 6, dim=3, method=method).network
    for length in range(2, 7):
        x = every_sequence(3, length)
        assert torch.equal(network(x).round(), counted(x))
        assert torch.equal(copy.deepcopy(network).float()(x).round().double(), counted(x))


@pytest.mark.parametrize("method", ["histogram", "attend"])
def test_ten_thousand_random_sequences_in_float32(method):
    network = BUILD.build_counter(50, 64, dim=50, method=method, any_length=False).network.float()
    x = BUILD.random_counts(50, 64, 10_000)
    for part in x.split(2000):
        assert torch.equal(network(part).double().round(), (part == part[:, -1:]).sum(1, keepdim=True).double())


@settings(max_examples=10)
@given(vocab=st.integers(2, 9), length=st.integers(2, 12), seed=st.integers(0, 9), inclusive=st.booleans())
def test_counters_of_any_size(vocab, length, seed, inclusive):
    draw = torch.Generator().manual_seed(seed)
    built = BUILD.build_counter(vocab, length, dim=vocab, inclusive=inclusive, generator=draw)
    x = torch.randint(vocab, (20, length), generator=draw)
    assert built.certificate.holds
    assert torch.equal(built.network(x).round(), counted(x) - int(not inclusive))


def test_a_dimension_beyond_the_vocabulary_keeps_the_histogram():
    built = BUILD.build_counter(5, 9, dim=8, method="histogram")
    x = BUILD.random_counts(5, 9, 50)
    assert built.certificate.holds and torch.equal(built.network(x).round(), counted(x))


def test_a_long_context_is_counted_in_float32_and_not_in_bfloat16():
    built = BUILD.build_counter(500, 4096, dim=50)
    assert built.certificate.holds
    proved = next(c for c in built.certificate.claims if "every input" in c.name)
    assert proved.measured < 0.5
    sweep = BUILD.precision_sweep(built, BUILD.random_counts(500, 4096, 48), dtypes=[torch.float32, torch.bfloat16])
    assert sweep.exact_rates[0] == 1 and sweep.exact_rates[1] < 0.3
    assert sweep.counterexamples[0] is None and sweep.counterexamples[1].shape == (4096,)
    assert not sweep.largest_errors[1] < 0.5


def test_without_a_beginning_a_repeated_input_changes_nothing():
    """Uniform attention sees shares only: what the head of a histogram writes is the same for x and x x."""
    network = BUILD.build_counter(5, 12, dim=5).network
    x = torch.tensor([[1, 3, 1, 1, 0, 3]])
    once, twice = (network.trace(part)["layer.0.between"][:, -1, 5:10] for part in (x, torch.cat([x, x], 1)))
    torch.testing.assert_close(once, twice, rtol=0, atol=1e-12)
    assert network(x).round() == 2 and network(torch.cat([x, x], 1)).round() == 4  # the length is what tells them apart


@pytest.mark.parametrize("layers", [1, 2])
def test_the_most_frequent_of_all_short_sequences(layers):
    network = BUILD.build_most_frequent(3, 6, layers=layers).network
    x = every_sequence(3, 6)
    wanted = torch.stack([row.bincount().max() for row in x])[:, None]
    assert torch.equal(network(x).round(), wanted.double())


def test_two_layers_count_the_most_frequent_at_a_small_dimension():
    built = BUILD.build_most_frequent(80, 120, dim=40)
    draw = torch.Generator().manual_seed(1)
    assert built.certificate.holds
    for vocab in (5, 80):
        x = torch.randint(vocab, (100, 120), generator=draw)
        wanted = torch.stack([row.bincount().max() for row in x])[:, None]
        assert torch.equal(built.network.float()(x).double().round(), wanted.double())


@pytest.mark.parametrize("layers", [1, 2])
def test_sets_that_meet_are_told_from_sets_that_do_not(layers):
    x, counts = BUILD.disjointness_sequences(12, 400)
    assert x.shape == (400, 6) and counts.double().mean() == 1.5
    network = BUILD.build_most_frequent(12, 6, layers=layers).network
    assert torch.equal(network(x).round()[:, 0], counts.double())


def test_all_pairs_of_sets_among_twelve_tokens():
    """Every two sets of three tokens, in the order of their tokens: 48,400 sequences."""
    sets = torch.combinations(torch.arange(12), 3)
    first, second = torch.cartesian_prod(torch.arange(len(sets)), torch.arange(len(sets))).T
    x = torch.cat([sets[first], sets[second]], 1)
    meet = (sets[first][:, :, None] == sets[second][:, None]).any(2).any(1)
    network = BUILD.build_most_frequent(12, 6).network.float()
    assert torch.equal(network(x).round()[:, 0].double(), 1.0 + meet.double())


def test_a_histogram_in_too_few_dimensions_has_cross_talk():
    """What breaks beyond dim = vocab, and by how much: the null of the construction."""
    found = BUILD.counting_capacity(64, 16, 100)
    assert not found.histogram_fits and found.cross_talk > 1 > BUILD.counting_capacity(16, 16, 100).cross_talk
    with pytest.raises(ValueError, match=r"dim=16 given for 64 tokens; a histogram needs dim >= 64"):
        BUILD.build_counter(64, 100, dim=16, method="histogram")


def test_coherence_and_its_bound():
    draw = torch.randn(500, 50, generator=torch.Generator().manual_seed(0))
    assert BUILD.welch_bound(500, 50) == pytest.approx(0.1343, abs=5e-5)
    assert BUILD.coherence(draw) > 0.5 > BUILD.welch_bound(500, 50)
    # three directions at 120 degrees in the plane meet the bound
    angles = torch.tensor([0.0, 2.0, 4.0]) * math.pi / 3
    mercedes = torch.stack([angles.cos(), angles.sin()], 1)
    assert BUILD.coherence(mercedes) == pytest.approx(BUILD.welch_bound(3, 2)) == pytest.approx(0.5)


def test_a_lower_bound_that_one_layer_respects_and_two_layers_leave_behind():
    assert BUILD.most_frequent_lower_bound(1000, 400) == 190
    one = BUILD.build_most_frequent(40, 80, layers=1)
    assert one.numbers["bits that its heads carry"] >= one.numbers["bits that one layer needs"] > 0
    two = BUILD.build_most_frequent(200, 400, dim=40).numbers
    assert 32 * (two["values of a head"] + 1) < BUILD.most_frequent_lower_bound(200, 400)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: BUILD.build_counter(1, 5), "at least 2"),
        (lambda: BUILD.build_counter(5, 300, dtype=torch.bfloat16), "10 bits of mantissa are needed"),
        (lambda: BUILD.build_counter(5, 5, method="guess"), "allowed are 'histogram' and 'attend'"),
        (lambda: BUILD.build_most_frequent(5, 5, layers=3), "1 and 2"),
        (lambda: BUILD.build_most_frequent(5, 5, layers=1, dim=2), "takes vocab=5 dimensions"),
        (lambda: BUILD.build_counter(5, 5).network(torch.zeros(1, 6).long()), "certified for 1 to 5"),
        (lambda: BUILD.disjointness_sequences(3, 5), "at least 4"),
        (lambda: BUILD.most_frequent_lower_bound(1, 5), "at least 2"),
    ],
)
def test_what_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_a_proof_is_no_better_than_the_weights(tmp_path):
    """A changed embedding, temperature or MLP is found by the proof, in memory and in the file."""
    for change in (
        lambda net: net.embedding.table[3].copy_(net.embedding.table[4]),
        lambda net: net.layers[0].heads[0].query.weight.mul_(0.5),
        lambda net: net.layers[0].mlp[2].weight.mul_(1.1),
        lambda net: net.layers[0].heads[0].value.bias.add_(0.01),
        lambda net: net.readout.weight[0, 0].add_(0.1),
    ):
        built = BUILD.build_counter(20, 40, dim=10)
        network = copy.deepcopy(built.network)
        change(network)
        assert not built.specification.check(network)[-1].holds
        BUILD.save(replace(built, network=network), tmp_path / "changed.safetensors")
        failed = [c.name for c in vg.verify(tmp_path / "changed.safetensors").claims if not c.holds]
        assert "error at every input, proved" in failed


def test_single_random_changes_are_refused_or_harmless(tmp_path):
    """Some weight by some amount: either a claim fails, or the network still counts all sequences."""
    built = BUILD.build_counter(4, 5, dim=3, method="attend")
    x = every_sequence(4, 5)
    draw = torch.Generator().manual_seed(5)
    refused = 0
    for trial in range(40):
        network = copy.deepcopy(built.network)
        weights = [p for p in network.parameters() if p.numel()]
        chosen = weights[trial % len(weights)].view(-1)
        place = torch.randint(len(chosen), (1,), generator=draw)
        chosen[place] += torch.randn(1, generator=draw, dtype=torch.float64) * 10 ** float(trial % 5 - 3)
        BUILD.save(replace(built, network=network), tmp_path / "changed.safetensors")
        if all(c.holds for c in vg.verify(tmp_path / "changed.safetensors").claims):
            assert torch.equal(network(x).round(), counted(x))
        else:
            refused += 1
    assert refused > 10
