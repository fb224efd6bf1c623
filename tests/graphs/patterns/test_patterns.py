"""Patterns: against the definition, networks, binomials, and the numbers of the TU sets."""

import os
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

import vestige as vg

G = vg.graphs
TU = Path(os.environ.get("VESTIGE_DATA", "")) / "tu"
STAR = nx.star_graph(3)


def slow(graph, depth, x=None):
    """Nested tuples, as the definition says it."""
    near = [[] for _ in range(graph.n)]
    for u, v in graph.edges.T.tolist():
        near[u].append(v)
    found = [(0,) if x is None else tuple(x[v].tolist()) for v in range(graph.n)]
    for _ in range(depth):
        found = [(found[v], tuple(sorted(found[u] for u in near[v]))) for v in range(graph.n)]
    return found


def same_partition(ids, others):
    pairs = set(zip(ids, others, strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@given(n=st.integers(1, 12), depth=st.integers(0, 4), seed=st.integers(0, 99), features=st.booleans())
def test_equal_numbers_are_equal_patterns(n, depth, seed, features):
    graph = G.as_graph(nx.gnp_random_graph(n, 0.3, seed=seed))
    x = torch.randint(3, (n, 2), generator=torch.Generator().manual_seed(seed))
    given = G.Graph(graph.n, graph.edges, x)
    ids = G.d_patterns(given, depth, features=features).ids.tolist()
    assert same_partition(ids, slow(given, depth, x if features else None))


def test_numbers_are_those_of_another_process():
    code = "import vestige as vg, networkx as nx; print(vg.graphs.d_patterns(nx.karate_club_graph(), 3).ids.tolist())"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                           env=os.environ | {"PYTHONHASHSEED": "7"})  # fmt: skip
    assert found.stdout.strip() == str(G.d_patterns(nx.karate_club_graph(), 3).ids.tolist())
    assert G.d_patterns(nx.path_graph(2), 1).ids[0].item() == 7593208360773151582  # changes only with the definition


def test_patterns_are_networkx_classes():
    other = nx.gnp_random_graph(60, 0.05, seed=3)
    nx.set_node_attributes(other, dict(other.degree), "degree")
    theirs = nx.weisfeiler_lehman_subgraph_hashes(other, node_attr="degree", iterations=2)
    assert same_partition(G.d_patterns(other, 3).ids.tolist(), [theirs[v][-1] for v in other.nodes])


@given(seed=st.integers(0, 99), depth=st.integers(1, 3))
def test_a_network_of_d_layers_is_constant_on_patterns_and_differs_elsewhere(seed, depth):
    """Theorem 4.2, and its converse for random weights."""
    batch = G.join([G.as_graph(nx.gnp_random_graph(n, 0.3, seed=seed)) for n in (6, 9)])
    patterns = G.d_patterns([nx.gnp_random_graph(n, 0.3, seed=seed) for n in (6, 9)], depth)
    network = G.GraphNetwork(
        1, [16] * depth, 4, readout="nodes", generator=torch.Generator().manual_seed(seed)
    ).double()
    with torch.no_grad():
        for layer in network.layers:
            layer.own.bias.fill_(0.3)  # no dead network
        h = network(batch)
    gaps, equal = torch.cdist(h, h), patterns.ids[:, None] == patterns.ids
    assert gaps[equal].max() <= 1e-5
    if not bool(equal.all()):
        assert (gaps[~equal] > 1e-9).double().mean() > 0.99


def test_distributions_and_their_distances():
    one, other = (G.pattern_distribution(G.d_patterns(g, 1)) for g in (STAR, nx.path_graph(4)))
    assert one.mass.tolist().count(0.75) == 1 and one.nodes == 4
    assert one.total_variation(other) == other.total_variation(one) == 0.5
    assert one.total_variation(one) == 0 and one.unseen(other) == 0.5 and other.unseen(one) == 0.25
    assert G.pattern_tv([STAR], [nx.cycle_graph(5)], 1) == 1.0


@pytest.mark.parametrize(
    ("n", "p", "expected"),
    [
        (100, 0.15, 0.185),
        (100, 0.135, 0.030),
        (100, 0.1, 0.418),
        (100, 0.2, 0.639),
        (60, 0.3, 0.492),
        (80, 0.3, 0.847),
        (100, 0.3, 0.966),
        (200, 0.0675, 0.049),
    ],
)
def test_degrees_of_random_graphs_shift_as_their_binomials_do(n, p, expected):
    """Graphs of 40 to 50 nodes and p = .3 against others: exact laws, and the distance of samples near it."""
    degrees = torch.arange(400)
    source = sum(m * binom.pmf(degrees, m - 1, 0.3) for m in range(40, 51)) / sum(range(40, 51))
    exact = float(abs(source - binom.pmf(degrees, n - 1, p)).sum() / 2)
    assert abs(exact - expected) < 1e-3
    train = [nx.gnp_random_graph(40 + i % 11, 0.3, seed=i) for i in range(110)]
    found = G.pattern_tv(train, [nx.gnp_random_graph(n, p, seed=i) for i in range(20)], 1)
    assert abs(found - exact) < 0.05  # 2,000 and 5,000 nodes


@pytest.mark.skipif(not TU.is_dir(), reason="VESTIGE_DATA names no folder with tu/")
@pytest.mark.parametrize(
    ("name", "sizes", "expected"),
    [
        ("NCI1", (2055, 411), 0.164),
        ("NCI109", (2063, 412), 0.163),
        ("PROTEINS", (556, 111), 0.483),
        ("IMDBBINARY", (500, 100), 1.0),
    ],
)
def test_total_variations_of_tu_sets_are_the_published_ones(name, sizes, expected):
    read = G.read_tu(TU / f"{name}.txt.gz")
    graphs, y = read.graphs, read.y
    split = G.size_split(graphs)
    assert (len(split.small), len(split.large)) == sizes and not read.warnings
    small, large = ([graphs[i] for i in part] for part in (split.small, split.large))
    found = G.size_shift_report(small, large, train_y=y[split.small], test_y=y[split.large], depths=[2], features=False)
    assert abs(found.depths[0].tv - expected) <= 0.002 and found.risk in ("some", "high")
    assert found.depths[0].baseline < found.depths[0].tv / 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: G.d_patterns(STAR, -1), "at least 0"),
        (lambda: G.d_patterns(nx.DiGraph([(0, 1)]), 1), "directed"),
        (lambda: G.d_patterns(G.Graph(1, torch.zeros(2, 0).long(), torch.tensor([[0.5]])), 1), "Round them"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
