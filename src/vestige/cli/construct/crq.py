"""`vestige construct crq`: three architectures that answer questions shaped like trees, without training."""

from typing import Annotated

import typer

from vestige.cli import options
from vestige.cli.construct.counter import Dtype, lines_of, read_dtype
from vestige.cli.construct.written import write


def crq(
    nodes: Annotated[int, typer.Option(help="Of a tree, at most.")],
    out: options.Network,
    solver: Annotated[
        str, typer.Option(help="deep (a layer for each level), rnn (a stack) or chain (of thought).")
    ] = "deep",
    dim: Annotated[int, typer.Option(help="Of the labels, which are integers.")] = 1,
    height: Annotated[int | None, typer.Option(help="With deep: levels below the root; default: 2 log2 nodes.")] = None,
    slots: Annotated[int | None, typer.Option(help="With rnn: of the stack; default: log2 (nodes + 1).")] = None,
    largest: Annotated[int, typer.Option(help="Absolute value of a label's entries, at most.")] = 2,
    dtype: Dtype = "float32",
    seed: options.Seed = 0,
    report: options.Report = None,
) -> None:
    """Write down a solver of compositional questions: each node takes over its best child's answer."""
    from vestige.construct.transformer.composition.chain import build_crq_chain_of_thought
    from vestige.construct.transformer.composition.deep import build_crq_transformer
    from vestige.construct.transformer.composition.recurrent import build_crq_rnn
    from vestige.core.choices import ChoiceEnum
    from vestige.core.rng import child

    class Solver(ChoiceEnum):
        DEEP = "deep"
        RNN = "rnn"
        CHAIN = "chain"

    chosen, draw, kind = Solver(solver), child(seed, "construct crq"), read_dtype(dtype)
    lines: list[str] = []
    if chosen is Solver.DEEP:
        levels = max(1, 2 * nodes.bit_length()) if height is None else height
        made = build_crq_transformer(nodes, dim, levels, largest=largest, dtype=kind, generator=draw)
        lines = lines_of(made)
    elif chosen is Solver.CHAIN:
        made = build_crq_chain_of_thought(nodes, dim, largest=largest, dtype=kind, generator=draw)
        lines = lines_of(made)
    else:
        made = build_crq_rnn(nodes, dim, slots=slots, largest=largest, dtype=kind, generator=draw)
        lines.append(f"a stack of {made.numbers['slots']} slots")
    write(made, out, *lines, report=report)
