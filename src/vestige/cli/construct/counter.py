"""`vestige construct counter`: a transformer that counts a token, without training."""

from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli import options, words
from vestige.cli.construct.written import write

if TYPE_CHECKING:
    import torch

    from vestige.construct.construction import Construction

Dtype = Annotated[str, typer.Option(help="In which every output must be right: float64, float32, bfloat16, float16.")]


def counter(
    vocab: Annotated[int, typer.Option(help="Different tokens.")],
    length: Annotated[int, typer.Option(help="Tokens at most.")],
    out: options.Network,
    dim: Annotated[int | None, typer.Option(help="Of the embeddings; default: of 8 ln vocab, at most vocab.")] = None,
    method: Annotated[
        str | None, words.word(words.COUNTS, "histogram (dim >= vocab) or attend; default: by dim.")
    ] = None,
    most_frequent: Annotated[
        bool, typer.Option("--most-frequent", help="Count the most frequent token instead of the last one.")
    ] = False,
    layers: Annotated[int, typer.Option(help="With --most-frequent: 1 or 2.")] = 2,
    dtype: Dtype = "float32",
    seed: options.Seed = 0,
    report: options.Report = None,
) -> None:
    """Write down a transformer that counts how often the last token occurs, and say where precision ends it."""
    from vestige.construct.transformer.counting.counter import build_counter
    from vestige.construct.transformer.counting.most_frequent import build_most_frequent
    from vestige.core.rng import child

    draw = child(seed, "construct counter")
    kind = read_dtype(dtype)
    if most_frequent:
        made = build_most_frequent(vocab, length, layers=layers, dim=dim, dtype=kind, generator=draw)
    else:
        made = build_counter(vocab, length, dim=dim, method=method, dtype=kind, generator=draw)
    write(made, out, *lines_of(made), report=report)


def read_dtype(text: str) -> "torch.dtype":
    """A floating-point type of torch by its name.

    Raises:
        ValueError: another name.
    """
    import torch

    known = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if text not in known:
        raise ValueError(f"--dtype {text!r} given; allowed are {', '.join(known)}.")
    return known[text]


def lines_of(made: "Construction") -> list[str]:
    """Who reads and writes which block, and how the longest stored inputs do in each dtype."""
    import torch

    from vestige.construct.transformer.precision import precision_sweep
    from vestige.construct.transformer.resources import describe_stream

    points: tuple = getattr(made.specification, "points", ())
    longest = torch.from_numpy(points[-1])
    sweep = precision_sweep(made, longest)
    rates = zip(sweep.dtypes, sweep.exact_rates, strict=True)
    said = ", ".join(f"{str(dtype).removeprefix('torch.')} {rate:.1%}" for dtype, rate in rates)
    return [*map(str, describe_stream(made.network, longest[:4])), f"right at the longest inputs stored in {said}"]
