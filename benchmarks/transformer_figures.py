"""The figures of the pages on transformers, and their numbers.

    python benchmarks/transformer_figures.py --rows . --out docs/figures
    python benchmarks/transformer_figures.py --only phase --seeds 1

Each training is a row of a file in --rows as soon as it is done, and is not repeated while it stands there. Times are
CPU seconds of one thread.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median

import torch
from scipy.stats import spearmanr

import vestige as vg
from vestige.core.rng import child
from vestige.report import diagrams, figures
from vestige.report.document import save_figure

C = vg.construct
DIMS, VOCABS, ENOUGH = (4, 8, 16, 32), (4, 8, 16, 32, 64, 128), 0.8
RANKS = {(16, 8): (16, 8, 4, 2, 1)}  # (dimension, points) -> ranks
Row = dict[str, float]


def kept(path: Path, key: dict[str, float], make: Callable[[], Row]) -> Row:
    """The row of the file with this key, made and appended where it is missing."""
    lines = path.read_text().splitlines() if path.exists() else []
    for row in map(json.loads, lines):
        if row.items() >= key.items():
            return row
    begun = time.process_time()
    row = key | make() | {"seconds": round(time.process_time() - begun, 1)}
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row, flush=True)
    return row


def phase(options: argparse.Namespace) -> None:
    """Accuracy of trained counters over dimension and vocabulary, and where it falls below 0.8."""
    dims, vocabs = (DIMS[:2], VOCABS[:2]) if options.quick else (DIMS, VOCABS)

    def trained(d: int, m: int, seed: int) -> Row:
        steps, draw = (20 if options.quick else 2000), child(seed, "phase")
        (found,) = C.counting_phase([d], [m], steps=steps, restarts=options.restarts, generator=draw)
        return {"accuracy": found.accuracy, "longer": found.longer, "constant": found.constant}

    correlations, tables = [], []
    for seed in range(options.seeds):
        table = [
            [
                kept(options.rows / "phase.jsonl", {"d": d, "m": m, "seed": seed}, lambda a=(d, m, seed): trained(*a))
                for m in vocabs
            ]
            for d in dims
        ]
        accuracy = torch.tensor([[cell["accuracy"] for cell in row] for row in table])
        ends = [max((m for m, a in zip(vocabs, row, strict=True) if a >= ENOUGH), default=0) for row in accuracy]
        correlations.append(float(spearmanr(dims, ends).statistic))
        tables.append(accuracy)
        longer = fmean(cell["longer"] for row in table for cell in row)
        print(
            f"seed {seed}: largest m with accuracy {ENOUGH}, by d: {dict(zip(dims, ends, strict=True))}; rank "
            f"correlation {correlations[-1]:.3f}; twice the length {longer:.3f}; constant {table[0][0]['constant']:.3f}"
        )
    mean = torch.stack(tables).mean(0)
    for d, row in zip(dims, mean.tolist(), strict=True):
        print(f"d = {d}: " + " ".join(f"{a:.3f}" for a in row))
    same = [(float(vocabs.index(d)), float(k)) for k, d in enumerate(dims) if d in vocabs]
    drawn = diagrams.shares_table(
        mean, list(map(str, dims)), list(map(str, vocabs)), xlabel="vocabulary m", ylabel="dimension d", line=same
    )
    save_figure(options.out / "counting-phase.svg", drawn, title="Accuracy of trained counting; on the line d = m")


def rank(options: argparse.Namespace) -> None:
    """Error of one layer against the rank of its heads, all with the same number of attention weights."""
    series, ticks = {}, sorted({r for ranks in RANKS.values() for r in ranks})
    for (dim, n), ranks in RANKS.items():
        errors = {}
        for r in ranks[:: len(ranks) - 1] if options.quick else ranks:

            def trained(seed: int, r: int = r, dim: int = dim, n: int = n) -> Row:
                steps = 5 if options.quick else 1500
                (found,) = C.rank_sweep(dim, n, [r], steps=steps, generator=child(seed, "rank"))
                return {"heads": found.heads, "error": found.error}

            rows = [
                kept(
                    options.rows / "rank.jsonl", {"d": dim, "n": n, "rank": r, "seed": seed}, lambda s=seed: trained(s)
                )
                for seed in range(options.seeds)
            ]
            errors[r] = median(row["error"] for row in rows)
            print(f"d = {dim}, n = {n}: {dim // r} heads of rank {r}: error {[round(row['error'], 3) for row in rows]}")
        series[f"d = {dim}, {n} points"] = [errors.get(r, float("nan")) for r in ticks]
    drawn = figures.curves(
        ticks, series, xlabel="rank of each head", ylabel="error on new points", level=1.0, logarithmic=True,
        level_name="the answer 0",
    )  # fmt: skip
    save_figure(options.out / "rank-sweep.svg", drawn, title="Equally many weights in heads of higher rank")


def gates(options: argparse.Namespace) -> None:
    """Share of subjects at which each neuron is on, by relation, in a trained network of recall."""
    n, steps = (32, 20) if options.quick else (256, 1500)
    facts = C.random_facts(n, 3, generator=child(0, "facts"))
    trained = C.train_recall(facts, 32, 256, steps=steps, generator=child(0, "recall"))
    table = C.gate_table(trained.model, facts)
    order = (2 * table.owner + 1 - table.fires.max(0).values).argsort()
    print(f"recall {trained.accuracy:.3f}; neurons by relation {table.owner.bincount(minlength=3).tolist()}")
    names = [f"relation {r}" for r in range(3)]
    drawn = diagrams.shares_table(table.fires[:, order], names, [], xlabel="neurons, by owner", ylabel="")
    save_figure(options.out / "recall-gates.svg", drawn, title="Share of subjects at which each neuron is on")


def streams(options: argparse.Namespace) -> None:
    """The residual stream of one construction of each page."""
    facts = C.random_facts(256, 3)
    built = {
        "counter": ("Counting", C.build_counter(500, 4096, dim=50)),
        "nearest": ("Nearest point by vote", C.build_rank_one_majority(8, 3)),
        "questions": ("Questions on a tree", C.build_crq_transformer(31, 2, 3)),
        "triangles": ("Triangles of a graph", C.build_triangle_counter(50)),
        "recall": ("Recall of facts", C.build_factual_recall(facts)),
    }
    for name, (title, made) in built.items():
        parts = C.describe_stream(made.network)
        drawn = diagrams.stream_diagram(made.network.stream.sizes, [(p.name, p.reads, p.writes) for p in parts])
        save_figure(options.out / f"stream-{name}.svg", drawn, title=f"{title}: rings read, dots write")
        print(f"{name}: {len(made.network.stream.sizes)} blocks, {len(parts)} heads and MLPs", flush=True)


PARTS = {"streams": streams, "gates": gates, "rank": rank, "phase": phase}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--restarts", type=int, default=1, help="starts of each counter, of which the best is kept")
    parser.add_argument("--rows", type=Path, default=Path(), help="folder of the rows")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for folder in (options.rows, options.out):
        folder.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        PARTS[name](options)


if __name__ == "__main__":
    main()
