"""Will a graph network that was trained on these graphs survive those? Said before training (arXiv 2010.08853).

Theorem 5.1: if every test graph has a node whose d-pattern never occurs in training, some network of d + 3 layers is
perfect in training and wrong without bound on every test graph. Theorem 5.2: the same node by node, with the mass of
the patterns that training rarely shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from vestige.core.choices import ChoiceEnum
from vestige.core.cite import Paper
from vestige.core.rng import spawn
from vestige.graphs.graph import as_graphs
from vestige.graphs.patterns.hashing import SOURCE, PatternDistribution, Patterns, d_patterns, pattern_distribution

USELESS = 0.5  # a total variation between halves of the training set above which a depth says nothing
LOW, HIGH = 0.1, 0.3  # of the total variation above the one between halves
MOST_GRAPHS = 0.5  # share of test graphs with an unseen pattern above which the shift is high


class Risk(ChoiceEnum):
    """What the shift says before training."""

    LOW = "low"
    SOME = "some"
    HIGH = "high"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class DepthShift:
    """The shift that a network of d layers can meet.

    Attributes:
        depth: d.
        tv: total variation between the patterns of training and test nodes.
        baseline: the same between two random halves of the training set; what sampling alone does.
        unseen_nodes: share of test nodes whose pattern never occurs in training.
        unseen_graphs: share of test graphs with such a node.
    """

    depth: int
    tv: float
    baseline: float
    unseen_nodes: float
    unseen_graphs: float

    @property
    def risk(self) -> Risk:
        """Of this depth alone: undecided where two halves of the training set differ as well."""
        if not self.baseline <= USELESS:
            return Risk.UNDECIDED
        above = self.tv - self.baseline
        if above >= HIGH or (self.unseen_graphs >= MOST_GRAPHS and above >= LOW):
            return Risk.HIGH
        return Risk.LOW if above <= LOW else Risk.SOME


@dataclass(frozen=True, kw_only=True)
class SizeShift:
    """What two sets of graphs say about a network that is trained on one and used on the other.

    Attributes:
        depths: one row for each d.
        risk: of the deepest depth that says something.
        theorem_applies: the depths at which every test graph has an unseen pattern (theorem 5.1).
        sizes: smallest, median and largest number of nodes, in training and in test.
        degrees: largest degree, in training and in test.
        class_rates: share of each class, in training and in test; None without labels.
        constant: accuracy on the test graphs of always answering their most frequent class; None without labels.
        warnings: what a reader must know.
        source: the paper.
    """

    depths: tuple[DepthShift, ...]
    risk: Risk
    theorem_applies: tuple[int, ...]
    sizes: tuple[tuple[int, int, int], tuple[int, int, int]]
    degrees: tuple[int, int]
    class_rates: tuple[tuple[float, ...], tuple[float, ...]] | None
    constant: float | None
    warnings: tuple[str, ...]
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)

    @property
    def verdict(self) -> str:
        """One sentence."""
        said = {
            Risk.LOW: "Local structure barely changes: nothing here speaks against the larger graphs.",
            Risk.SOME: "Local structure changes somewhat: a network may lose accuracy on the larger graphs.",
            Risk.HIGH: "Local structure changes: training does not determine what a network does on the larger graphs.",
            Risk.UNDECIDED: "Nearly every pattern occurs once: they cannot say whether local structure changes.",
        }
        return said[self.risk]


def size_shift_report(
    train: Any,
    test: Any,
    *,
    train_y: Int[Tensor, " train"] | None = None,
    test_y: Int[Tensor, " test"] | None = None,
    depths: Sequence[int] = (1, 2, 3),
    features: bool = True,
    generator: torch.Generator | None = None,
) -> SizeShift:
    """Compare the local structure of training and test graphs, with what sampling alone would do beside it.

    Args:
        train: graphs, as `as_graph` takes them; at least two.
        test: others.
        train_y: classes of the training graphs.
        test_y: of the test graphs.
        depths: layers of the networks that are meant.
        features: whether features of nodes are part of a pattern.
        generator: of the random halves; None for seed 0.

    Raises:
        ValueError: as `d_patterns`; no depth; labels of one set only, or not one for each graph.

    >>> cycles = [torch.roll(torch.eye(n), 1, 0) + torch.roll(torch.eye(n), -1, 0) for n in (5, 6, 40)]
    >>> found = size_shift_report(cycles[:2], cycles[2:])
    >>> found.depths[2].tv, found.risk.value
    (0.0, 'low')
    """
    small, large = as_graphs(train), as_graphs(test)
    if len(small) < 2 or not depths:
        raise ValueError(f"{len(small)} training graphs, depths {list(depths)} given; 2 graphs and a depth are needed.")
    rates, constant, notes = _labels(train_y, test_y, len(small), len(large))
    halves = torch.randperm(len(small), generator=spawn(generator, "halves")) < len(small) // 2
    rows = [
        _shift(d_patterns(small, d, features=features), d_patterns(large, d, features=features), halves) for d in depths
    ]
    useful = [row for row in rows if row.risk is not Risk.UNDECIDED]
    silent = [str(row.depth) for row in rows if row.risk is Risk.UNDECIDED]
    if silent:
        notes.append(
            f"At depth {', '.join(silent)} two random halves of the training graphs differ by more than {USELESS:.0%}: "
            "the total variation there is that of a small sample."
        )
    return SizeShift(
        depths=tuple(rows),
        risk=useful[-1].risk if useful else Risk.UNDECIDED,
        theorem_applies=tuple(row.depth for row in rows if row.unseen_graphs == 1),
        sizes=(_sizes([g.n for g in small]), _sizes([g.n for g in large])),
        degrees=(max(int(g.degrees.max()) for g in small), max(int(g.degrees.max()) for g in large)),
        class_rates=rates,
        constant=constant,
        warnings=tuple(notes),
    )


def _shift(train: Patterns, test: Patterns, halves: Tensor) -> DepthShift:
    seen, other = pattern_distribution(train), pattern_distribution(test)
    parts = [_part(train, halves == side) for side in (True, False)]
    unseen = ~torch.isin(test.ids, seen.ids)
    struck = torch.zeros(test.count, dtype=torch.bool)
    struck[test.owner[unseen]] = True
    return DepthShift(
        depth=train.depth,
        tv=seen.total_variation(other),
        baseline=parts[0].total_variation(parts[1]),
        unseen_nodes=seen.unseen(other),
        unseen_graphs=float(struck.double().mean()),
    )


def _part(patterns: Patterns, graphs: Tensor) -> PatternDistribution:
    kept = graphs[patterns.owner]
    return pattern_distribution(Patterns(patterns.ids[kept], patterns.owner[kept], patterns.depth, patterns.count))


def _sizes(sizes: list[int]) -> tuple[int, int, int]:
    ordered = sorted(sizes)
    return ordered[0], ordered[len(ordered) // 2], ordered[-1]


def _labels(
    y: Tensor | None, test_y: Tensor | None, n: int, m: int
) -> tuple[tuple[tuple[float, ...], tuple[float, ...]] | None, float | None, list[str]]:
    if y is None and test_y is None:
        return None, None, []
    if y is None or test_y is None or len(y) != n or len(test_y) != m:
        raise ValueError("labels must be given for all graphs of both sets, or for none.")
    classes = int(torch.cat([y, test_y]).max()) + 1
    rates = [torch.bincount(labels, minlength=classes).double() / len(labels) for labels in (y, test_y)]
    constant, notes = float(rates[1].max()), []
    moved = float((rates[0] - rates[1]).abs().sum() / 2)
    if constant == 1:
        notes.append("All test graphs are of one class: no score on them says that a network tells classes apart.")
    elif moved > LOW:
        notes.append(
            f"Classes shift with size as well: {moved:.0%} of the labels. A constant answer is right on {constant:.1%} "
            "of the test graphs; give balanced accuracy or Matthews correlation beside accuracy."
        )
    return (tuple(rates[0].tolist()), tuple(rates[1].tolist())), constant, notes
