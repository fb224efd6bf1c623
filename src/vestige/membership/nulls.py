"""Scores that must be at chance: of a network that saw nothing, of wrong labels, and of samples that nobody saw."""

from functools import partial

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vestige.core.margins import Loss
from vestige.core.outcome import OnStep
from vestige.core.rng import spawn
from vestige.membership.scores import Membership, membership_scores


def membership_nulls(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, "n ..."],
    *,
    loss: Loss | str,
    reference: tuple[Float[Tensor, "m ..."], Shaped[Tensor, "m ..."]],
    untrained: nn.Module | None = None,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> dict[str, Membership]:
    """The method where there is nothing to find.

    Args:
        model: the trained network.
        x: candidates, model space.
        y: their labels.
        loss: of the training.
        reference: samples that the network never saw, at least four.
        untrained: the same architecture with weights that no sample touched, such as
            `vg.reconstruct.untrained_like(model)`; None leaves this null out.
        batch_size: samples that are run together; memory only.
        generator: shuffles labels and deals the reference out.
        on_step: as in `membership_scores`.

    Returns:
        "untrained": candidates under the untrained network. "unseen": half of the reference in the place of candidates;
        its p-values are uniform where the reference is one distribution. "shuffled": candidates with the labels of
        others, under the trained network; what is left is knowledge of the inputs alone.

    Raises:
        ValueError: fewer than four reference samples, or what `membership_scores` refuses.
    """
    unseen, labels = reference
    if len(unseen) < 4:
        raise ValueError(f"{len(unseen)} reference samples given; at least 4 are needed, half of them as candidates.")
    score = partial(
        membership_scores, loss=loss, layers="auto", batch_size=batch_size, generator=generator, on_step=on_step
    )
    order = torch.randperm(len(unseen), generator=spawn(generator, "unseen")).to(unseen.device)
    half, rest = order.tensor_split(2)
    shuffled = torch.randperm(len(y), generator=spawn(generator, "shuffled")).to(y.device)
    found = {
        "unseen": score(model, unseen[half], labels[half], reference=(unseen[rest], labels[rest])),
        "shuffled": score(model, x, y[shuffled], reference=reference),
    }
    return found if untrained is None else {"untrained": score(untrained, x, y, reference=reference), **found}
