"""Training data from the weights of a network (arXiv 2206.07758, 2305.03350, 2307.01827).

Training drives a network to a point where theta = sum_i l_i . grad_theta f(theta; x_i). The attack solves that equation
for the x_i. It sees the weights, what its caller knows about the training (loss, weight decay) and the range of valid
inputs; never a training sample. Scores live in `scoring.score`.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vestige.core.descent import Checkpoint
from vestige.core.margins import Loss
from vestige.core.modes import evaluating
from vestige.core.outcome import OnStep
from vestige.core.rng import spawn
from vestige.core.space import InputSpace
from vestige.reconstruct.fingerprint import owned
from vestige.reconstruct.options import Solver, check_counts
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.weights.any_model import search_any
from vestige.reconstruct.weights.assemble import assemble
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.pool import Pool, pool_of_any
from vestige.reconstruct.weights.problem import Problem, Recorder, check_layers, check_model, check_training
from vestige.reconstruct.weights.published.search import published_search
from vestige.reconstruct.weights.published.settings import published_settings
from vestige.reconstruct.weights.search_settings import CANDIDATES, RESTARTS, STEPS
from vestige.reconstruct.weights.solve_chain import solve_chain
from vestige.reconstruct.weights.symmetry import Symmetry

PUBLISHED_STEPS = 50_000
LONGEST = 1e15  # candidate that a diverged search offers


def reconstruct_from_weights(
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    n_candidates: int | None = None,
    loss: Loss | str = Loss.CROSS_ENTROPY,
    weight_decay: float | int | None = None,
    space: InputSpace | None = None,
    reference_params: Mapping[str, Tensor] | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    solver: Solver | str = Solver.DEFAULT,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> Reconstruction:
    """Solve theta = sum_i l_i . grad_theta f(theta; x_i) for the x_i.

    ReLU MLPs trained with weight decay are solved by the zeros of the first layer's columns (`zeros.solver`). Where
    these do not give the samples, those that their range tells are found first (`corners`); then two-layer networks
    are solved sample by sample with a check on each (`two_layer.columns`), deeper MLPs by a joint search in span
    coordinates; other modules by the joint search in input space.

    Args:
        model: a trained network; used in evaluation mode, left untouched.
        input_shape: shape of one input, without the batch.
        n_candidates: how many candidates a restart; None for three times the number of samples that the first
            layer's rank can tell apart, twice where that is more than 50.
        loss: it was trained with: "logistic", "cross_entropy", "mse" or "huber". Only whether multipliers sum to zero
            follows from it (the published solver also takes the sign constraints).
        weight_decay: it was trained with, if known: then no layer remembers its initialization.
        space: range of valid inputs and normalization; candidates are returned in model space. None: no prior.
        reference_params: parameters before training by name; then theta - theta_0 is what the sum must equal
            (arXiv 2302.01428).
        restarts: independent starts; None for 6 (deeper networks: 4), for 1 where two layers hold more than 50
            samples: there the rounds are restarts; for 3 with many samples per neuron.
        steps: Adam steps of one search; None for 1500 (published: 50,000).
        solver: "default", or "published" for the procedure of the papers, whose candidates are twice the number of
            samples, at their best setting for the loss; "published:mnist-rbijxft7" is another one of theirs by name.
        generator: source of the starts; the same seed gives the same result.
        on_step: called with a Step at every step.
        checkpoint: an object with save(tensors) and load(); a killed run goes on from a few seconds before, to the
            same end. A state of another model or other options is not used.

    Returns:
        Samples ranked by confidence, in model space, with all candidates behind them.

    Raises:
        ValueError: weights that are not finite or a layer without any, an input shape that the model refuses, an
            unknown loss or solver, no trainable parameter, sizes below 1, or reference parameters that do not match.
    """
    options: dict[str, Any] = {
        "shape": tuple(int(size) for size in input_shape), "n_candidates": n_candidates, "loss": Loss(loss),
        "weight_decay": weight_decay, "space": space, "reference": reference_params, "restarts": restarts,
        "steps": steps,
    }  # fmt: skip
    outputs, kind, setting = check_model(model, options["shape"]), *_kind(solver)
    check_counts(n_candidates=n_candidates, restarts=restarts, steps=steps)
    check_training(model, weight_decay, reference_params)
    problem = Problem(
        model=model,
        outputs=outputs,
        **options,
        generator=spawn(generator, "published" if kind is Solver.PUBLISHED else "reconstruct"),
        recorder=Recorder(on_step),
        checkpoint=owned(checkpoint, model=model, **options, solver=str(solver), generator=generator),
    )
    return _solve(problem, kind, setting)


def _kind(solver: Solver | str) -> tuple[Solver, str]:
    """The solver, and the name of a published setting, which must exist."""
    kind, _, setting = str(solver).partition(":")
    if Solver(kind) is Solver.PUBLISHED and setting:
        return Solver.PUBLISHED, published_settings(setting).name
    return Solver(str(solver)), ""


def _solve(problem: Problem, solver: Solver, setting: str) -> Reconstruction:
    model = problem.model
    with evaluating(model):
        reference = None if solver is Solver.PUBLISHED else problem.reference
        chain = span_chain(model, reference, next(model.parameters()).dtype)
        if chain is not None:
            check_layers(chain)
        if solver is Solver.PUBLISHED:
            pool = _published(problem, chain, setting)
        elif chain is None:
            pool = search_input_space(problem, problem.generator)
        else:
            pool = solve_chain(problem, chain)
        return assemble(pool, problem.shape, problem.outputs, chain, tuple(problem.recorder.kept))


def search_input_space(
    problem: Problem,
    generator: torch.Generator,
    *,
    restarts: int = RESTARTS,
    init_scale: float = 0.4,
    symmetry: Symmetry | None = None,
) -> Pool:
    """Any module, by automatic differentiation."""
    spread, box = problem.spread_and_box(None)
    end = search_any(
        problem.model,
        problem.shape,
        candidates=problem.n_candidates or CANDIDATES,
        restarts=problem.restarts or restarts,
        steps=problem.steps or STEPS,
        pixel_scale=spread,
        zero_sum=problem.zero_sum,
        reference=problem.reference,
        forgets=bool(problem.weight_decay),
        box=None if box is None else (box[0].reshape(problem.shape), box[1].reshape(problem.shape)),
        generator=generator,
        on_step=problem.recorder,
        checkpoint=problem.checkpoint,
        start=init_scale,
        symmetry=symmetry,
    )
    return pool_of_any(end, problem.n_candidates)


def _representable(rows: Tensor) -> Tensor:
    """Rows of a search that diverged in float64, shortened so that their squares are finite in float32 too."""
    return rows * (LONGEST / rows.norm(dim=1, keepdim=True)).clamp(max=1)


def _published(problem: Problem, chain: Chain | None, name: str) -> Pool:
    """As published: float64, their range of inputs, and every candidate is offered."""
    kind = "general" if not problem.loss.is_margin else "multiclass" if problem.outputs > 1 else "binary"
    settings = published_settings(name or kind)
    end = published_search(
        copy.deepcopy(problem.model).double(),
        problem.shape,
        candidates=problem.n_candidates or (CANDIDATES if chain is None else 2 * chain.rank),
        loss=problem.loss,
        steps=problem.steps or PUBLISHED_STEPS,
        objective=settings.objective,
        **settings.as_options(),
        generator=problem.generator,
        on_step=problem.recorder,
        checkpoint=problem.checkpoint,
    )
    like = next(problem.model.parameters())
    x = _representable(end.candidates.flatten(1)).to(like)
    return Pool(
        x=x,
        multipliers=_representable(end.cotangents).to(like),
        restart=torch.zeros(len(x), dtype=torch.long, device=x.device),
        residual=torch.tensor([min(float(end.residual), torch.finfo(x.dtype).max)], dtype=x.dtype),
        residual_per_layer=end.residual_per_layer,
        evaluations=end.steps,
        outcome=end.outcome,
        requested=problem.n_candidates,
        whole=True,
    )
