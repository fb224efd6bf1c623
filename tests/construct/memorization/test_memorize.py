"""Memorizers give every point its label exactly, in the sizes that were promised; null networks do not."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.construct.exact.layers import Layer, Neuron
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.saved import save, verify
from vestige.construct.memorization.memorizer import memorize
from vestige.data.load import load_data


def drawn(n, d, classes, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((n, d)), rng.integers(0, classes, n)


def reference(network, point):
    """One Fraction after the other, as the definition says; shares nothing with the evaluator."""
    values = [Fraction(v) for v in point]
    for depth, item in enumerate(network.layers):
        values = [
            (sum(w * values[c] for c, w in zip(r.columns, r.weights, strict=True)) + r.bias) / Fraction(2**r.shift)
            for r in item.neurons
        ]
        values = [max(v, Fraction(0)) for v in values] if depth < network.depth - 1 else values
    return values


def clustered(n, d):
    """Clusters of radius 1e-6: keys have to tell their points apart."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((5, d))[rng.integers(0, 5, n)] + 1e-6 * rng.standard_normal((n, d))


def grid(side):
    return np.array([[i, j] for i in range(side) for j in range(side)])


@pytest.mark.parametrize("n", [1, 2, 3, 17, 256, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("d", "classes"), [(1, 2), (2, 300), (8, 10), (784, 2), (8, 1)])
def test_no_error_on_random_points(n, d, classes):
    x, y = drawn(n, d, classes)
    made = memorize(x, y)
    assert made.certificate.holds, made.certificate.table()
    assert made.network(x)[:, 0].tolist() == y.tolist()
    some = range(0, n, max(n // 3, 1))
    assert [reference(made.network, x[k])[0] for k in some] == [y[k] for k in some]


@pytest.mark.parametrize("strategy", ["sqrt", "bits", "wide"])
def test_no_error_on_clusters_a_grid_and_digits(strategy):
    digits = load_data("digits")
    labels = np.random.default_rng(2).integers(0, 10, 225)
    for x in (clustered(225, 3), grid(15), digits.x[:225]):
        made = memorize(x, labels, strategy=strategy)
        assert made.certificate.holds, made.certificate.table()
        assert made.network(x)[:, 0].tolist() == labels.tolist()


def test_true_labels_of_digits_with_equal_images_merged():
    digits = load_data("digits")
    x, y = torch.cat([digits.x[:300], digits.x[:5]]), torch.cat([digits.y[:300], digits.y[:5]])
    made = memorize(x, y)
    assert made.certificate.holds
    assert made.warnings == ("5 points occur more than once, with one target each: they were merged.",)
    assert made.numbers["points"] == 300


def test_mnist_with_random_labels():
    folder = pytest.importorskip("os").environ.get("VESTIGE_DATA")
    if not folder or not (Path(folder) / "mnist.npz").is_file():
        pytest.skip("VESTIGE_DATA names no folder with mnist.npz")
    x = load_data(f"npz:{folder}/mnist.npz").x[:400]
    y = torch.randint(0, 10, (400,), generator=torch.Generator().manual_seed(0))
    assert memorize(x, y).certificate.holds


@pytest.mark.parametrize("most", [10, pytest.param(14, marks=pytest.mark.slow)])
def test_the_number_of_weights_grows_like_a_root(most):
    """log-log slope from 2**8 points on."""
    sizes = 2 ** np.arange(8, most + 1)
    counts = []
    for n in sizes:
        x, y = drawn(int(n), 8, 2)
        made = memorize(x, y)
        assert made.certificate.holds
        assert made.network.width <= 12
        assert made.network.weight_bits <= max(made.numbers["code_bits"] + 3, projection_bits(made.network))
        counts.append(made.network.nonzeros)
    slope = np.polyfit(np.log(sizes), np.log(counts), 1)[0]
    assert 0.48 <= slope <= 0.62


def projection_bits(network):
    return ExactNetwork(network.layers[:1]).weight_bits


def test_no_other_number_of_groups_has_fewer_weights():
    x, y = drawn(200, 3, 10)
    made = memorize(x, y)
    others = [memorize(x, y, strategy="bits", bits=slots * made.packing.slot_bits) for slots in range(1, 7)]
    assert min(other.network.nonzeros for other in others) == made.network.nonzeros
    assert made.packing.slots < 6


@given(n=st.integers(1, 60), classes=st.sampled_from([2, 300]), seed=st.integers(0, 5))
def test_the_non_zeros_are_those_counted_beforehand(n, classes, seed):
    """A difference of two code words may be 0 by chance, and the offset is; nothing else is left out of the count."""
    x, y = drawn(n, 2, classes, seed)
    made = memorize(x, y)
    promised = made.packing.nonzeros(2)
    assert promised - 2 * made.packing.groups - 5 <= made.network.nonzeros <= promised - 1
    assert made.network.depth == made.packing.depth


@pytest.mark.parametrize("strategy", ["sqrt", "bits"])
def test_far_from_every_key_it_is_zero(strategy):
    x, y = drawn(100, 3, 10)
    made = memorize(x, y + 1, strategy=strategy)
    behind = ExactNetwork(made.network.layers[1:])
    keys = made.keys.astype(float)
    candidates = np.concatenate([np.arange(0, keys[-1] + 8, 0.25), [1e6, 1e12, 2.0**80]])
    beside = np.abs(candidates[:, None] - keys[None]).min(1)
    assert set(behind(candidates[beside >= 1][:, None])[:, 0]) == {0}
    far = np.concatenate([1e6 * x, -1e6 * x])
    assert set(made.network(far)[:, 0]) == {0}
    # Within 3/4 of a key it is that key's label.
    order = np.argsort(keys)
    inside = (keys[order][:, None] + np.array([-0.75, 0.3, 0.75])).reshape(-1, 1)
    labels = made.network(x)[:, 0]
    assert sorted(behind(inside)[::3, 0]) == sorted(labels)
    assert behind(inside)[::3, 0].tolist() == behind(inside)[2::3, 0].tolist()


@pytest.mark.parametrize(("n", "lengths"), [(300, (2, 4, 8)), pytest.param(4096, (4, 16, 64), marks=pytest.mark.slow)])
def test_the_depth_variant_trades_layers_for_lanes(n, lengths):
    """Depth at most as asked; weights times depth stay within a factor 3."""
    x, y = drawn(n, 8, 2)
    key_bits = memorize(x, y, strategy="wide").numbers["key_bits"]
    products = []
    for length in lengths:
        made = memorize(x, y, strategy="depth", depth=2 * length * key_bits)
        assert made.certificate.holds, made.certificate.table()
        assert made.network.depth <= 2 * length * key_bits
        products.append(made.network.nonzeros * made.network.depth)
    assert max(products) <= 3 * min(products)


def test_lanes_find_their_points():
    x, y = drawn(150, 2, 5)
    made = memorize(x, y, strategy="depth", depth=60, bits=51)
    assert made.numbers["lanes"] > 1
    assert made.certificate.holds, made.certificate.table()
    assert made.to_torch()(torch.from_numpy(x))[:, 0].tolist() == y.tolist()


@settings(max_examples=10)
@given(data=st.data())
def test_integers_of_any_sign_and_size(data):
    targets = data.draw(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=8))
    x = np.arange(len(targets), dtype=float)[:, None]
    for strategy in ("sqrt", "wide"):
        made = memorize(x, np.array(targets), strategy=strategy)
        assert made.network(x)[:, 0].tolist() == targets


def test_real_targets_are_rounded_and_the_error_is_said():
    x, _ = drawn(50, 2, 2)
    y = np.random.default_rng(0).standard_normal(50)
    errors = []
    for bits in (4, 8, 16):
        made = memorize(x, y, label_bits=bits)
        assert made.certificate.holds
        errors.append(made.numbers["largest_error"])
        assert errors[-1] == max(abs(float(v) - t) for v, t in zip(made.network(x)[:, 0], y, strict=True))
        assert errors[-1] <= (y.max() - y.min()) / (2**bits - 2)
        assert "the largest error is" in made.warnings[0]
    assert errors[0] > 4 * errors[1] > 16 * errors[2] > 0


@pytest.mark.parametrize("kind", [torch.float64, torch.int64, np.float64, np.int64])
def test_the_specification_is_a_copy(kind):
    """What becomes of the arrays afterwards does not change what the network has to do."""
    if isinstance(kind, torch.dtype):
        x, y = torch.arange(5, dtype=kind)[:, None], torch.arange(5, dtype=kind)
    else:
        x, y = np.arange(5, dtype=kind)[:, None], np.arange(5, dtype=kind)
    made = memorize(x, y)
    x += 7
    y += 1
    assert made.verify().holds


def test_equal_seeds_give_equal_networks_and_others_others():
    x, y = drawn(40, 3, 4)
    networks = [memorize(x, y, generator=torch.Generator().manual_seed(s)).network for s in (1, 1, 2)]
    assert networks[0] == networks[1] != networks[2]


def moved(network, depth, neuron, weight):
    """The same network with one weight moved by its last bit."""
    row = network.layers[depth].neurons[neuron]
    weights = tuple(w + (k == weight) for k, w in enumerate(row.weights))
    rows = list(network.layers[depth].neurons)
    rows[neuron] = Neuron(row.columns, weights, row.bias, row.shift)
    layers = list(network.layers)
    layers[depth] = Layer(layers[depth].inputs, tuple(rows))
    return ExactNetwork(tuple(layers))


def longest_weight(network):
    """Where it stands: layer, neuron, place."""
    return max(
        (abs(w), depth, i, k)
        for depth, item in enumerate(network.layers)
        for i, row in enumerate(item.neurons)
        for k, w in enumerate(row.weights)
    )[1:]


def test_null_networks_fail():
    """A last bit of a code word, other labels, the network of other points, zeros: none passes."""
    x, y = drawn(64, 2, 8)
    made = memorize(x, y)
    zero = ExactNetwork((Layer(2, (Neuron((), (), 0, 0),)),))
    others = memorize(x, (y + 1) % 8).network
    elsewhere = memorize(x + 1, y).network
    for network in (moved(made.network, *longest_weight(made.network)), zero, others, elsewhere):
        assert not replace(made, network=network).verify().holds
    assert made.verify().holds


@pytest.mark.parametrize(
    ("n", "d", "classes", "options"),
    [
        (1, 1, 1, {}),
        (17, 784, 10, {}),
        (256, 2, 300, {}),
        (256, 8, 2, {"strategy": "bits"}),
        (40, 2, 5, {"strategy": "wide"}),
    ],
)
def test_the_independent_checker_derives_every_claim_from_the_file(n, d, classes, options, tmp_path):
    x, y = drawn(n, d, classes)
    made = memorize(x, y, **options)
    save(made, tmp_path / "net.safetensors")
    checked = verify(tmp_path / "net.safetensors")
    assert checked.holds, checked.table()
    assert {c.name: c.measured for c in made.certificate.claims}.items() <= {
        c.name: c.measured for c in checked.claims
    }.items()


def test_the_independent_checker_catches_a_last_bit(tmp_path):
    x, y = drawn(64, 2, 8)
    made = memorize(x, y)
    wrong = replace(made, network=moved(made.network, *longest_weight(made.network)))
    save(wrong, tmp_path / "net.safetensors")
    failed = {claim.name for claim in verify(tmp_path / "net.safetensors").claims if not claim.holds}
    assert "points off target" in failed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: memorize(np.array([[1.0], [1.0]]), np.array([0, 1])), "points 0 and 1 are equal"),
        (lambda x, y: memorize(np.array([[np.nan], [1.0]]), np.array([0, 1])), "NaN or infinite"),
        (lambda x, y: memorize(x, np.full(6, np.inf)), "targets are NaN or infinite"),
        (lambda x, y: memorize(x, y[:4]), r"shape \[4\] for 6 points"),
        (lambda x, y: memorize(x, np.zeros((6, 2))), "one number a point"),
        (lambda x, y: memorize(x, np.array(list("abcdef"))), "Number the classes"),
        (lambda x, y: memorize(np.zeros((0, 2)), np.zeros(0)), "both at least 1"),
        (lambda x, y: memorize(np.zeros((3, 0)), np.zeros(3)), "both at least 1"),
        (lambda x, y: memorize(x, y, strategy="narrow"), "allowed are .sqrt., .depth., .bits. and .wide."),
        (lambda x, y: memorize(x, y, strategy="depth"), "depth=None given"),
        (lambda x, y: memorize(x, y, depth=9), "belongs to strategy='depth'"),
        (lambda x, y: memorize(x, y, bits=9), "bits go with"),
        (lambda x, y: memorize(x, y, strategy="bits", bits=2), r"bits=2 given.*bits are needed"),
        (lambda x, y: memorize(x, y, strategy="depth", depth=4), r"takes \d+ layers. Give depth="),
        (lambda x, y: memorize(x, y, label_bits=0), "label_bits=0 given"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(*drawn(6, 2, 2))


def test_the_least_depth_and_bits_that_are_named_work():
    x, y = drawn(30, 2, 2)
    least = memorize(x, y).numbers["key_bits"]
    assert memorize(x, y, strategy="bits", bits=least).certificate.holds
    assert memorize(x, y, strategy="depth", depth=least + 6).certificate.holds
