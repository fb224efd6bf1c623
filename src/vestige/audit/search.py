"""The reconstruction that fits a target: from weights, from a head on embeddings, or modulo a group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vestige.audit.target import Target
from vestige.core.descent import Checkpoint
from vestige.core.outcome import OnStep
from vestige.nets.groups import Group
from vestige.reconstruct.embeddings.from_embeddings import reconstruct_from_embeddings
from vestige.reconstruct.invariant.from_invariant import reconstruct_invariant
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.weights.from_weights import reconstruct_from_weights


@dataclass(frozen=True, kw_only=True)
class Search:
    """How a target is searched.

    Attributes:
        n_candidates: candidates of one restart; None leaves it to the method.
        restarts: independent starts; likewise.
        steps: of one search; likewise.
        seed: of all random draws.
        solver: "default", or "published" for the papers' procedure.
        backbone: name of the frozen backbone below a head; None for a whole network.
        group: that the network is invariant to; None for none.
        typed: what was said of the model and of unseen data, as options; None where it cannot be typed. It decides
            nothing.
    """

    n_candidates: int | None = None
    restarts: int | None = None
    steps: int | None = None
    seed: int = 0
    solver: str = "default"
    backbone: str | None = None
    group: Group | None = None
    typed: Sequence[str] | None = ()

    @property
    def config(self) -> dict[str, Any]:
        """What a result depends on; options that are not used are left out."""
        extra = {"steps": self.steps, "backbone": self.backbone, "group": self.group and str(self.group)}
        return {
            **{name: getattr(self, name) for name in ("n_candidates", "restarts", "seed", "solver")},
            **{name: value for name, value in extra.items() if value is not None},
        }


def search(
    target: Target,
    how: Search,
    *,
    generator: torch.Generator,
    on_step: OnStep | None,
    checkpoint: Checkpoint | None,
) -> Reconstruction:
    """Reconstruct training samples; continues from the checkpoint if it holds a state."""
    common = {
        "n_candidates": how.n_candidates,
        "loss": target.loss,
        "weight_decay": target.weight_decay,
        "space": target.space,
        "restarts": how.restarts,
        "steps": how.steps,
        "generator": generator,
        "on_step": on_step,
        "checkpoint": checkpoint,
    }
    if how.backbone is not None:
        return reconstruct_from_embeddings(target.model, **common)
    if how.group is not None:
        conventional = how.solver != "default"
        return reconstruct_invariant(target.model, target.input_shape, how.group, **common, conventional=conventional)
    return reconstruct_from_weights(target.model, target.input_shape, **common, solver=how.solver)
