"""`vestige construct recall`: a transformer that recalls a table of facts, without training."""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli import options, words
from vestige.cli.construct.counter import Dtype, lines_of, read_dtype
from vestige.cli.construct.written import write


def recall(
    out: options.Network,
    entities: Annotated[int, typer.Option(help="Subjects, which are the attributes too.")] = 256,
    relations: Annotated[int, typer.Option(help="Each a random bijection.")] = 3,
    facts: Annotated[
        Path | None, typer.Option(help="Instead of random ones: lines of integers, a subject each, with commas.")
    ] = None,
    hops: Annotated[int, typer.Option(help="Relations of a question.")] = 1,
    method: Annotated[str, words.word(words.HOPS, "With several hops: composed, deep or chain.")] = "composed",
    dim: Annotated[int | None, typer.Option(help="Of random vectors; default: binary digits, which are exact.")] = None,
    disjoint: Annotated[bool, typer.Option("--disjoint", help="Attributes of its own for each relation.")] = False,
    dtype: Dtype = "float32",
    seed: options.Seed = 0,
    report: options.Report = None,
) -> None:
    """Write down a transformer that recalls facts: embeddings hold them, and an MLP without any selects one."""
    options.check_file(facts)
    import numpy as np
    import torch

    from vestige.construct.transformer.recall.builder import build_factual_recall
    from vestige.construct.transformer.recall.facts import random_facts
    from vestige.core.rng import child

    draw = child(seed, "construct recall")
    if facts is None:
        table = random_facts(entities, relations, generator=draw)
    else:
        table = torch.from_numpy(np.loadtxt(facts, delimiter=",", dtype=np.int64, ndmin=2))
    made = build_factual_recall(
        table, hops=hops, method=method, dim=dim, disjoint=disjoint, dtype=read_dtype(dtype), generator=draw
    )
    write(made, out, *lines_of(made), report=report)
