"""`vestige audit` and `vestige reconstruct`: what do these weights give away?"""

from vestige.cli import options


def audit(
    model: options.Model,
    arch: options.Arch = None,
    loss: options.Loss = None,
    weight_decay: options.Decay = None,
    data: options.Data = None,
    held_out: options.HeldOut = None,
    out: options.Out = None,
    n_candidates: options.Candidates = None,
    restarts: options.Restarts = None,
    seed: options.Seed = 0,
    solver: options.Solver = "default",
    trust_pickle: options.Pickle = False,
    input_shape: options.Shape = None,
    input_range: options.Range = None,
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
    if held_out is not None and data is None:
        raise ValueError("--held-out without --data given; there is no score to compare with. Give --data too.")
    kinds = {"--backbone": backbone, "--group": group, "--kernel": kernel}
    given = [name for name, value in kinds.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} given; a model is of one of these kinds. Give one of them.")
    if kernel is not None:
        from vestige.audit.queries import attack_scores, read_scorer

        scorer = read_scorer(str(model), kernel, scores, input_shape, input_range)
        attack_scores(scorer, out, data=data, held_out=held_out, seed=seed, max_queries=max_queries)
        return
    from vestige.audit.target import read_target
    from vestige.audit.weights import Effort, attack

    target = read_target(
        model, arch, input_shape, input_range, loss=loss, weight_decay=weight_decay, trust_pickle=trust_pickle
    )
    effort = Effort(n_candidates, restarts, seed, solver, threads, backbone, group)
    attack("audit", target, effort, out, data=data, held_out=held_out)


def reconstruct(
    model: options.Model,
    arch: options.Arch = None,
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
    threads: options.Threads = None,
) -> None:
    """Recover samples only: samples.safetensors and results.json, no report and no score."""
    from vestige.audit.target import read_target
    from vestige.audit.weights import Effort, attack

    target = read_target(
        model, arch, input_shape, input_range, loss=loss, weight_decay=weight_decay, trust_pickle=trust_pickle
    )
    attack("reconstruct", target, Effort(n_candidates, restarts, seed, solver, threads), out)
