"""Training data from the weights of a network (arXiv 2206.07758, 2305.03350, 2307.01827).

Training drives a network to a point where theta = sum_i l_i . grad_theta f(theta; x_i). The attack solves that equation
for the x_i. It sees the weights, what its caller knows about the training (loss, weight decay) and the range of valid
inputs; never a training sample. Scores live in `scoring.score`.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vestige.core.descent import Checkpoint, Within
from vestige.core.margins import Loss
from vestige.core.modes import evaluating
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn
from vestige.core.space import InputSpace
from vestige.reconstruct.fingerprint import owned
from vestige.reconstruct.image_prior import has_spectrum, image_metric, is_photograph
from vestige.reconstruct.options import Solver, check_counts
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.weights.any_model import search_any
from vestige.reconstruct.weights.assemble import assemble
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.directions import directions_of
from vestige.reconstruct.weights.joint import Joint, layer_weights
from vestige.reconstruct.weights.paired.solver import solve_paired
from vestige.reconstruct.weights.paired.together import solve_together
from vestige.reconstruct.weights.pool import Pool, pool_of_any, pool_of_joints, pool_of_samples
from vestige.reconstruct.weights.problem import Problem, Recorder, check_layers, check_model, check_training
from vestige.reconstruct.weights.published.search import published_search
from vestige.reconstruct.weights.published.settings import published_settings
from vestige.reconstruct.weights.remaining import search_for_others
from vestige.reconstruct.weights.search_settings import SearchSettings
from vestige.reconstruct.weights.symmetry import Symmetry
from vestige.reconstruct.weights.two_layer.many_samples import has_many_samples
from vestige.reconstruct.weights.two_layer.solver import solve_two_layer
from vestige.reconstruct.weights.zeros.solver import ENOUGH, ByZeros, is_sparse, solve_by_zeros

STEPS, PUBLISHED_STEPS = 1500, 50_000  # of one search
CANDIDATES = 40  # of a restart where the first layer does not count the samples
RESTARTS = 4  # of deeper networks and of other modules
VERIFIED = 0.25  # share of the samples of a two-layer network that the zeros must verify
BACKED = 0.5  # share of the columns of more than FEW samples that a second layer must confirm
LONGEST = 1e15  # candidate that a diverged search offers
AVERAGED = 3  # searches with many samples per neuron: five bring 189 of 500 above a cosine of .8, three 177, one 120
FEW = 50  # samples up to which a search is so cheap that six restarts and more candidates are taken


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
    these do not give the samples, two-layer networks are solved sample by sample with a check on each
    (`two_layer.columns`), deeper MLPs by a joint search in span coordinates; other modules by the joint search in
    input space.

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
            pool = _by_chain(problem, chain)
        return assemble(pool, problem.shape, problem.outputs, chain, tuple(problem.recorder.kept))


def _by_chain(problem: Problem, chain: Chain) -> Pool:
    """By the zeros of the columns; else two layers sample by sample, and more by a joint search."""
    spread, box = problem.spread_and_box(chain)
    settings = SearchSettings(
        sample_norm=spread * math.prod(problem.shape) ** 0.5,
        layer_weights=layer_weights(chain, problem.weight_decay),
        zero_sum=problem.zero_sum,
        labeled=problem.zero_sum,
        metric=image_metric(chain.basis, problem.shape) if is_photograph(problem.shape) else None,
        box=box,
        steps=problem.steps or STEPS,
        generator=problem.generator,
        on_step=problem.recorder,
    )
    few = chain.rank <= FEW
    count = problem.n_candidates or (3 if few else 2) * chain.rank
    by_zeros = _by_zeros(problem, chain, settings)
    if by_zeros is not None:
        solved = by_zeros.z @ chain.basis.T, by_zeros.multipliers, by_zeros.confidence, by_zeros.verified
        return pool_of_samples(solved, by_zeros.residual, by_zeros.starts, by_zeros.outcome, problem.n_candidates)
    if len(chain.weights) == 2:
        restarts = problem.restarts or (6 if few else AVERAGED if has_many_samples(chain) else 1)
        part = _part(problem.checkpoint, "columns")
        end = solve_two_layer(chain, settings, candidates=count, restarts=restarts, checkpoint=part)
        pool = pool_of_joints(end.joints, chain.basis, problem.n_candidates)
        solved = end.z @ chain.basis.T, end.multipliers, end.confidence, end.verified
        pool = replace(pool, solved=solved, evaluations=end.steps, outcome=end.outcome)
        return _with_pairs(problem, chain, settings, pool, torch.cat([joint.z.flatten(0, 1) for joint in end.joints]))
    return _deep(problem, chain, settings, count)


def _deep(problem: Problem, chain: Chain, settings: SearchSettings, count: int) -> Pool:
    """By a joint search, and from its candidates by columns with their inputs where these can be told."""
    joint = settings.search(
        chain,
        candidates=count,
        restarts=problem.restarts or RESTARTS,
        directions=directions_of(chain),
        generator=spawn(problem.generator, "joint"),
        checkpoint=_part(problem.checkpoint, "joint"),
    )
    pool = pool_of_joints([joint], chain.basis, problem.n_candidates)
    return _with_pairs(problem, chain, settings, pool, joint.z.flatten(0, 1))


def _with_pairs(problem: Problem, chain: Chain, settings: SearchSettings, pool: Pool, z: Tensor) -> Pool:
    """The samples of columns that are found with their inputs, or of all at once, beside those of the pool."""
    # A reference moves the target away from the weights that decide the gates.
    if problem.reference is not None or pool.outcome is Outcome.NOT_FINITE:
        return pool

    def others(known: Tensor, number: int, checkpoint: Checkpoint | None) -> Joint:
        return search_for_others(
            chain,
            settings,
            known,
            candidates=max(CANDIDATES, 2 * (chain.rank - len(known))),
            restarts=problem.restarts or RESTARTS,
            generator=spawn(problem.generator, "others", str(number)),
            checkpoint=checkpoint,
        )

    told: dict[str, Any] = {"sample_norm": settings.sample_norm, "metric": settings.metric}
    told |= {"generator": problem.generator, "on_step": problem.recorder}
    end = solve_paired(chain, z, others=others, checkpoint=_part(problem.checkpoint, "pairs"), **told)
    if end is not None:
        pool = pool.with_joints(end.joints, chain.basis)
    if end is None or len(end.z) < chain.rank:  # of the few samples of a small network some columns are no sample's
        end = solve_together(chain, checkpoint=_part(problem.checkpoint, "together"), **told) or end
    if end is None:
        return pool
    return pool.beside(end.z @ chain.basis.T, end.multipliers, end.confidence)


def _by_zeros(problem: Problem, chain: Chain, settings: SearchSettings) -> ByZeros | None:
    """None where too few columns are found: those may be class means, and samples do not follow from them."""
    # A reference moves the target away from the weights that decide the gates.
    if problem.reference is not None or not is_sparse(chain):
        return None

    def search(known: Tensor, draw: torch.Generator, checkpoint: Checkpoint | None) -> Tensor:
        return settings.search(
            chain,
            candidates=max(CANDIDATES, 2 * (chain.rank - known.shape[1])),
            restarts=1,
            known=known.to(chain.weights[0]) if known.shape[1] else None,
            generator=draw,
            note=f"{known.shape[1]} of {chain.rank} samples known",
            checkpoint=checkpoint,
        ).z.flatten(0, 1)

    end = solve_by_zeros(
        chain,
        sample_norm=settings.sample_norm,
        metric=image_metric(chain.basis, problem.shape) if has_spectrum(problem.shape) else None,
        box=settings.box,
        generator=problem.generator,
        search=search if len(chain.weights) == 2 and chain.rank > FEW else None,
        on_step=problem.recorder,
        checkpoint=_part(problem.checkpoint, "zeros"),
    )
    return end if _enough(end, chain) else None


def _enough(end: ByZeros, chain: Chain) -> bool:
    """Whether samples follow from the columns found: nearly all of deep networks, and in two layers no mixtures.

    There a second layer confirms half of many columns; of few none may be missing, since the searches for them bring
    sharper samples than all columns but one, and a quarter must be verified.
    """
    if len(chain.weights) > 2:
        return len(end.z) >= ENOUGH * chain.rank
    if chain.rank > FEW:
        return end.confirmed >= BACKED * chain.rank
    return len(end.z) == chain.rank and int(end.verified.sum()) >= VERIFIED * chain.rank


def _part(checkpoint: Checkpoint | None, name: str) -> Checkpoint | None:
    """The checkpoint of one stage, beside what the others left: it may take minutes to find again."""
    if checkpoint is None:
        return None
    others = {key: part for key, part in (checkpoint.load() or {}).items() if not key.startswith(f"{name}/")}
    return Within(checkpoint, name, others)


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
