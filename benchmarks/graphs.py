"""Tokens and patterns a second, beside PyTorch Geometric's transforms, networkx's hash, and plain Python.

    python benchmarks/graphs.py
    python benchmarks/graphs.py --only patterns --nodes 10 1000

Times are CPU seconds of one thread, the best of three or more; each side gets graphs in its own format. The
extra `graphs` is needed.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from hashlib import blake2b

import networkx as nx
import numpy as np
import torch

import vestige as vg

DEGREE, STEPS, PAIRS, DEPTH = 4, 8, 8, 3
PARTS = ("walks", "spectral", "patterns")
LARGEST_PEER = 10_000  # nodes; at 100,000 its eighth power of a sparse matrix took all memory of the machine


def sparse_graph(n: int, seed: int) -> vg.graphs.Graph:
    """A ring and random chords: connected, mean degree near 4."""
    draw = torch.Generator().manual_seed(seed)
    ring = torch.stack([torch.arange(n), (torch.arange(n) + 1) % n])
    chords = torch.randint(n, (2, n * (DEGREE - 2) // 2), generator=draw)
    edges = torch.cat([ring, chords[:, chords[0] != chords[1]]], 1)
    return vg.graphs.Graph(n, torch.cat([edges, edges.flip(0)], 1))


def seconds(work: Callable[[], object], most: float = 20.0) -> float:
    """CPU seconds, the best of three, of fewer where they take long, of as many as fit into a tenth of a second."""
    found: list[float] = []
    while (len(found) < 3 and sum(found) < most) or (sum(found) < 0.1 and len(found) < 500):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def geometric(graphs: list[vg.graphs.Graph], kind: str) -> Callable[[], object]:
    """PyTorch Geometric's transform, a graph at a time as it works."""
    from torch_geometric.data import Data
    from torch_geometric.transforms import AddLaplacianEigenvectorPE, AddRandomWalkPE

    data = [Data(edge_index=g.edges, num_nodes=g.n) for g in graphs]
    if kind == "walks":
        transform = AddRandomWalkPE(STEPS)
    else:
        transform = AddLaplacianEigenvectorPE(PAIRS, is_undirected=True)
    return lambda: [transform(d) for d in data]


def ours(graphs: list[vg.graphs.Graph], kind: str) -> Callable[[], object]:
    how = vg.graphs.Tokenization(kind="random_walk", t=STEPS)
    if kind == "spectral":
        how = vg.graphs.Tokenization(k=PAIRS, laplacian="symmetric", trivial=False, eigenvalues=False, sign="flip")
    return lambda: vg.graphs.tokenize(graphs, how)


def naive_patterns(n: int, neighbors: list[list[int]], depth: int) -> list[bytes]:
    """As the definition says it: a digest of the own pattern and the sorted ones of the neighbors."""
    colors = [b"0"] * n
    for _ in range(depth):
        colors = [
            blake2b(colors[v] + b"".join(sorted(colors[u] for u in neighbors[v])), digest_size=8).digest()
            for v in range(n)
        ]
    return colors


def exponent(sizes: list[int], times: list[float]) -> float:
    """Slope of log time against log nodes, over the larger half of the sizes."""
    half = len(sizes) // 2
    return (
        float(np.polyfit(np.log(sizes[half:]), np.log(times[half:]), 1)[0]) if len(sizes) - half > 1 else float("nan")
    )


def tokens(kind: str, nodes: list[int], counts: list[int]) -> None:
    print(f"\n{kind}: ours, PyTorch Geometric, ratio")
    rows = [(1, n) for n in nodes] + [(count, 24) for count in counts]
    one, other = [], []
    for count, n in rows:
        graphs = [sparse_graph(n if count == 1 else 10 + i % 30, i) for i in range(count)]
        mine, theirs = seconds(ours(graphs, kind)), float("nan")
        if kind != "walks" or n <= LARGEST_PEER:
            theirs = seconds(geometric(graphs, kind))
        total = sum(g.n for g in graphs)
        name = f"1 graph of {n:,} nodes" if count == 1 else f"{count:,} graphs of 10 to 39 nodes"
        print(f"  {name:30} {total / mine:12,.0f} /s {total / theirs:12,.0f} /s  {theirs / mine:6.2f}", flush=True)
        if count == 1:
            one.append(mine)
            other.append(theirs)
    print(f"  growth exponent {exponent(nodes, one):.2f}, {exponent(nodes, other):.2f}")


def patterns(nodes: list[int], counts: list[int]) -> None:
    print(f"\npatterns of depth {DEPTH}: ours, plain Python, networkx, ratios")
    found: list[list[float]] = [[], [], []]
    for count, n in [(1, n) for n in nodes] + [(count, 24) for count in counts]:
        graphs = [sparse_graph(n if count == 1 else 10 + i % 30, i) for i in range(count)]
        lists: list[list[list[int]]] = [[[] for _ in range(g.n)] for g in graphs]
        for neighbors, graph in zip(lists, graphs, strict=True):
            for u, v in graph.edges.T.tolist():
                neighbors[u].append(v)
        others = [nx.Graph(g.edges.T.tolist()) for g in graphs]
        times = [
            seconds(lambda g=graphs: vg.graphs.d_patterns(g, DEPTH)),
            seconds(lambda a=lists: [naive_patterns(len(one), one, DEPTH) for one in a]),
            seconds(lambda g=others: [nx.weisfeiler_lehman_subgraph_hashes(o, iterations=DEPTH - 1) for o in g]),
        ]
        classes = len(vg.graphs.d_patterns(graphs, DEPTH).ids.unique())
        assert classes == len({c for one in lists for c in naive_patterns(len(one), one, DEPTH)}), "others differ"
        total = sum(g.n for g in graphs)
        rates = "  ".join(f"{total / t:12,.0f} /s" for t in times)
        name = f"{n:,} nodes" if count == 1 else f"{count:,} graphs of 10 to 39"
        print(f"  {name:22}  {rates}  {times[1] / times[0]:6.1f} {times[2] / times[0]:6.1f}", flush=True)
        if count == 1:
            for part, t in zip(found, times, strict=True):
                part.append(t)
    print("  growth exponents " + ", ".join(f"{exponent(nodes, part):.2f}" for part in found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 1000, 10_000, 100_000])
    parser.add_argument("--graphs", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--quick", action="store_true", help="small sizes")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # other libraries' notes on their future
    torch.set_num_threads(1)
    nodes, counts = ([10, 100], [10]) if options.quick else (options.nodes, options.graphs)
    for part in PARTS:
        if options.only in (None, part):
            patterns(nodes, counts) if part == "patterns" else tokens(part, nodes, counts)


if __name__ == "__main__":
    main()
