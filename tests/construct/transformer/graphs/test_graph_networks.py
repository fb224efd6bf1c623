"""Networks that compute on graphs, against networkx and brute force, and where the theory says that they must fail."""

import itertools
import math

import networkx as nx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vestige as vg

BUILD = vg.construct
TRIANGLE = torch.tensor([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
SQUARE = torch.tensor([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
CHERRY = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]])


def graphs(n, samples, density=0.3, seed=0, directed=False):
    draw = torch.Generator().manual_seed(seed)
    return BUILD.random_graphs(n, samples, density=density, directed=directed, generator=draw)


def answers(built, x, dtype=torch.float32, **options):
    return built.network.to(dtype)(BUILD.graph_tokens(x, **options)).double().round()


def of_networkx(x, function):
    return torch.tensor([float(function(nx.from_numpy_array(a.numpy()))) for a in x])[:, None].double()


def triangles(graph):
    return sum(nx.triangles(graph).values()) / 3


def copies(graph, pattern):
    """Every injective map of the pattern's nodes, over its automorphisms."""
    shape = nx.from_numpy_array(pattern.numpy())
    maps = sum(
        all(graph.has_edge(p[a], p[b]) for a, b in shape.edges) for p in itertools.permutations(graph.nodes, len(shape))
    )
    same = sum(1 for _ in nx.isomorphism.GraphMatcher(shape, shape).isomorphisms_iter())
    return maps / same


@given(n=st.integers(2, 9), power=st.integers(2, 4), seed=st.integers(0, 99), density=st.sampled_from([0.2, 0.5, 1.0]))
def test_powers_of_any_directed_graph(n, power, seed, density):
    x = graphs(n, 2, density, seed, directed=True)
    found = answers(BUILD.build_matrix_power(n, power), x, directed=True)
    assert torch.equal(found, x.double().matrix_power(power))


def test_cubes_of_fifty_graphs():
    for n in (10, 30, 50):
        x = graphs(n, 17, seed=n)
        assert torch.equal(answers(BUILD.build_matrix_power(n, 3), x), x.double().matrix_power(3))


def test_triangles_and_squares_of_a_hundred_graphs():
    for n, density in ((8, 0.6), (20, 0.3), (20, 0.9), (30, 0.2)):
        x = graphs(n, 25, density, seed=n)
        assert torch.equal(answers(BUILD.build_triangle_counter(n), x), of_networkx(x, triangles))
        found = answers(BUILD.build_four_cycle_counter(n), x)
        assert torch.equal(found[:3], of_networkx(x[:3], squares))
        a = x.double()
        two, trace = a @ a, lambda m: m.diagonal(dim1=1, dim2=2).sum(1)
        assert torch.equal(found[:, 0], (trace(two @ two) + trace(two) - 2 * two.sum((1, 2))) / 8)


def squares(graph):
    """Pairs of opposite nodes, one by one."""
    found = 0
    for a, b in itertools.combinations(graph.nodes, 2):
        common = len(set(graph[a]) & set(graph[b]))
        found += common * (common - 1) // 2
    return found / 2


def test_connectivity_of_a_hundred_permuted_graphs():
    n = 40
    built = BUILD.build_connectivity(n)
    x = torch.cat([graphs(n, 25, p, seed=k) for k, p in enumerate((0.05, 0.08, 0.1, 0.12))])
    wanted = of_networkx(x, nx.is_connected)
    assert 20 < wanted.sum() < 80
    assert torch.equal(answers(built, BUILD.permuted_graphs(x)), wanted)
    cycles, one = BUILD.cycle_graphs(n, 20)
    assert torch.equal(answers(built, cycles)[:, 0], one.double())
    assert built.numbers["layers"] == math.ceil(math.log2(n - 1))


def test_one_squaring_less_misses_a_long_path():
    n = 18  # a diameter of 17 > 2^4
    path = torch.diag(torch.ones(n - 1, dtype=torch.long), 1)
    path = (path + path.T)[None]
    assert answers(BUILD.build_connectivity(n), path).item() == 1
    short = BUILD.build_connectivity(n, layers=4)
    assert answers(short, path).item() == 0
    assert not short.certificate.holds and short.outcome is vg.Outcome.STAGNATED


@pytest.mark.parametrize("n", [7, 24, pytest.param(40, marks=pytest.mark.slow)])
def test_one_cycle_or_two(n):
    x, one = BUILD.cycle_graphs(n, 30, generator=torch.Generator().manual_seed(5))
    assert torch.equal(of_networkx(x, nx.is_connected)[:, 0], one.double())
    assert torch.equal(answers(BUILD.build_cycle_walk(n), x)[:, 0], one.double())


def two_cycles(x):
    found = []
    for a in x:
        graph = nx.from_numpy_array(a.numpy(), create_using=nx.DiGraph)
        found.append([float(any(graph.has_edge(w, v) for w in graph[v])) for v in range(len(a))])
    return torch.tensor(found).double()


def test_two_cycles_of_a_hundred_directed_graphs():
    n = 25
    x = torch.cat([graphs(n, 25, p, seed=k, directed=True) for k, p in enumerate((0.03, 0.06, 0.1, 0.3))])
    found = answers(BUILD.build_two_cycle_detector(n), x, directed=True)[..., 0]
    wanted = two_cycles(x)
    assert 0.1 < wanted.mean() < 0.9 and torch.equal(found, wanted)


def test_sketches_find_them_at_eight_d_log_n_and_not_at_two():
    n, degree, rates = 200, 3, []
    x = BUILD.degree_bounded_graphs(n, 20, degree, generator=torch.Generator().manual_seed(3))
    wanted = two_cycles(x)
    for factor in (2, 8):
        size = math.ceil(factor * degree * math.log(n))
        built = BUILD.build_two_cycle_detector(n, degree=degree, size=size)
        found = built.network(BUILD.sketch_tokens(x, size)).round()[..., 0]
        rates.append(float((found == wanted).all(1).double().mean()))
    assert built.certificate.holds and built.numbers["stream width"] < 2 * n
    assert rates[1] >= 0.95 and rates[0] < 0.5


@pytest.mark.parametrize(
    ("pattern", "n"), [(TRIANGLE, 27), (CHERRY, 8), (SQUARE, 16), (torch.tensor([[0, 1], [1, 0]]), 9)]
)
def test_copies_of_patterns(pattern, n):
    x = torch.cat([graphs(n, 2, p, seed=4) for p in (0.3, 0.7)])
    built = BUILD.build_subgraph_counter(pattern, n)
    found = answers(built, x)
    assert built.certificate.holds, built.certificate.table()
    if pattern is TRIANGLE:
        assert torch.equal(found, of_networkx(x, triangles))
    else:
        assert torch.equal(found, of_networkx(x, lambda graph: copies(graph, pattern)))


def test_it_counts_copies_that_are_not_induced():
    complete = 1 - torch.eye(16, dtype=torch.long)[None]
    assert answers(BUILD.build_subgraph_counter(SQUARE, 16), complete).item() == 3 * math.comb(16, 4)


def test_half_precision_is_flagged():
    """Counts to 8 bits: 1,771 triangles of 23 nodes are beyond bfloat16."""
    complete = 1 - torch.eye(23)[None]
    built = BUILD.build_triangle_counter(23)
    sweep = BUILD.precision_sweep(built, complete, dtypes=[torch.float32, torch.bfloat16])
    assert sweep.exact_rates == (1.0, 0.0)


def test_bounds_are_beside_the_constructions():
    assert BUILD.two_cycle_lower_bound(400) == 100
    with pytest.raises(ValueError, match="at least 2"):
        BUILD.two_cycle_lower_bound(1)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: BUILD.graph_tokens(torch.full((1, 2, 2), 0.5)), "4 entries other than 0 and 1, 2 self-loops"),
        (lambda: BUILD.graph_tokens(torch.tensor([[[0, 1], [0, 0]]])), "1 edges in one direction only"),
        (lambda: BUILD.graph_tokens(torch.eye(2)[None], directed=True), "2 self-loops"),
        (lambda: BUILD.build_triangle_counter(4).network(torch.zeros(1, 5, 5)), "are needed"),
        (lambda: BUILD.build_matrix_power(1, 2), "n=1"),
        (lambda: BUILD.build_matrix_power(50, 9), "take a wider dtype"),
        (lambda: BUILD.build_triangle_counter(2), "at least 3"),
        (lambda: BUILD.build_four_cycle_counter(3), "at least 4"),
        (lambda: BUILD.build_connectivity(5, layers=0), "layers=0"),
        (lambda: BUILD.build_cycle_walk(5), "at least 6"),
        (lambda: BUILD.cycle_graphs(5, 1), "at least 6"),
        (lambda: BUILD.connectivity_graphs(8, 1), "at least 16"),
        (lambda: BUILD.build_two_cycle_detector(9, size=4), "a degree with a size"),
        (lambda: BUILD.degree_bounded_graphs(3, 1, 3), "from 1 to 2"),
        (lambda: BUILD.sketch_tokens(BUILD.degree_bounded_graphs(9, 1, 4), 4), "more than that is needed"),
        (lambda: BUILD.build_subgraph_counter(TRIANGLE, 26), r"a 3-th power is needed, such as \[8, 27, 64\]"),
        (lambda: BUILD.build_subgraph_counter(torch.eye(3).long(), 27), "no graph of 2 to 5 nodes"),
        (lambda: BUILD.build_subgraph_counter(SQUARE, 3**4), "the most"),
        (lambda: BUILD.eulerian_instances(3, 3, 1), "edges=3"),
    ],
)
def test_what_graph_networks_refuse(call, said):
    with pytest.raises(ValueError, match=said):
        call()
