"""`vestige audit` and `vestige reconstruct`: what do these weights give away?"""

import vestige as vg
from vestige.cli import options

# Of an audit's time, what the first search takes: 15 of 39 CPU s on the demo. Others lie within a factor of two.
FIRST_SEARCH = 0.4


def audit(
    model: options.Model,
    data: options.Data = None,
    held_out: options.HeldOut = None,
    out: options.Out = None,
    architecture: options.Arch = None,
    loss: options.Loss = None,
    weight_decay: options.Decay = None,
    n_candidates: options.Candidates = None,
    restarts: options.Restarts = None,
    seed: options.Seed = 0,
    solver: options.Solver = "default",
    trust_pickle: options.Pickle = False,
    input_shape: options.Shape = None,
    input_range: options.Range = None,
    mean: options.Mean = None,
    std: options.Std = None,
    threads: options.Threads = None,
    backbone: options.Backbone = None,
    group: options.Group = None,
    kernel: options.Kernel = None,
    scores: options.Scores = None,
    max_queries: options.Queries = None,
) -> None:
    """Recover what can be recovered of the training data from the weights, and report it.

    Without --data the report shows the likeliest samples with a confidence; with it, what leaked against chance.
    """
    _check_one({"--backbone": backbone, "--group": group, "--kernel": kernel})
    if held_out is not None and data is None:
        raise ValueError("--held-out without --data given; there is no score to compare with. Give data too.")
    is_callable = kernel is not None and ":" in str(model)
    options.check_file(None if is_callable else model, data, held_out)
    from vestige.cli.progress import progress_bar
    from vestige.cli.show import show
    from vestige.cli.threads import parameters_in, settle_threads

    space = options.space_of(input_range, mean, std)
    common = {"space": space, "data": data, "held_out": held_out, "input_shape": input_shape, "seed": seed}
    with progress_bar("auditing", share=None if kernel or backbone else FIRST_SEARCH) as bar:
        common |= {"out": options.folder_of(out, "audit", model), "on_step": bar}
        if kernel is not None:
            found = vg.audit_queries(str(model), kernel=kernel, scores=scores, max_queries=max_queries, **common)
        else:
            settle_threads(threads, parameters_in(model))
            found = vg.audit(
                model, architecture=architecture, loss=loss, weight_decay=weight_decay, n_candidates=n_candidates,
                restarts=restarts, solver=solver, trust_pickle=trust_pickle, backbone=backbone, group=group, **common,
            )  # fmt: skip
    show(found)


def _check_one(kinds: dict[str, str | None]) -> None:
    given = [name for name, value in kinds.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} given; a model is of one of these kinds. Give one of them.")


def reconstruct(
    model: options.Model,
    architecture: options.Arch = None,
    loss: options.Loss = None,
    weight_decay: options.Decay = None,
    out: options.Out = None,
    n_candidates: options.Candidates = None,
    restarts: options.Restarts = None,
    seed: options.Seed = 0,
    solver: options.Solver = "default",
    trust_pickle: options.Pickle = False,
    input_shape: options.Shape = None,
    input_range: options.Range = None,
    mean: options.Mean = None,
    std: options.Std = None,
    threads: options.Threads = None,
) -> None:
    """Recover samples only: samples.safetensors and results.json, no report and no score."""
    options.check_file(model)
    from vestige.cli.progress import progress_bar
    from vestige.cli.show import show
    from vestige.cli.threads import parameters_in, settle_threads

    settle_threads(threads, parameters_in(model))
    space = options.space_of(input_range, mean, std)
    with progress_bar("reconstructing") as bar:
        found = vg.audit(
            model, architecture=architecture, loss=loss, weight_decay=weight_decay, n_candidates=n_candidates,
            restarts=restarts, seed=seed, solver=solver, trust_pickle=trust_pickle, input_shape=input_shape,
            space=space, out=options.folder_of(out, "reconstruct", model), report=False, on_step=bar,
        )  # fmt: skip
    show(found)
