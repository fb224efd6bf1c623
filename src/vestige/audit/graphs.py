"""Graph sets as jobs: what tokens lose, and what larger graphs change; with a run folder and a report if asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from vestige.audit.job import Tensors
from vestige.audit.study import Study, run_study
from vestige.audit.summary import number
from vestige.core.files import sha256_of
from vestige.core.outcome import OnStep
from vestige.core.rng import child
from vestige.graphs.graph import Graph
from vestige.graphs.patterns.reading import GraphSet, read_tu, size_split
from vestige.graphs.patterns.shift import SizeShift, size_shift_report
from vestige.graphs.tokens.comparison import GraphTask, Measure, compare_tokenizations
from vestige.graphs.tokens.diagnosis import diagnose_tokens
from vestige.graphs.tokens.kinds import TokenKind
from vestige.graphs.tokens.tokenizer import REPEATED, is_lossless, tokenize
from vestige.graphs.tokens.witnesses import Witness, witness

LOOKED_AT, DIAGNOSED = 200, 50  # graphs that are made into tokens and back, and whose norms are computed


def study_tokens(
    data: Path | str,
    *,
    depths: Sequence[int] = (1, 2),
    steps: int = 0,
    repeats: int = 3,
    seed: int = 0,
    out: Path | str | None = None,
    on_step: OnStep | None = None,
) -> Study:
    """Say of a graph set what each kind of token loses, and, if asked for, how a transformer does on each.

    Args:
        data: a file of the TU collection in text format, which may be gzipped.
        depths: blocks of the transformers.
        steps: of each training; 0 for none.
        repeats: trainings of each kind and depth.
        seed: equal seeds give equal results on the same machine.
        out: folder for results and report; None for no files.
        on_step: called after each training.

    Raises:
        ValueError: no such file, one that is no graph set, or trainings on labels of one class.
    """
    read = read_tu(data)
    sizes, task = torch.tensor([g.n for g in read.graphs]), _task(read, seed) if steps else None

    def work(told: OnStep) -> tuple[dict[str, Any], Tensors]:
        order = torch.randperm(len(read.graphs), generator=child(seed, "looked at"))[:LOOKED_AT]
        parts = [_losses([read.graphs[i] for i in order]), _witnesses()]
        if task is not None:
            parts.append(_trained(task, depths, steps, repeats, seed, told))
        kinds = [kind for kind, _, share, *_ in parts[0].table["rows"] if share == 1]
        return {
            "title": f"tokens of {Path(data).name}",
            "verdict": f"Tokens from which all graphs that were looked at come back: {', '.join(kinds) or 'none'}.",
            "facts": [["graphs", len(sizes)], ["most nodes", int(sizes.max())], ["classes", int(read.y.max()) + 1]],
            "tables": [part.table for part in parts],
            "curves": [part.curve for part in parts if part.curve is not None],
            "map": None,
            "warnings": [*read.warnings, *(note for part in parts for note in part.warnings)],
        }, {"sizes": sizes}

    config = {"data": _named(data), "depths": list(depths), "steps": steps, "repeats": repeats, "seed": seed}
    return run_study("graphs tokens", ("2605.22471",), config, work, out, on_step)


def _named(data: Path | str) -> dict[str, str]:
    return {"file": Path(data).name, "sha256": sha256_of(Path(data))}


@dataclass(frozen=True)
class _Shown:
    """One part of a page."""

    table: dict[str, Any]
    curve: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()


def _losses(graphs: list[Graph]) -> _Shown:
    """What each kind of token loses, and how its norm grows with the graph."""
    some = graphs[:DIAGNOSED]
    sizes = sorted({graph.n for graph in some})
    rows, norms, warnings = [], {}, []
    for kind in TokenKind:
        found = [diagnose_tokens(graph, kind) for graph in some]
        norms[str(kind)] = [max(f.norm_squared for f in found if f.n == n) for n in sizes]
        tokens, kept = tokenize(graphs, kind), sum(is_lossless(graph, kind) for graph in graphs)
        depth = max(f.connectivity_depth for f in found)
        rows.append([str(kind), tokens.width, kept / len(graphs), max(norms[str(kind)]), depth])
        warnings += [f"{kind}: {note}" for note in tokens.warnings]
    table = {
        "title": "What tokens lose",
        "note": f"{len(graphs)} graphs, drawn at random. Lossless: the share whose adjacency matrix came back. Norm: "
        f"the largest |X|^2 of {len(some)}. Depth: the order of layers that connectivity needs.",
        "columns": ["tokens", "width", "lossless", "norm", "depth"],
        "rows": rows,
    }
    curve = {
        "title": "Norm by size",
        "x": [float(n) for n in sizes],
        "series": norms,
        "xlabel": "nodes",
        "ylabel": "largest |X|^2",
        "note": "The attention that reads edges off spectral tokens must cope with this norm (theorem 5).",
    }
    return _Shown(table, curve, tuple(warnings))


def _witnesses() -> _Shown:
    pairs = {name: witness(name) for name in Witness}
    rows = [[name.replace("_", " "), p.first.n, p.differs, *map(_plain, p.values)] for name, p in pairs.items()]
    return _Shown({
        "title": "Pairs with the same tokens",
        "note": "planarity, return time: walks of any length, and of 4 steps. Eigenvectors: the first 4, the last 3.",
        "columns": ["pair", "nodes", "property", "of one", "of the other"],
        "rows": rows,
    })  # fmt: skip


def _plain(value: object) -> str:
    return str(value) if not isinstance(value, bool) else "yes" if value else "no"


def _task(read: GraphSet, seed: int) -> GraphTask:
    """Four fifths of the graphs, at random, for training; tags of nodes as features."""
    tags = [int(g.x.max()) for g in read.graphs if g.x is not None]
    ready = [g if g.x is None else Graph(g.n, g.edges, F.one_hot(g.x[:, 0], max(tags) + 1)) for g in read.graphs]
    order = torch.randperm(len(ready), generator=child(seed, "split"))
    train, test = order[: len(ready) * 4 // 5], order[len(ready) * 4 // 5 :]
    return GraphTask([ready[i] for i in train], read.y[train], [ready[i] for i in test], read.y[test])


def _trained(task: GraphTask, depths: Sequence[int], steps: int, repeats: int, seed: int, told: OnStep) -> _Shown:
    """How a transformer does on each kind, at each depth."""
    found = compare_tokenizations(
        task, depths=depths, steps=steps, repeats=repeats, generator=child(seed, "trainings"), on_step=told
    )
    measure = "AUC" if found.measure is Measure.AUC else str(found.measure)
    table = {
        "title": "Transformers on these tokens",
        "note": f"{measure} on a random fifth of the graphs; a constant answer has {found.constant:.3f}.",
        "columns": ["tokens", "depth", "mean", "deviation", "in training"],
        "rows": [[str(r.how.kind), r.depth, *map(number, (r.mean, r.std, r.train_score))] for r in found.rows],
    }
    means = {str(kind): [number(r.mean) for r in found.rows if r.how.kind is kind] for kind in TokenKind}
    curve = {
        "title": "Score by depth",
        "x": [float(depth) for depth in depths],
        "series": {**means, "constant": [found.constant] * len(depths)},
        "xlabel": "blocks",
        "ylabel": measure,
        "note": "Where depth helps, tokens hold what one block cannot read.",
    }
    said = tuple(note for note in found.warnings if REPEATED not in note)  # it was said of all graphs
    return _Shown(table, curve, said)


def study_size_shift(
    data: Path | str,
    *,
    test: Path | str | None = None,
    small: float = 0.5,
    large: float = 0.1,
    depths: Sequence[int] = (1, 2, 3),
    features: bool = True,
    seed: int = 0,
    out: Path | str | None = None,
    on_step: OnStep | None = None,
) -> Study:
    """Say before training whether a graph network that learns on small graphs is told what to do on large ones.

    Args:
        data: a file of the TU collection in text format, which may be gzipped.
        test: another, of the graphs that the network will meet; None for the largest of `data`.
        small: share of the smallest graphs, for training, without `test`.
        large: share of the largest, without `test`.
        depths: layers of the networks that are meant.
        features: whether tags of nodes are part of a pattern.
        seed: of the random halves.
        out: folder for results and report; None for no files.
        on_step: called at the end.

    Raises:
        ValueError: no such file, one that is no graph set, or shares that make an empty part.
    """
    read = read_tu(data)
    if test is None:
        split = size_split(read.graphs, small=small, large=large)
        parts = [[read.graphs[i] for i in places] for places in (split.small, split.large)]
        labels, notes = [read.y[split.small], read.y[split.large]], [*read.warnings, *split.warnings]
    else:
        other = read_tu(test)
        parts, labels = [read.graphs, other.graphs], [read.y, other.y]
        notes = [*read.warnings, *(f"{Path(test).name}: {note}" for note in other.warnings)]

    def work(told: OnStep) -> tuple[dict[str, Any], Tensors]:
        found = size_shift_report(
            *parts,
            train_y=labels[0],
            test_y=labels[1],
            depths=depths,
            features=features,
            generator=child(seed, "halves"),
        )
        return _shift_results(found, Path(data).name, notes), {"sizes": torch.tensor([g.n for p in parts for g in p])}

    config = {"data": _named(data), "test": None if test is None else _named(test), "small": small, "large": large}
    return run_study(
        "graphs shift", ("2010.08853",), {**config, "depths": list(depths), "features": features, "seed": seed}, work,
        out, on_step,
    )  # fmt: skip


def _shift_results(found: SizeShift, name: str, notes: list[str]) -> dict[str, Any]:
    rows = [[d.depth, d.tv, d.baseline, d.unseen_nodes, d.unseen_graphs, str(d.risk)] for d in found.depths]
    sizes = ["-".join(map(str, (s[0], s[2]))) for s in found.sizes]
    applies = ", ".join(map(str, found.theorem_applies)) or "none"
    return {
        "title": f"sizes of {name}",
        "verdict": found.verdict,
        "facts": [
            ["risk", str(found.risk)],
            ["nodes in training", sizes[0]],
            ["nodes in test", sizes[1]],
            ["a constant answer", found.constant],
            ["depths with a new pattern in every test graph", applies],
        ],
        "tables": [
            {
                "title": "Patterns",
                "note": "Total variation between training and test nodes; the same between two random halves of the "
                "training graphs; share of test nodes, and of test graphs, with a pattern that training never shows.",
                "columns": ["depth", "distance", "of halves", "new nodes", "new graphs", "risk"],
                "rows": rows,
            }
        ],
        "curves": [
            {
                "title": "Distance by depth",
                "x": [float(d.depth) for d in found.depths],
                "series": {"to the test": [d.tv for d in found.depths], "halves": [d.baseline for d in found.depths]},
                "xlabel": "depth",
                "ylabel": "total variation",
                "note": "Where the halves are as far apart, patterns say nothing.",
            }
        ],
        "map": None,
        "warnings": [*notes, *found.warnings],
    }  # fmt: skip
