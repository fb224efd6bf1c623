"""Training data from the weights of a network (arXiv 2206.07758, 2305.03350, 2307.01827).

Training drives a network to a point where theta = sum_i l_i . grad_theta f(theta; x_i). The attack solves that equation
for the x_i. It sees the weights, what its caller knows about the training (loss, weight decay) and the range of valid
inputs; never a training sample. Scores live in `scoring.score`.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vestige.core.descent import Checkpoint
from vestige.core.margins import Loss
from vestige.core.modes import evaluating
from vestige.core.outcome import OnStep, Step
from vestige.core.rng import spawn
from vestige.core.space import InputSpace
from vestige.reconstruct.fingerprint import owned
from vestige.reconstruct.image_prior import image_metric, is_photograph
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.weights.any_model import search_any
from vestige.reconstruct.weights.assemble import Pool, assemble
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.joint import layer_weights, search
from vestige.reconstruct.weights.published.search import published_search, published_settings
from vestige.reconstruct.weights.two_layer.many_samples import crowded
from vestige.reconstruct.weights.two_layer.solver import Search, solve_two_layer

STEPS = 1500  # Adam steps of one joint search
AVERAGED = 3  # searches of a crowd: five bring 189 of 500 samples above a cosine of .8, three 177, one 120
FEW = 50  # samples up to which a search is so cheap that six restarts and more candidates are taken
HISTORY = 200  # steps kept in the result
SPREAD = 0.25  # standard deviation of pixels, as a share of the valid range


def reconstruct_from_weights(
    model: nn.Module,
    input_shape: tuple[int, ...] | list[int],
    *,
    n_candidates: int | None = None,
    loss: Loss | str = Loss.CROSS_ENTROPY,
    weight_decay: float | int | None = None,
    space: InputSpace | None = None,
    reference_params: Mapping[str, Tensor] | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    solver: str = "default",
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> Reconstruction:
    """Solve theta = sum_i l_i . grad_theta f(theta; x_i) for the x_i.

    Two-layer ReLU networks are solved sample by sample with a check on each (`two_layer.columns`); deeper
    MLPs by a joint search in span coordinates; other modules by the joint search in input space.

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
            samples: there the rounds are restarts; for 3 where the samples are many for the neurons.
        steps: Adam steps of one search; None for 1500 (published: 50,000).
        solver: "default", or "published" for the procedure of the papers at their best published setting.
        generator: source of the starts; the same seed gives the same result.
        on_step: called with a Step at every step.
        checkpoint: an object with save(tensors) and load(); a killed run goes on from a few seconds before, to the
            same end. A state of another model or other options is not used.

    Returns:
        Samples ranked by confidence, in model space, with all candidates behind them.

    Raises:
        ValueError: weights that are not finite, an input shape that the model refuses, an unknown loss or solver, no
            trainable parameter, sizes below 1, or reference parameters that do not match.
    """
    shape = tuple(int(s) for s in input_shape)
    loss = known_loss(loss)
    outputs = check_model(model, shape)
    _check_options(model, n_candidates, restarts, steps, weight_decay, solver, reference_params)
    checkpoint = owned(
        checkpoint, model=model, input_shape=shape, n_candidates=n_candidates, loss=loss, weight_decay=weight_decay,
        space=space, reference_params=reference_params, restarts=restarts, steps=steps, solver=solver,
        generator=generator,
    )  # fmt: skip
    with evaluating(model):
        recorder = Recorder(on_step)
        if solver == "published":
            return _published(
                model, shape, outputs, n_candidates, loss, weight_decay, space, steps, generator, recorder, checkpoint
            )
        dtype = next(model.parameters()).dtype
        chain = span_chain(model, reference_params, dtype)
        zero_sum = loss is Loss.CROSS_ENTROPY
        spread, box = spread_and_box(model, shape, space, chain)
        source = spawn(generator, "reconstruct")
        if chain is None:
            pool = _any(
                model,
                shape,
                spread,
                box,
                zero_sum,
                n_candidates,
                restarts,
                steps,
                reference_params,
                weight_decay,
                source,
                recorder,
                checkpoint,
            )
        else:
            settings = Search(
                sample_norm=spread * math.prod(shape) ** 0.5,
                layer_weights=layer_weights(chain, weight_decay),
                zero_sum=zero_sum,
                labelled=zero_sum,
                metric=image_metric(chain.basis, shape) if is_photograph(shape) else None,
                box=box,
                steps=steps or STEPS,
                generator=source,
                on_step=recorder,
            )
            pool = _chain(chain, settings, n_candidates, restarts, checkpoint)
        return assemble(pool, shape, outputs, chain, tuple(recorder.kept))


class Recorder:
    """Passes steps on, and keeps a thinned history."""

    def __init__(self, then: OnStep | None):
        self.then, self.kept, self.count = then, [], 0

    def __call__(self, step: Step) -> None:
        if self.count % 50 == 0:
            self.kept.append(step)
            if len(self.kept) > 2 * HISTORY:
                self.kept = self.kept[::2]
        self.count += 1
        if self.then is not None:
            self.then(step)


def _chain(
    chain: Chain, settings: Search, n_candidates: int | None, restarts: int | None, checkpoint: Checkpoint | None
) -> Pool:
    count = n_candidates or (3 if chain.rank <= FEW else 2) * chain.rank
    names = [f"layer {k + 1}" for k in range(len(chain.weights))]
    if len(chain.weights) == 2:
        end = solve_two_layer(
            chain,
            settings,
            candidates=count,
            restarts=restarts or (6 if chain.rank <= FEW else AVERAGED if crowded(chain) else 1),
            checkpoint=checkpoint,
        )
        joints, verified = end.joints, (end.z @ chain.basis.T, end.multipliers, end.confidence)
        outcome, evaluations = end.outcome, end.steps
    else:
        joint = search(
            chain,
            candidates=count,
            restarts=restarts or 4,
            steps=settings.steps,
            sample_norm=settings.start_norm(chain),
            sharpness=settings.sharpness(chain),
            layer_weights=settings.layer_weights,
            zero_sum=settings.zero_sum,
            labelled=settings.labelled,
            metric=settings.metric,
            box=settings.box,
            generator=spawn(settings.generator, "joint"),
            on_step=settings.on_step,
            checkpoint=checkpoint,
        )
        joints, verified = [joint], None
        outcome, evaluations = joint.outcome, joint.steps * len(joint.z)
    x = torch.cat([(j.z @ chain.basis.T).flatten(0, 1) for j in joints])
    multipliers = torch.cat([j.multipliers.flatten(0, 1) for j in joints])
    starts = [len(j.z[0]) for j in joints for _ in range(len(j.z))]
    restart = torch.repeat_interleave(torch.arange(len(starts)), torch.tensor(starts))
    residual = torch.cat([j.residual.mean(1) for j in joints])
    best = joints[0].residual[int(joints[0].residual.mean(1).argmin())]
    return Pool(
        x=x,
        multipliers=multipliers,
        restart=restart.to(x.device),
        residual=residual,
        residual_per_layer=dict(zip(names, best.tolist(), strict=True)),
        verified=verified,
        evaluations=evaluations,
        outcome=outcome,
        requested=n_candidates,
    )


def _any(
    model,
    shape,
    spread,
    box,
    zero_sum,
    n_candidates,
    restarts,
    steps,
    reference,
    weight_decay,
    source,
    recorder,
    checkpoint,
) -> Pool:
    end = search_any(
        model,
        shape,
        candidates=n_candidates or 40,
        restarts=restarts or 4,
        steps=steps or STEPS,
        pixel_scale=spread,
        zero_sum=zero_sum,
        reference=reference,
        forgets=bool(weight_decay),
        box=None if box is None else tuple(b.reshape(shape) for b in box),
        generator=source,
        on_step=recorder,
        checkpoint=checkpoint,
    )
    total = torch.stack(list(end.residual.values())).mean(0)
    best = int(total.argmin())
    count = end.x.shape[1]
    return Pool(
        x=end.x.flatten(0, 1).flatten(1),
        multipliers=end.multipliers.flatten(0, 1),
        restart=torch.arange(len(end.x), device=end.x.device).repeat_interleave(count),
        residual=total,
        residual_per_layer={name: float(value[best]) for name, value in end.residual.items()},
        verified=None,
        evaluations=end.steps,
        outcome=end.outcome,
        requested=n_candidates,
    )


def _published(
    model, shape, outputs, n_candidates, loss, weight_decay, space, steps, generator, recorder, checkpoint
) -> Reconstruction:
    kind = "regression" if weight_decay or loss in (Loss.MSE, Loss.HUBER) else "multiclass" if outputs > 1 else "binary"
    chain = span_chain(model, None, next(model.parameters()).dtype)
    count = n_candidates or (2 * chain.rank if chain is not None else 40)
    settings = published_settings(kind)
    box = None if space is None else space.bounds(shape, next(model.parameters()))
    end = published_search(
        model,
        shape,
        candidates=count,
        loss=loss,
        steps=steps or 50_000,
        lr_x=settings.lr_x,
        lr_lambda=settings.lr_lambda,
        init_scale=settings.init_scale,
        lambda_min=settings.lambda_min,
        sharpness=settings.sharpness,
        weight_decay=weight_decay,
        box=box,
        generator=spawn(generator, "published"),
        on_step=recorder,
        checkpoint=checkpoint,
    )
    x = end.candidates.flatten(1)
    pool = Pool(
        x=x,
        multipliers=end.cotangents,
        restart=torch.zeros(len(x), dtype=torch.long, device=x.device),
        residual=torch.as_tensor([float(end.residual)], dtype=x.dtype),
        residual_per_layer=end.residual_per_layer,
        verified=None,
        evaluations=end.steps,
        outcome=end.outcome,
        requested=n_candidates,
    )
    return assemble(pool, shape, outputs, chain, tuple(recorder.kept))


def spread_and_box(model: nn.Module, shape: tuple[int, ...], space: InputSpace | None, chain: Chain | None):
    """Standard deviation to expect of an input's entries, and the box of valid inputs, flattened."""
    like = next(model.parameters())
    if space is not None and math.isfinite(space.low) and math.isfinite(space.high):
        low, high = space.bounds(shape, like)
        return SPREAD * float((high - low).mean()), (low.flatten(), high.flatten())
    if chain is not None and chain.has_bias[0] and float(chain.target_biases[0].norm()) > 0:
        # [W b] = sum s_i [x_i 1]: the ratio of norms is that of the samples to 1.
        ratio = float(chain.target_weights[0].norm() / chain.target_biases[0].norm())
        return max(ratio / math.prod(shape) ** 0.5, 1e-6), None
    return 1.0, None


def known_loss(loss: Loss | str) -> Loss:
    """The loss that was named, or a ValueError that lists them."""
    if loss not in set(Loss):
        raise ValueError(f"loss={loss!r} given; allowed are {', '.join(Loss)}.")
    return Loss(loss)


def check_model(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Refuse a model that cannot be attacked; how many outputs it has."""
    params = [p for p in model.parameters() if p.requires_grad]
    if not params:
        raise ValueError(
            "the model has no trainable parameter; was requires_grad turned off? Turn it on for the audit."
        )
    bad = [name for name, p in model.named_parameters() if not bool(torch.isfinite(p).all())]
    if bad:
        raise ValueError(
            f"{len(bad)} parameters hold NaN or infinite values, the first is {bad[0]!r}; nothing can be read."
        )
    try:
        with torch.no_grad():
            twin = torch.zeros(2, *shape, dtype=params[0].dtype, device=params[0].device)
            with evaluating(model):
                out = model(twin)
    except RuntimeError as error:
        raise ValueError(f"the model refuses an input of shape {shape}: {error}. Is input_shape right?") from error
    if not isinstance(out, Tensor) or out.ndim > 2 or len(out) != 2:
        raise ValueError("the model must return one row of outputs for each input.")
    return 1 if out.ndim == 1 else out.shape[1]


def _check_options(model, n_candidates, restarts, steps, weight_decay, solver, reference) -> None:
    for name, value in (("n_candidates", n_candidates), ("restarts", restarts), ("steps", steps)):
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} given; it must be at least 1.")
    if weight_decay is not None and not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"weight_decay={weight_decay} given; it must be finite and not negative.")
    if solver not in ("default", "published"):
        raise ValueError(f"solver={solver!r} given; allowed are 'default' and 'published'.")
    for name, p in model.named_parameters():
        if reference is not None and (name not in reference or reference[name].shape != p.shape):
            raise ValueError(
                f"reference_params lacks {name!r} of shape {tuple(p.shape)}; give the state before training."
            )
