"""Everything a search returned, whatever the search was: in model space and flattened."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vestige.core.outcome import Outcome
from vestige.reconstruct.weights.any_model import AnyJoint
from vestige.reconstruct.weights.joint import Joint
from vestige.reconstruct.weights.ranking import SAME


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool:
    """Candidates and what is known of them; `solved`: samples, multipliers, confidence, whether verified.

    The last `by_range` of these follow from the range of inputs, whatever the equation says (`corners`).
    """

    x: Float[Tensor, "c d"]
    multipliers: Float[Tensor, "c out"]
    restart: Int[Tensor, " c"]
    residual: Float[Tensor, " restarts"]
    residual_per_layer: dict[str, float]
    solved: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
    by_range: int = 0
    evaluations: int
    outcome: Outcome
    requested: int | None
    whole: bool = False  # every candidate is offered as it is, as the papers do

    @property
    def finite(self) -> "Pool":
        """Without candidates that a diverged search left NaN or infinite."""
        kept = torch.isfinite(self.x).all(1) & torch.isfinite(self.multipliers).all(1)
        return replace(self, x=self.x[kept], multipliers=self.multipliers[kept], restart=self.restart[kept])

    def beside(self, x: Float[Tensor, "k d"], multipliers: Float[Tensor, "k out"], confidence: Tensor) -> "Pool":
        """With further solved samples, none verified; those that are there already are not taken twice."""
        solved = self.solved or (x[:0], multipliers[:0], confidence[:0], confidence[:0] > 0)
        new = (F.normalize(x, dim=1) @ F.normalize(solved[0], dim=1).T < SAME).all(1)
        added = x[new], multipliers[new], confidence[new], torch.zeros_like(confidence[new], dtype=torch.bool)
        joined = (torch.cat(parts) for parts in zip(solved, added, strict=True))
        return replace(self, solved=(*joined,))

    def preferring(self, x: Float[Tensor, "k d"], multipliers: Float[Tensor, "k out"], confidence: Tensor) -> "Pool":
        """With samples by their range in the place of those near them, but for verified ones, which stay."""
        solved = self.solved or (x[:0], multipliers[:0], confidence[:0], confidence[:0] > 0)
        kept = solved[3] | (F.normalize(solved[0], dim=1) @ F.normalize(x, dim=1).T < SAME).all(1)
        first, second, third, sure = solved
        pool = replace(self, solved=(first[kept], second[kept], third[kept], sure[kept]))
        pool = pool.beside(x, multipliers, confidence)
        assert pool.solved is not None
        return replace(pool, by_range=len(pool.solved[0]) - int(kept.sum()))

    def with_joints(self, joints: Sequence[Joint], basis: Float[Tensor, "d r"]) -> "Pool":
        """With the candidates of further searches."""
        if not joints:
            return self
        more = pool_of_joints(joints, basis, None)
        return replace(
            self,
            x=torch.cat([self.x, more.x]),
            multipliers=torch.cat([self.multipliers, more.multipliers]),
            restart=torch.cat([self.restart, len(self.residual) + more.restart]),
            residual=torch.cat([self.residual, more.residual]),
            evaluations=self.evaluations + more.evaluations,
        )


def pool_of_joints(joints: Sequence[Joint], basis: Float[Tensor, "d r"], requested: int | None) -> Pool:
    """Of joint searches for candidates x = basis z; restarts are numbered through."""
    starts = [joint.z.shape[1] for joint in joints for _ in range(len(joint.z))]
    first, device = joints[0], basis.device
    best = first.residual[int(first.residual.mean(1).argmin())].tolist()
    return Pool(
        x=torch.cat([(joint.z @ basis.T).flatten(0, 1) for joint in joints]),
        multipliers=torch.cat([joint.multipliers.flatten(0, 1) for joint in joints]),
        restart=torch.arange(len(starts), device=device).repeat_interleave(torch.tensor(starts, device=device)),
        residual=torch.cat([joint.residual.mean(1) for joint in joints]),
        residual_per_layer={f"layer {k + 1}": value for k, value in enumerate(best)},
        evaluations=sum(joint.steps * len(joint.z) for joint in joints),
        outcome=first.outcome,
        requested=requested,
    )


def pool_of_samples(
    solved: tuple[Tensor, Tensor, Tensor, Tensor],
    residual: dict[str, float],
    evaluations: int,
    outcome: Outcome,
    requested: int | None,
) -> Pool:
    """Of a method that finds samples one by one and has no other candidates."""
    x, multipliers = solved[:2]
    return Pool(
        x=x,
        multipliers=multipliers,
        restart=torch.zeros(len(x), dtype=torch.long, device=x.device),
        residual=x.new_tensor([sum(residual.values()) / len(residual)]),
        residual_per_layer=residual,
        solved=solved,
        evaluations=evaluations,
        outcome=outcome,
        requested=requested,
    )


def pool_of_any(end: AnyJoint, requested: int | None) -> Pool:
    """Of a search in input space."""
    total = torch.stack(list(end.residual.values())).mean(0)
    best = int(total.argmin())
    return Pool(
        x=end.x.flatten(0, 1).flatten(1),
        multipliers=end.multipliers.flatten(0, 1),
        restart=torch.arange(len(end.x), device=end.x.device).repeat_interleave(end.x.shape[1]),
        residual=total,
        residual_per_layer={name: float(value[best]) for name, value in end.residual.items()},
        evaluations=end.steps,
        outcome=end.outcome,
        requested=requested,
    )
