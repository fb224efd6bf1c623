"""Options that several verbs share: one meaning and one sentence of help for each."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[Path, typer.Argument(help="Weights: .safetensors, or .pt with --trust-pickle.")]
Arch = Annotated[str | None, typer.Option(help="mlp:784-1000-10, cnn:3x32x32-c64k5s2-10 or package.module:factory.")]
Loss = Annotated[str | None, typer.Option(help="logistic, exponential, cross_entropy, mse or huber.")]
Decay = Annotated[float | None, typer.Option(help="Weight decay of the training: loss + wd/2 |weights|^2.")]
Out = Annotated[
    Path | None, typer.Option(help="Run folder; default vestige-VERB-MODEL. The same command goes on in it.")
]
Candidates = Annotated[int | None, typer.Option(min=1, help="Candidates a restart; default: from the weights.")]
Restarts = Annotated[int | None, typer.Option(min=1, help="Independent starts; default: the method's.")]
Seed = Annotated[int, typer.Option(help="Equal seeds give equal results on the same machine.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Default: one for small models, which is faster.")]
Solver = Annotated[str, typer.Option(help="default (ours) or published (the papers' procedure).")]
Pickle = Annotated[bool, typer.Option("--trust-pickle", help="Read a .pt file, tensors only, in its own process.")]
Range = Annotated[
    tuple[float, float] | None,
    typer.Option("--range", metavar="LOW HIGH", help="Least and greatest value of an input, such as 0 1."),
]
Shape = Annotated[str | None, typer.Option(help="Shape of one input, such as 64 or 3x32x32; default: from the file.")]
Data = Annotated[str | None, typer.Option(help="Training data, for scoring only: digits, npz:PATH, folder:PATH, ...")]
HeldOut = Annotated[str | None, typer.Option(help="Data like it that the model never saw: what chance alone reaches.")]
Group = Annotated[str | None, typer.Option(help="The network is invariant to it: c4, d4, shifts:STRIDE or set:SIZE.")]
Backbone = Annotated[
    str | None,
    typer.Option(help="MODEL is a head on minilm, efficientnet-lite0[@PIXELS] or package.module:factory."),
]
Kernel = Annotated[
    str | None,
    typer.Option(help="MODEL is a kernel machine, asked for scores only: rbf:gamma=0.003, or auto for the file's."),
]
Scores = Annotated[str | None, typer.Option(help="What a kernel machine answers: raw, log or votes.")]
Queries = Annotated[int | None, typer.Option(min=1, help="Queries to a kernel machine, at most.")]
