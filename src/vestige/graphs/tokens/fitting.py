"""Training a transformer on the tokens of graphs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Shaped
from torch import Tensor, nn

from vestige.core.batches import Batches
from vestige.core.descent import Descent, fit
from vestige.core.modes import evaluating
from vestige.core.outcome import Outcome
from vestige.core.rng import drawing_from, spawn
from vestige.graphs.graph import Graph
from vestige.graphs.tokens.kinds import Sign
from vestige.graphs.tokens.tokenizer import Tokens

SCORED = 256  # graphs at a time


class TokenSet:
    """Tokens with the features of the nodes beside them, and labels: of graphs, or of nodes (graphs, nodes)."""

    def __init__(self, tokens: Tokens, graphs: Sequence[Graph], y: Shaped[Tensor, "graphs ..."]):
        self.mask, self.values = tokens.mask, tokens.values.float()
        self.y = F.pad(y, (0, max(0, self.mask.shape[1] - y.shape[1]))) if y.ndim == 2 else y
        features = [g.x.float() for g in graphs if g.x is not None]
        if features:
            extra = torch.zeros(*self.mask.shape, features[0].shape[1], dtype=torch.float32)
            for i, part in enumerate(features):
                extra[i, : len(part)] = part
            self.values = torch.cat([self.values, extra], 2)
        how, self.signs = tokens.how, slice(0)
        if how.spectral and how.sign == Sign.FLIP:
            self.signs = how.blocks(tokens.size)["eigenvectors"]

    @property
    def width(self) -> int:
        """Numbers in a token, features included."""
        return self.values.shape[2]

    def take(self, index: Tensor, flip: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Tokens and mask of some graphs, without padding that none of them needs; with a stream, of new signs."""
        most = int(self.mask[index].sum(1).max())
        values, count = self.values[index, :most], self.signs.stop - (self.signs.start or 0)
        if flip is not None and count:
            values[:, :, self.signs] *= 2 * torch.randint(2, (len(index), 1, count), generator=flip) - 1
        return values, self.mask[index, :most]


@dataclass(frozen=True)
class TokenTraining:
    """AdamW with a cosine schedule and gradients of norm at most 1."""

    steps: int
    batch_size: int
    learning_rate: float | int
    weight_decay: float | int


def train_on_tokens(model: nn.Module, data: TokenSet, plan: TokenTraining, generator: torch.Generator) -> Outcome:
    """Train in place."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), plan.learning_rate, weight_decay=plan.weight_decay)

    def clip(*_: Any) -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)

    optimizer.register_step_pre_hook(clip)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, plan.steps)
    batches = Batches(len(data.y), plan.batch_size, spawn(generator, "batches"))

    def objective(k: int) -> Tensor:
        draw, index = spawn(generator, "step", str(k)), batches(k)
        values, mask = data.take(index, draw)
        with drawing_from(draw):
            out = model(values, mask)
        y = data.y[index]
        if not y.is_floating_point():
            return F.cross_entropy(out, y)
        if y.ndim == 1:
            return F.mse_loss(out[:, 0], y.float())
        return F.mse_loss(out[..., 0][mask], y[:, : mask.shape[1]].float()[mask])

    outcome = fit(objective, Descent(optimizer, schedule), steps=plan.steps).outcome
    model.eval()
    return outcome


def predictions(model: nn.Module, data: TokenSet) -> Tensor:
    """Logits of classes, a number for each graph, or one for each node (0 at padding)."""
    rows = []
    with torch.no_grad(), evaluating(model):
        for index in torch.arange(len(data.mask)).split(SCORED):
            found = model(*data.take(index))
            if data.y.is_floating_point():
                found = found[..., 0]
                found = F.pad(found, (0, data.mask.shape[1] - found.shape[1])) if found.ndim == 2 else found
            rows.append(found)
    return torch.cat(rows)
