"""Graph sets of the TU collection in the text format of DGCNN, and their split by size."""

import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from vestige.graphs.graph import Graph

MOST_BYTES = 2**30
LOOPS = "have edges from a node to itself; they were left out."
ONE_WAY = "have edges one way only; they were read both ways, and what their directions say is lost."
MORE = "have numbers behind their neighbors; they were not read. Continuous features belong to no pattern."


@dataclass(frozen=True, eq=False)
class GraphSet:
    """What a file of graphs holds.

    Attributes:
        graphs: undirected, with the tag of each node as its one feature.
        y: their classes, 0, 1, ...
        warnings: what stands in the file and not in the graphs.
    """

    graphs: list[Graph]
    y: Int[Tensor, " graphs"]
    warnings: tuple[str, ...]


def read_tu(path: Path | str) -> GraphSet:
    """Graphs with a tag for each node, and their classes 0, 1, ...

    The file, which may be gzipped, says the number of graphs, then for each graph "nodes label" and one line for each
    node: "tag m neighbors...". Edges are read both ways; edges from a node to itself and numbers behind the neighbors
    are left out, with a warning.

    Raises:
        ValueError: no such file, more than 1 GiB of text, or a line that is something else, such as a tag that is no
            integer: patterns of continuous features are all different.
    """
    place = Path(path)
    if not place.is_file():
        raise ValueError(f"{place} is not there; a file of the TU collection in text format is needed.")
    lines, changed = _lines(place), Counter()
    try:
        graphs, labels = [], []
        for _ in range(int(next(lines))):
            n, label = map(int, next(lines).split()[:2])
            graphs.append(_read_graph([next(lines).split() for _ in range(n)], changed))
            labels.append(label)
    except (ValueError, StopIteration) as error:
        raise ValueError(f"{place} is no graph set in text format ({str(error) or 'it ends too early'}).") from None
    notes = tuple(f"{count} of {len(graphs)} graphs {what}" for what, count in changed.items())
    return GraphSet(graphs, torch.tensor(labels).unique(return_inverse=True)[1], notes)


def _read_graph(rows: list[list[str]], changed: Counter[str]) -> Graph:
    """A graph from the words of its lines; what of it was changed is counted."""
    tags, pairs, kinds = [], [], set()
    for node, (tag, m, *rest) in enumerate(rows):
        if not tag.removeprefix("-").isdecimal():
            raise ValueError(f"a tag {tag!r}; tags are integers: round continuous features into classes")
        if len(rest) < int(m):
            raise ValueError(f"{m} neighbors are said and {len(rest)} given")
        near = [int(other) for other in rest[: int(m)]]
        tags.append(int(tag))
        pairs += [(node, other) for other in near if other != node]
        if node in near:
            kinds.add(LOOPS)
        if len(rest) > len(near):
            kinds.add(MORE)
    graph = Graph(len(rows), torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T, torch.tensor(tags)[:, None])
    if graph.directed:
        graph = Graph(graph.n, torch.cat([graph.edges, graph.edges.flip(0)], 1), graph.x)
        kinds.add(ONE_WAY)
    changed.update(kinds)
    return graph


def _lines(path: Path) -> Iterator[str]:
    opened = gzip.open(path, "rt", encoding="ascii") if path.suffix == ".gz" else path.open(encoding="ascii")
    read = 0
    with opened as file:
        for line in file:
            read += len(line)
            if read > MOST_BYTES:
                raise ValueError("more than 1 GiB of text")
            yield line


@dataclass(frozen=True, eq=False)
class SizeSplit:
    """Small graphs to train on, and large ones to be judged on.

    Attributes:
        small: places of the smallest graphs.
        large: places of the largest.
        warnings: graphs of equal size on both sides of a threshold.
    """

    small: Int[Tensor, " a"]
    large: Int[Tensor, " b"]
    warnings: tuple[str, ...]


def size_split(graphs: Sequence[Graph], *, small: float = 0.5, large: float = 0.1) -> SizeSplit:
    """The smallest half and the largest tenth, by the number of nodes; the order of equal sizes is that of the list.

    Args:
        graphs: at least a few.
        small: share of the smallest, rounded down.
        large: of the largest.

    Raises:
        ValueError: shares outside (0, 1), above 1 in sum, or so small that a part is empty.

    >>> empty = [Graph(n, torch.zeros(2, 0, dtype=torch.long)) for n in (3, 1, 2, 4)]
    >>> split = size_split(empty, large=0.25)
    >>> split.small.tolist(), split.large.tolist()
    ([1, 2], [3])
    """
    if not (small > 0 and large > 0 and small + large <= 1):
        raise ValueError(f"small={small}, large={large} given; both must be above 0, and their sum at most 1.")
    sizes = torch.tensor([g.n for g in graphs])
    order = sizes.argsort(stable=True)
    first, last = int(small * len(graphs)), int(large * len(graphs))
    if not (first and last):
        raise ValueError(f"{len(graphs)} graphs give {first} small and {last} large ones; more are needed.")
    notes = []
    for name, cut in (("smallest", first), ("largest", len(graphs) - last)):
        if cut < len(graphs) and sizes[order[cut - 1]] == sizes[order[cut]]:
            equal = int((sizes == sizes[order[cut]]).sum())
            notes.append(f"{equal} graphs have {int(sizes[order[cut]])} nodes, where the {name} begin or end: the "
                         "order of the list decides between them.")  # fmt: skip
    return SizeSplit(order[:first], order[len(graphs) - last :], tuple(notes))
