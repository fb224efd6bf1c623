"""Deep and narrow against shallow and wide, trained at one budget of weights, with trivial rules beside."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Int, Num
from torch import Tensor, nn
from torch.nn import functional

from vestige.construct.transformer.graphs.leaks import LeakAudit, leak_audit
from vestige.core.cite import Paper, paper
from vestige.core.descent import Checkpoint, Descent, Within, fit
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn

DECAY, CLIP = 0.1, 5.0  # as in the authors' code


class GraphEncoder(nn.Module):
    """Rows of the adjacency matrix and a constant feature, `nn.TransformerEncoder`, the mean over nodes, one logit.

    Attributes:
        depth: of the encoder.
        width: of its stream and of its MLPs.

    >>> sum(p.numel() for p in GraphEncoder(50, 1, 125).parameters())
    101626
    """

    def __init__(
        self, n: int, depth: int, width: int, *, heads: int = 1, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.depth, self.width = depth, width
        draw = spawn(generator, "graph encoder")
        with torch.random.fork_rng(devices=[]):  # torch's own start is drawn from the global generator
            layer = nn.TransformerEncoderLayer(width, heads, width, dropout=0.0, batch_first=True)
            self.embed, self.readout = nn.Linear(n + 1, width), nn.Linear(width, 1)
            self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        with torch.no_grad():
            for name, p in self.named_parameters():
                if p.ndim > 1:
                    p.copy_((6 / sum(p.shape)) ** 0.5 * (2 * torch.rand(p.shape, generator=draw) - 1))
                elif "bias" in name:
                    p.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n, n) -> (batch,) logits."""
        rows = x.to(self.embed.weight)
        tokens = self.embed(torch.cat([rows, torch.ones_like(rows[..., :1])], 2))
        return self.readout(self.encoder(tokens).mean(1))[:, 0]


@dataclass(frozen=True, eq=False, kw_only=True)
class GraphFit:
    """A trained encoder of one shape, and what trivial rules get on the same graphs.

    Attributes:
        depth: of the encoder.
        width: of its stream.
        weights: how many it has.
        accuracy: on the graphs held out.
        loss: of the last step.
        leaks: accuracies of trivial rules.
        outcome: of the training.
    """

    depth: int
    width: int
    weights: int
    accuracy: float
    loss: float
    leaks: LeakAudit
    outcome: Outcome
    source: tuple[Paper, ...] = field(default=(paper("2503.01805"),), repr=False)


def fit_graphs(
    x: Num[Tensor, "graphs n n"],
    y: Int[Tensor, " graphs"],
    *,
    held_out: tuple[Tensor, Tensor],
    shapes: Sequence[tuple[int, int]] = ((1, 125), (2, 89), (4, 63), (8, 45), (10, 40)),
    steps: int = 500,
    batch_size: int = 64,
    learning_rate: float | int = 1e-3,
    generator: torch.Generator | None = None,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep | None = None,
) -> tuple[GraphFit, ...]:
    """Train an encoder of each shape to classify graphs from the rows of their adjacency matrices.

    Args:
        x: adjacency matrices; put their nodes in a random order first, see `permuted_graphs`.
        y: labels, 0 and 1.
        held_out: graphs and labels that the accuracy is taken on.
        shapes: (depth, width) of each; those of the default have 101,116 to 103,186 weights at n = 50.
        steps: of AdamW.
        batch_size: graphs of a step.
        learning_rate: at the start; it falls to 0.
        generator: of starts and batches; None for seed 0.
        checkpoint: where trainings are saved now and then, and read from.
        on_step: told the loss.

    Raises:
        ValueError: labels other than 0 and 1, or no shape.
    """
    if not shapes or min(min(shape) for shape in shapes) < 1:
        raise ValueError(f"shapes={list(shapes)} given; pairs of a depth and a width, both at least 1.")
    leaks = leak_audit(torch.cat([x, held_out[0]]), torch.cat([y, held_out[1]]), generator=generator)
    found = []
    for depth, width in shapes:
        name = f"{depth}.{width}"
        model = GraphEncoder(x.shape[1], depth, width, generator=spawn(generator, "start", name)).float().train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=DECAY)
        optimizer.register_step_pre_hook(_clip)
        draw = spawn(generator, "batches", name)

        def objective(k: int, model: nn.Module = model, draw: torch.Generator = draw) -> Tensor:
            chosen = torch.randint(len(x), (batch_size,), generator=spawn(draw, str(k)))
            return functional.binary_cross_entropy_with_logits(model(x[chosen]), y[chosen].float())

        fitted = fit(
            objective,
            Descent(optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)),
            steps=steps,
            checkpoint=None if checkpoint is None else Within(checkpoint, name, {}),
            on_step=on_step,
            note=f"depth {depth}, width {width}",
        )
        found.append(_judged(model.eval(), held_out, leaks, float(fitted.values[-1]), fitted.outcome))
    return tuple(found)


def _clip(optimizer: torch.optim.Optimizer, args: object, options: object) -> None:
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], CLIP)


def _judged(
    model: GraphEncoder, held_out: tuple[Tensor, Tensor], leaks: LeakAudit, loss: float, outcome: Outcome
) -> GraphFit:
    with torch.no_grad():
        guess = torch.cat([model(part) for part in held_out[0].split(256)]) > 0
    return GraphFit(
        depth=model.depth,
        width=model.width,
        weights=sum(p.numel() for p in model.parameters()),
        accuracy=float((guess == (held_out[1] == 1)).double().mean()),
        loss=loss,
        leaks=leaks,
        outcome=outcome,
    )
