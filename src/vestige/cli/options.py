"""Options that several verbs share: one meaning and one sentence of help for each, and how their text is read."""

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli import words
from vestige.data.source import read_source
from vestige.nets.file_formats import folder_kind
from vestige.runs.manifest import NO_RUN

if TYPE_CHECKING:
    from torch import Tensor

    from vestige.audit.target import Stated


def folder_of(out: Path | None, verb: str, model: Path) -> Path:
    """The run folder: the one given, or one named after the verb and the model."""
    return out or Path(f"vestige-{verb}-{Path(model.name.replace(':', '-')).stem}")


def check_file(path: Path | None, *data: str | None) -> None:
    """Refuse a file or data that are not there, before seconds are spent on importing torch; None is not asked for.

    Raises:
        ValueError: there is no such file, or the data are neither a known word nor there.
    """
    if path is not None and not path.is_file():
        raise ValueError(f"{path} is {folder_kind(path) if path.is_dir() else 'not there; give a file'}.")
    check_data(*data)


def check_run(folder: Path) -> None:
    """Refuse a folder that holds no run, likewise.

    Raises:
        ValueError: there is no such folder, or no manifest in it.
    """
    if not (folder / "manifest.json").is_file():
        raise ValueError(f"{folder} {NO_RUN}")


def check_data(*data: str | None) -> None:
    """Refuse data that are neither a known word nor there.

    Raises:
        ValueError: what is allowed.
    """
    for spec in data:
        if spec is not None:
            read_source(spec)


def space_of(
    limits: tuple[float, float] | None, mean: str | None, std: str | None
) -> "Stated | tuple[float, float] | None":
    """What --range, --mean and --std say of the inputs; None where none is given."""
    if mean is None and std is None:
        return limits
    from vestige.audit.target import Stated

    words = [] if limits is None else ["--range", *(f"{side:g}" for side in limits)]
    words += [part for name, text in (("--mean", mean), ("--std", std)) if text is not None for part in (name, text)]
    return Stated(limits=limits, mean=_numbers("--mean", mean), std=_numbers("--std", std), words=tuple(words))


def _numbers(option: str, text: str | None) -> "Tensor | None":
    """A number, numbers with commas, or the array in a .npy file."""
    if text is None:
        return None
    import numpy as np
    import torch

    from vestige.core.npy import read_file

    try:
        file = Path(text)
        found = read_file(file) if file.suffix == ".npy" else np.array([float(part) for part in text.split(",")])
        if found.dtype.kind not in "uifb":
            raise ValueError(f"its type is {found.dtype}")
        return torch.tensor(found if found.size > 1 else found.reshape(()), dtype=torch.get_default_dtype())
    except (ValueError, TypeError, EOFError) as error:
        raise ValueError(
            f"{option} {text} given ({error}); a number, one for each channel with commas, or a .npy file is allowed."
        ) from None


def read_numbers(text: str) -> list[float]:
    """Numbers with commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{text!r} given; numbers with commas are allowed, such as 0.1,0.2 or 5,100.") from None


def read_integers(text: str) -> list[int]:
    """Whole numbers with commas."""
    numbers = read_numbers(text)
    if odd := [number for number in numbers if not math.isfinite(number) or number != int(number)]:
        raise ValueError(f"{odd[0]:g} given; whole numbers with commas are allowed, such as 1,5.")
    return [int(number) for number in numbers]


def read_shape(text: str) -> tuple[int, ...]:
    """Sizes with x between them."""
    sizes = tuple(int(size) if size.isdecimal() else 0 for size in text.lower().split("x"))
    if not 1 <= len(sizes) <= 4 or min(sizes) < 1:
        raise typer.BadParameter(f"{text!r} given; sizes with x between them are allowed, such as 64 or 3x32x32.")
    return sizes


def read_quotient(text: str | float) -> float:
    """A number, or a quotient such as 8/255."""
    try:
        top, _, bottom = str(text).partition("/")
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(f"{text!r} given; a number or a quotient is allowed, such as 8/255.") from None


def read_pair(text: str) -> tuple[int, int]:
    """Two class numbers with a comma."""
    first, _, second = (part.strip() for part in text.partition(","))
    if not (first.isdecimal() and second.isdecimal()):
        raise typer.BadParameter(f"{text!r} given; two class numbers with a comma are allowed, such as 3,8.")
    return int(first), int(second)


def read_weights_file(text: str | Path) -> Path:
    """A name in the format that is written."""
    if Path(text).suffix != ".safetensors":
        raise typer.BadParameter(f"{text} given; the name must end in .safetensors, the format that is written.")
    return Path(text)


fact = partial(typer.Option, rich_help_panel="What a file of weights alone does not say")
kind = partial(typer.Option, rich_help_panel="Other kinds of models")
searched = partial(typer.Option, rich_help_panel="The search")

Model = Annotated[Path, typer.Argument(help="Weights: .safetensors, or .pt with --trust-pickle.")]
Arch = Annotated[
    str | None,
    fact(
        "--arch",
        parser=words.read_arch,
        metavar="TEXT",
        help="mlp:784-1000-10, cnn:3x32x32-c64k5s2-10 or package.module:factory.",
    ),
]
Loss = Annotated[
    str | None,
    fact(parser=words.one_of(words.LOSSES), metavar="WORD", help="logistic, exponential, cross_entropy, mse or huber."),
]
Decay = Annotated[float | None, fact(help="Weight decay of the training: loss + wd/2 |weights|^2.")]
Out = Annotated[
    Path | None, typer.Option(help="Run folder; default vestige-VERB-MODEL. The same command continues in it.")
]
Candidates = Annotated[
    int | None,
    searched(min=1, max=1_000_000, help="Candidates of one restart; default: from the weights."),
]
Restarts = Annotated[int | None, searched(min=1, max=1_000_000, help="Independent starts; default: the method's.")]
Seed = Annotated[int, searched(help="Equal seeds give equal results on the same machine.")]
Threads = Annotated[
    int | None,
    searched(min=1, max=1024, help="Default: one for small models, which is faster."),
]
Solver = Annotated[
    str,
    searched(
        parser=words.read_solver,
        metavar="WORD",
        help="default (ours), published (the papers' procedure), or published:NAME of one of its settings.",
    ),
]
Pickle = Annotated[bool, typer.Option("--trust-pickle", help="Read a .pt file, tensors only, in its own process.")]
Range = Annotated[
    tuple[float, float] | None,
    fact("--range", metavar="LOW HIGH", help="Least and greatest value of an input, such as 0 1."),
]
Mean = Annotated[
    str | None,
    fact(
        parser=words.read_scale,
        metavar="NUMBERS",
        help="Subtracted from the inputs in training: .5, one for each channel, or a .npy.",
    ),
]
Std = Annotated[
    str | None,
    fact(
        parser=words.read_scale, metavar="NUMBERS", help="What inputs were divided by afterwards, written like --mean."
    ),
]
Shape = Annotated[
    tuple | None,
    fact(
        parser=read_shape,
        metavar="SIZES",
        help="Of one input: 64 or 3x32x32; default: from the file.",
    ),
]
Data = Annotated[str | None, typer.Option(help="Training data, for scoring only: digits, npz:PATH, folder:PATH, ...")]
HeldOut = Annotated[str | None, typer.Option(help="Similar data that the model never saw: what chance alone reaches.")]
Group = Annotated[
    str | None,
    kind(help="The network is invariant to it: c4, d4, shifts:STRIDE or set:SIZE."),
]
Backbone = Annotated[
    str | None,
    kind(help="MODEL is a head on minilm, efficientnet-lite0@PIXELS or package.module:factory."),
]
Kernel = Annotated[
    str | None,
    kind(
        help="MODEL is a kernel machine, asked for scores only: rbf:gamma=0.003, or auto for the file's.",
    ),
]
Scores = Annotated[
    str | None,
    kind(parser=words.one_of(words.SCORES), metavar="WORD", help="What a kernel machine answers: raw, log or votes."),
]
Queries = Annotated[int | None, kind(min=1, help="Queries to a kernel machine, at most.")]
NamedData = Annotated[str, typer.Option(help="digits, mnist, fashion, cifar10, npz:PATH or folder:PATH.")]
Drawn = Annotated[int | None, typer.Option(min=1, help="Samples drawn; default: all.")]
Network = Annotated[Path, typer.Option(help="File for the network and its certificate; `vestige verify` reads it.")]
Report = Annotated[Path | None, typer.Option("--report", help="Folder for a report: certificate, sizes and a picture.")]
