"""Which tokens suit which task, and what a larger graph does to a trained network.

python benchmarks/graph_tasks.py connectivity --nodes 16 32 64
python benchmarks/graph_tasks.py walks
python benchmarks/graph_tasks.py molecules --data BBBP.csv
python benchmarks/graph_tasks.py teacher
python benchmarks/graph_tasks.py sizes --data NCI1.txt.gz PROTEINS.txt.gz --seeds 10
"""

import argparse
import csv
import gzip
import time
from collections import defaultdict
from pathlib import Path

import networkx as nx
import numpy as np
import torch
import torch.nn.functional as F

import vestige as vg
from vestige.core.descent import Descent, fit
from vestige.core.rng import child

G = vg.graphs
KINDS = ("spectral", "random_walk", "adjacency")
TRUNCATED = 8
ATOMS = (6, 7, 8, 16, 9, 17, 35, 53, 15)


def joined_or_not(n: int, count: int, seed: int) -> tuple[list[G.Graph], torch.Tensor]:
    """Two halves of mean degree near 4; in every second graph a swap of two edges, which keeps degrees, joins them."""
    rng, graphs = np.random.default_rng(seed), []
    while len(graphs) < count:
        halves = [nx.gnp_random_graph(n // 2, min(1.0, 8 / n), seed=int(rng.integers(2**31))) for _ in range(2)]
        if not all(nx.is_connected(h) for h in halves):
            halves = [
                nx.random_regular_graph(4 if n > 10 else 2, n // 2, seed=int(rng.integers(2**31))) for _ in range(2)
            ]
        graph = nx.disjoint_union(*halves)
        if len(graphs) % 2:
            (a, b), (c, d) = (list(h.edges)[int(rng.integers(h.number_of_edges()))] for h in halves)
            c, d = c + n // 2, d + n // 2
            graph.remove_edges_from([(a, b), (c, d)])
            graph.add_edges_from([(a, c), (b, d)])
        if nx.number_connected_components(graph) != 2 - len(graphs) % 2:
            continue
        order = rng.permutation(n)
        graphs.append(G.as_graph(torch.from_numpy(nx.to_numpy_array(graph)[order][:, order])))
    return graphs, torch.arange(count) % 2


def show(found: G.TokenComparison, begun: float, digits: int = 3) -> None:
    for row in found.rows:
        how = row.how.kind + (
            f" {row.how.k or row.how.t or row.how.width}" if row.how.k or row.how.t or row.how.width else ""
        )
        print(f"    {how:16} depth {row.depth}: {row.mean:.{digits}f} +- {row.std:.{digits}f}, "
              f"training {row.train_score:.{digits}f}")  # fmt: skip
    print(f"    constant {found.constant:.3f} ({found.measure}); {time.process_time() - begun:.0f} CPU s", flush=True)


def connectivity(options: argparse.Namespace) -> None:
    for n in options.nodes:
        begun = time.process_time()
        graphs, y = joined_or_not(n, options.graphs, 0)
        test, test_y = joined_or_not(n, options.graphs // 2, 1)
        print(f"connectivity, {n} nodes, {options.graphs} graphs, {options.steps} steps, {options.seeds} seeds")
        task = G.GraphTask(graphs, y, test, test_y)
        kinds = [G.Tokenization(kind=kind) for kind in options.kinds]
        show(G.compare_tokenizations(task, tokenizations=kinds, depths=options.depths, steps=options.steps,
                                     repeats=options.seeds, dropout=0.0), begun)  # fmt: skip


def walks(options: argparse.Namespace) -> None:
    """Return probabilities after k steps from rows of the adjacency matrix, node by node."""
    n = options.nodes[0]
    sets = [
        [G.as_graph(nx.gnp_random_graph(n, 0.3, seed=1000 * part + i)) for i in range(options.graphs)]
        for part in (1, 2)
    ]
    for k in (2, 4, 8):
        begun = time.process_time()
        how = G.Tokenization(kind="random_walk", t=k)
        y, test_y = (G.tokenize(graphs, how, size=n).values[:, :, k - 1] for graphs in sets)
        print(f"probability of being back after {k} steps, {n} nodes, error over that of the mean")
        task = G.GraphTask(sets[0], y, sets[1], test_y)
        show(G.compare_tokenizations(task, tokenizations=["adjacency", how], depths=options.depths, steps=options.steps,
                                     repeats=options.seeds, dropout=0.0), begun)  # fmt: skip


def molecule(smiles: str) -> G.Graph | None:
    """Atoms with their element, charge and aromaticity; None for what rdkit cannot read."""
    from rdkit import Chem

    found = Chem.MolFromSmiles(smiles)
    if found is None or not found.GetNumAtoms():
        return None
    x = torch.zeros(found.GetNumAtoms(), len(ATOMS) + 3)
    for i, atom in enumerate(found.GetAtoms()):
        number = atom.GetAtomicNum()
        x[i, ATOMS.index(number) if number in ATOMS else len(ATOMS)] = 1
        x[i, -2], x[i, -1] = atom.GetFormalCharge(), atom.GetIsAromatic()
    pairs = torch.tensor([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in found.GetBonds()]).long().reshape(-1, 2).T
    return G.Graph(len(x), torch.cat([pairs, pairs.flip(0)], 1), x)


def scaffold_split(smiles: list[str]) -> tuple[list[int], list[int]]:
    """Molecules of one Murcko scaffold stay together; the most common scaffolds are for training (80 %), the rarest for
    the test (10 %), and those between are not used.
    """
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    groups = defaultdict(list)
    for i, text in enumerate(smiles):
        groups[MurckoScaffoldSmiles(text, includeChirality=True)].append(i)
    order = [i for group in sorted(groups.values(), key=lambda g: (len(g), g[0]), reverse=True) for i in group]
    return order[: int(0.8 * len(order))], order[int(0.9 * len(order)) :]


def molecules(options: argparse.Namespace) -> None:
    from rdkit import RDLogger

    RDLogger.DisableLog("rdApp.*")
    for path in map(Path, options.data):
        begun = time.process_time()
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            rows = [{key.lower(): value for key, value in row.items()} for row in csv.DictReader(file)]
        label = "p_np" if "p_np" in rows[0] else "class"
        kept = [(row["smiles"], g, int(float(row[label]))) for row in rows if (g := molecule(row["smiles"]))]
        smiles, graphs, y = (list(part) for part in zip(*kept, strict=True))
        train, test = scaffold_split(smiles)
        labels = torch.tensor(y)
        task = G.GraphTask([graphs[i] for i in train], labels[train], [graphs[i] for i in test], labels[test])
        print(f"{path.name}: {len(train)} molecules for training, {len(test)} for the test, {options.steps} steps, "
              f"{options.seeds} seeds; {task.warnings}")  # fmt: skip
        flip = {"laplacian": "symmetric", "trivial": False, "eigenvalues": False, "sign": "flip"}
        short = {"k": TRUNCATED, "t": TRUNCATED, "width": TRUNCATED}
        kinds = [
            G.Tokenization(kind="spectral", k=TRUNCATED, **flip),
            G.Tokenization(kind="random_walk", t=TRUNCATED),
            G.Tokenization(kind="adjacency", width=TRUNCATED),
            G.Tokenization(kind="combined", sign="flip", **short),
        ]
        if options.padded:
            kinds += [G.Tokenization(kind="spectral", **flip), "random_walk", "adjacency"]
            kinds += [G.Tokenization(kind="combined", sign="flip")]
        show(G.compare_tokenizations(task, tokenizations=kinds, depths=options.depths, steps=options.steps,
                                     repeats=options.seeds), begun)  # fmt: skip


def random_batch(n: range, p: float, count: int, draw: torch.Generator) -> G.GraphBatch:
    graphs = []
    for _ in range(count):
        size = int(torch.randint(n.start, n.stop, (1,), generator=draw))
        upper = (torch.rand(size, size, generator=draw) < p).triu(1)
        graphs.append(G.as_graph(upper | upper.T))
    return G.join(graphs)


def teacher(options: argparse.Namespace) -> None:
    """A student learns a teacher's node outputs on G(n, .3) with 40 to 50 nodes; error elsewhere."""
    for seed in range(options.seeds):
        begun, draw = time.process_time(), child(seed, "teacher")
        master = G.GraphNetwork(1, [32, 32], 1, readout="nodes", generator=child(seed, "master")).float()
        student = G.GraphNetwork(1, [64] * 3, 1, readout="nodes", generator=child(seed, "student")).float()
        optimizer = torch.optim.Adam(student.parameters(), 2e-3)

        def objective(_: int, draw=draw, master=master, student=student) -> torch.Tensor:
            batch = random_batch(range(40, 51), 0.3, 32, draw)
            with torch.no_grad():
                y = master(batch)
            return F.mse_loss(student(batch), y)

        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
        fit(objective, Descent(optimizer, schedule), steps=options.steps)
        places = [(45, 0.3), *((100, p) for p in (0.05, 0.1, 0.125, 0.135, 0.15, 0.175, 0.2, 0.3, 0.5)), (60, 0.3),
                  (80, 0.3), (150, 0.3), (50, 0.27), (200, 0.0675)]  # fmt: skip
        shown = []
        for n, p in places:
            batch = random_batch(range(n, n + 1), p, 20, draw)
            with torch.no_grad():
                error = float(F.mse_loss(student(batch), master(batch)))
            shown.append(f"({n}, {p:g}) {np.log10(error):.2f}")
        print(f"seed {seed}: log10 of the squared error at (n, p): {', '.join(shown)}; "
              f"{time.process_time() - begun:.0f} CPU s", flush=True)  # fmt: skip


def sizes(options: argparse.Namespace) -> None:
    """Vanilla, pre-training and multi-task on the smallest half, judged on the largest tenth."""
    for path in map(Path, options.data):
        read = G.read_tu(path)
        tags, y = int(max(g.x.max() for g in read.graphs)) + 1, read.y
        graphs = [G.Graph(g.n, g.edges, F.one_hot(g.x[:, 0], tags)) for g in read.graphs]
        split = G.size_split(graphs)
        small, large = ([graphs[i] for i in part] for part in (split.small, split.large))
        shift = G.size_shift_report(small, large, train_y=y[split.small], test_y=y[split.large], features=False)
        print(f"{path.name}: {len(small)} small, {len(large)} large; constant {shift.constant:.3f}; degree patterns "
              f"{', '.join(f'd = {d.depth}: {d.tv:.3f} (halves {d.baseline:.3f})' for d in shift.depths)}")  # fmt: skip
        for schedule in G.Schedule:
            begun, rows = time.process_time(), []
            for seed in range(options.seeds):
                found = G.train_across_sizes(
                    small, y[split.small], unlabeled=large, schedule=schedule, steps=options.steps,
                    tree_steps=options.steps // 2, generator=child(seed, "sizes"),
                )  # fmt: skip
                scores = G.class_scores(G.predict_graphs(found.model, large), y[split.large])
                inner = G.class_scores(G.predict_graphs(found.model, small), y[split.small])
                rows.append([scores.accuracy, scores.balanced, scores.mcc, inner.mcc])
            table = torch.tensor(rows, dtype=torch.float64)
            mean, std = table.mean(0).tolist(), table.std(0).tolist() if len(rows) > 1 else [0.0] * 4
            names = ("accuracy", "balanced", "MCC", "MCC on the small ones")
            said = ", ".join(f"{name} {m:.3f} +- {s:.3f}" for name, m, s in zip(names, mean, std, strict=True))
            print(f"    {schedule:10} {said}; {time.process_time() - begun:.0f} CPU s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("connectivity", "walks", "molecules", "teacher", "sizes"))
    parser.add_argument("--data", nargs="+", default=[])
    parser.add_argument("--nodes", type=int, nargs="+", default=[16])
    parser.add_argument("--graphs", type=int, default=1000)
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="of connectivity")
    parser.add_argument("--padded", action="store_true", help="tokens of full width as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    {"connectivity": connectivity, "walks": walks, "molecules": molecules, "teacher": teacher, "sizes": sizes}[
        options.part
    ](options)


if __name__ == "__main__":
    main()
