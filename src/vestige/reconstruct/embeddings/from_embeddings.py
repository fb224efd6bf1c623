"""Training embeddings from a head on a frozen backbone, and what they are embeddings of (arXiv 2407.15845).

A head trained on e_i = F(s_i) is a small network of its own: theta = sum_i l_i . grad f(theta; e_i) is solved for
the e_i, in the space of embeddings, whatever the backbone F and however large the images or texts s_i.
Independent attacks are pooled, and their candidates are grouped without the training set. What an embedding stands for
is then looked up in a gallery (`embeddings.retrieval`) or shown by inverting the backbone (`embeddings.inversion`).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vestige.core.cite import paper
from vestige.core.descent import Checkpoint, Within
from vestige.core.margins import Loss
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn
from vestige.core.space import InputSpace
from vestige.reconstruct.fingerprint import owned
from vestige.reconstruct.options import check_counts
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.stored import from_tensors, to_tensors
from vestige.reconstruct.weights.belief import Grounds, explained, fall_of
from vestige.reconstruct.weights.clusters import is_collapse
from vestige.reconstruct.weights.from_weights import reconstruct_from_weights
from vestige.reconstruct.weights.ranking import SAME, rank_candidates

SOURCE = (paper("2407.15845"), paper("2307.01827"))
LINEAR = (
    "A linear head holds one weighted sum of embeddings for each class: what is shown is the direction of a training "
    "embedding, minus the mean, only where its class had a single sample, and nothing in the head tells which ones had."
)


def reconstruct_from_embeddings(
    head: nn.Module,
    *,
    input_shape: Sequence[int] | None = None,
    repeats: int = 1,
    n_candidates: int | None = None,
    loss: Loss | str = Loss.CROSS_ENTROPY,
    weight_decay: float | int | None = None,
    space: InputSpace | None = None,
    reference_params: Mapping[str, Tensor] | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> Reconstruction:
    """Solve theta = sum_i l_i . grad_theta f(theta; e_i) for the embeddings e_i of a head f.

    Heads with hidden layers are attacked by `reconstruct_from_weights`, `repeats` times from independent starts; all
    candidates are grouped together, and a group's confidence counts the restarts of all of them.

    A linear head f(e) = W e + b holds C sums, W_k = sum_i l_ik e_i, that add up to zero for cross-entropy. With one
    sample a class and wrong classes equally likely, l_ik = c (1[i = k] - 1/C), so that W_k = c (e_k - mean of all e):
    the directions of the centered embeddings. With more samples a class they are weighted class means, and with one
    output there is a single sum.

    Args:
        head: a trained network on embeddings; evaluation mode is used, and it is left untouched.
        input_shape: of one embedding of the backbone, to be checked against the head; None asks the head alone.
        repeats: whole attacks from independent starts, which are pooled.
        n_candidates: of a restart, as in `reconstruct_from_weights`.
        loss: as there.
        weight_decay: as there.
        space: the map from the backbone's embeddings to the head's inputs (mean and std where they were standardized);
            `space.to_data(samples)` are embeddings of the backbone. Its range is a prior where it is finite.
        reference_params: parameters before training, as there.
        restarts: of one attack, as there.
        steps: as there.
        generator: source of the starts.
        on_step: called with a Step at every step of every attack.
        checkpoint: as there; finished attacks are saved whole.

    Returns:
        Embeddings in the head's input space, likeliest first, with all candidates behind them.

    Raises:
        ValueError: a head whose input is not the backbone's output, a linear head with one output, fewer than one
            attack, and what `reconstruct_from_weights` refuses.
    """
    width = head_width(head)
    if input_shape is not None and tuple(input_shape) != (width,):
        raise ValueError(
            f"the head takes inputs of {width} numbers and the backbone returns shape {tuple(input_shape)}; they must "
            "agree. Is it the backbone (and the layer of it) that the head was trained on?"
        )
    check_counts(repeats=repeats)
    linear = _only_linear(head)
    if linear is not None:
        return _linear(linear)
    options = {
        "n_candidates": n_candidates, "loss": Loss(loss), "weight_decay": weight_decay, "space": space,
        "reference_params": reference_params, "restarts": restarts, "steps": steps,
    }  # fmt: skip
    own = owned(checkpoint, head=head, generator=generator, **options)
    found, done = _finished(own, repeats, next(head.parameters()))
    for k in range(len(found), repeats):
        part = None if own is None else Within(own, f"attack {k}", done)
        source = spawn(generator, "embeddings", str(k))
        found.append(
            reconstruct_from_weights(head, (width,), **options, generator=source, on_step=on_step, checkpoint=part)
        )
        if own is not None:
            done |= {f"finished {k}/{name}": value for name, value in to_tensors(found[-1]).items()}
            own.save(done)
    pooled = pool_repeats(found) if repeats > 1 else found[0]
    return replace(pooled, source=tuple(dict.fromkeys((*SOURCE, *pooled.source))))


def _finished(own: Checkpoint | None, repeats: int, like: Tensor) -> tuple[list[Reconstruction], dict[str, Tensor]]:
    """The attacks that an earlier call finished, and the tensors that hold them."""
    state = (None if own is None else own.load()) or {}
    done = {name: value for name, value in state.items() if name.startswith("finished ")}
    found = []
    for k in range(repeats):
        start = f"finished {k}/"
        whole = {name.removeprefix(start): value for name, value in done.items() if name.startswith(start)}
        if not whole:
            break
        found.append(from_tensors(whole, like))
    return found, done


def head_width(head: nn.Module) -> int:
    """How many numbers a head takes: the inputs of its first linear layer.

    Raises:
        ValueError: a head that does not begin with a linear layer.
    """
    first = next((m for m in head.modules() if not list(m.children()) and list(m.parameters())), None)
    if not isinstance(first, nn.Linear):
        kind = "no layer with parameters" if first is None else type(first).__name__
        raise ValueError(
            f"the head begins with {kind}; a head on embeddings begins with a linear layer. Is this the whole network? "
            "Give the layers after the backbone."
        )
    return first.in_features


def pool_repeats(found: Sequence[Reconstruction]) -> Reconstruction:
    """Independent attacks on one network as a single reconstruction: verified samples once, all candidates grouped.

    Args:
        found: reconstructions of the same network; restarts are numbered through.
    """
    first, shape = found[0], found[0].samples.shape[1:]
    verified = _distinct_verified(found)
    offsets = itertools.accumulate((len(each.residual) for each in found), initial=0)
    restart = torch.cat([each.restart + offset for each, offset in zip(found, offsets, strict=False)])
    x = torch.cat([each.candidates.flatten(1) for each in found])
    multipliers = torch.cat([each.candidate_cotangents for each in found])
    most = max(len(verified[0]), 2 * first.identifiable) if first.identifiable else None
    best = min(found, key=lambda each: float(each.residual.min()))
    grounds = Grounds(
        explained=explained(best.residual_per_layer),
        samples=first.identifiable,
        directions=first.directions,
        classes=max(2, multipliers.shape[1]),
        fall=fall_of(first.singular_values, first.identifiable),
        collapse=is_collapse(x, max(2, multipliers.shape[1])),
    )
    ranking = rank_candidates(x, multipliers, restart, verified).first(most)
    return replace(
        first,
        **grounds.tempered(ranking, ranking.verified).fields(shape),
        candidates=x.reshape(-1, *shape),
        candidate_cotangents=multipliers,
        restart=restart,
        residual=torch.cat([each.residual for each in found]),
        residual_per_layer=best.residual_per_layer,
        history=tuple(step for each in found for step in each.history),
        collapse=grounds.collapse,
        doubt=grounds.doubt,
        gradient_evaluations=sum(each.gradient_evaluations for each in found),
        outcome=Outcome.NOT_FINITE if any(r.outcome is Outcome.NOT_FINITE for r in found) else first.outcome,
        warnings=tuple(dict.fromkeys(text for each in found for text in each.warnings)),
    )


def _distinct_verified(found: Sequence[Reconstruction]) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.cat([run.samples[run.verified].flatten(1) for run in found])
    cotangents = torch.cat([run.cotangents[run.verified] for run in found])
    confidence = torch.cat([run.confidence[run.verified] for run in found])
    kept: list[int] = []
    unit = F.normalize(x, dim=1)
    for k in confidence.argsort(descending=True, stable=True).tolist():
        if not kept or float((unit[kept] @ unit[k]).max()) < SAME:
            kept.append(k)
    return x[kept], cotangents[kept], confidence[kept]


def _only_linear(head: nn.Module) -> nn.Linear | None:
    layers = [m for m in head.modules() if not list(m.children()) and not isinstance(m, (nn.Flatten, nn.Identity))]
    return layers[0] if len(layers) == 1 and isinstance(layers[0], nn.Linear) else None


def _linear(layer: nn.Linear) -> Reconstruction:
    weight = layer.weight.detach()
    if len(weight) == 1:
        raise ValueError(
            "a linear head with one output given; its weights are one sum over all training embeddings, from which no "
            "single embedding can be read. Heads with several classes, or with a hidden layer, hold more."
        )
    count = len(weight)
    samples = weight - weight.mean(0)
    cotangents = torch.eye(count).to(weight) - 1 / count
    zeros, counting = weight.new_zeros(count), torch.arange(count, device=weight.device)
    return Reconstruction(
        samples=samples,
        confidence=zeros,
        support=torch.ones_like(counting),
        spread=zeros,
        cotangents=cotangents,
        label=counting,
        verified=torch.zeros_like(counting, dtype=torch.bool),
        candidates=samples,
        candidate_cotangents=cotangents,
        restart=torch.zeros_like(counting),
        cluster=counting,
        residual=weight.new_zeros(1),
        residual_per_layer={"layer 1": 0.0},
        history=(),
        singular_values=torch.linalg.svdvals(weight.double()),
        identifiable=count - 1,
        collapse=True,
        gradient_evaluations=0,
        outcome=Outcome.CONVERGED,
        warnings=(LINEAR,),
        source=SOURCE,
    )
