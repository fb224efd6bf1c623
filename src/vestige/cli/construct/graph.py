"""`vestige construct graph`: transformers that compute on graphs, without training."""

from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli import options
from vestige.cli.construct.counter import Dtype, lines_of, read_dtype
from vestige.cli.construct.written import write
from vestige.core.choices import ChoiceEnum

if TYPE_CHECKING:
    from torch import Tensor


class GraphTask(ChoiceEnum):
    """What is computed."""

    TRIANGLES = "triangles"
    SQUARES = "squares"
    CONNECTIVITY = "connectivity"
    CYCLES = "cycles"
    POWER = "power"
    TWO_CYCLES = "two-cycles"
    COPIES = "copies"


def graph(
    nodes: Annotated[int, typer.Option(help="Of a graph, exactly.")],
    out: options.Network,
    task: Annotated[
        str,
        typer.Option(help="triangles, squares, connectivity, cycles (one or two), power, two-cycles or copies."),
    ] = "triangles",
    power: Annotated[int, typer.Option(help="With power: of the adjacency matrix.")] = 3,
    degree: Annotated[
        int | None, typer.Option(help="With two-cycles: edges from a node, at most; default: whole rows are read.")
    ] = None,
    pattern: Annotated[
        str, typer.Option(help="With copies: edges such as 0-1,1-2,2-0; the nodes must be a power of its size.")
    ] = "0-1,1-2,2-0",
    dtype: Dtype = "float32",
    seed: options.Seed = 0,
    report: options.Report = None,
) -> None:
    """Write down a transformer that reads a graph row by row, and computes exactly."""
    from vestige.construct.transformer.graphs import connectivity, powers, subgraphs, two_cycles
    from vestige.core.rng import child

    chosen, shared = GraphTask(task), {"dtype": read_dtype(dtype), "generator": child(seed, "construct graph")}
    if chosen is GraphTask.POWER:
        made = powers.build_matrix_power(nodes, power, **shared)
    elif chosen is GraphTask.TWO_CYCLES:
        made = two_cycles.build_two_cycle_detector(nodes, degree=degree, **shared)
    elif chosen is GraphTask.COPIES:
        made = subgraphs.build_subgraph_counter(_adjacency(pattern), nodes, **shared)
    else:
        build = {
            GraphTask.TRIANGLES: powers.build_triangle_counter,
            GraphTask.SQUARES: powers.build_four_cycle_counter,
            GraphTask.CONNECTIVITY: connectivity.build_connectivity,
            GraphTask.CYCLES: connectivity.build_cycle_walk,
        }
        made = build[chosen](nodes, **shared)
    write(made, out, *lines_of(made), report=report)


def _adjacency(text: str) -> "Tensor":
    """A pattern's matrix from its edges.

    Raises:
        ValueError: another text.
    """
    import torch

    try:
        pairs = [(int(a), int(b)) for a, b in (edge.split("-") for edge in text.split(","))]
    except ValueError as error:
        raise ValueError(f"--pattern {text!r} given; edges between nodes from 0 on, such as 0-1,1-2,2-0.") from error
    n = 1 + max(map(max, pairs))
    matrix = torch.zeros(n, n, dtype=torch.long)
    for a, b in pairs:
        matrix[a, b] = matrix[b, a] = 1
    return matrix
