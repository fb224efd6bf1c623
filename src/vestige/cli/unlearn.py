"""`vestige unlearn`: take samples out of a model, and attack it again to see whether they are gone."""

from typing import Annotated

import typer

from vestige.cli import options


def unlearn(
    model: options.Model,
    data: Annotated[str, typer.Option(help="The training data: digits, npz:PATH, folder:PATH, ...")],
    forget: Annotated[str, typer.Option(help="leaked, leaked:K (the K that leak most), or positions: 3,17.")],
    held_out: options.HeldOut = None,
    step: Annotated[str, typer.Option(help="clarke (exact at ReLU kinks) or kkt (as published).")] = "clarke",
    repair: Annotated[
        int | None,
        typer.Option(min=0, help="Training steps on the rest afterwards; default 1000 with weight decay, else 0."),
    ] = None,
    out: options.Out = None,
    arch: options.Arch = None,
    loss: options.Loss = None,
    weight_decay: options.Decay = None,
    n_candidates: options.Candidates = None,
    restarts: options.Restarts = None,
    seed: options.Seed = 0,
    solver: options.Solver = "default",
    trust_pickle: options.Pickle = False,
    input_shape: options.Shape = None,
    input_range: options.Range = None,
    threads: options.Threads = None,
) -> None:
    """Reconstruct, forget, reconstruct again: the new weights, and before and after beside a retrained network."""
    from vestige.audit.target import read_target
    from vestige.audit.unlearning import Request, erase
    from vestige.audit.weights import Effort

    target = read_target(
        model, arch, input_shape, input_range, loss=loss, weight_decay=weight_decay, trust_pickle=trust_pickle
    )
    effort = Effort(n_candidates, restarts, seed, solver, threads)
    erase(target, Request(data, forget, held_out, step, repair), effort, out)
