"""Training on small graphs for large ones: alone, or with the pattern-tree task (arXiv 2010.08853, section 6).

The pattern-tree task asks each node for the features at distance 1..d in its computation tree, counted with repetition:
the rows of A^i X, i = 1..d, as log(1 + count). It needs no labels, so large graphs can take part.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vestige.core.batches import Batches
from vestige.core.choices import ChoiceEnum
from vestige.core.cite import Paper
from vestige.core.descent import Descent, fit
from vestige.core.modes import evaluating
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import drawing_from, spawn
from vestige.graphs.graph import Graph, GraphBatch, as_graphs, join
from vestige.graphs.patterns.hashing import SOURCE
from vestige.graphs.patterns.network import GraphNetwork

SCORED = 512  # graphs at a time


class Schedule(ChoiceEnum):
    """How the pattern-tree task takes part: not at all, before the labels, or beside them in equal parts."""

    VANILLA = "vanilla"
    PRETRAIN = "pretrain"
    MULTITASK = "multitask"


@dataclass(frozen=True, eq=False)
class SizeTraining:
    """A trained network.

    Attributes:
        model: of the labels.
        outcome: of the last part of the training.
        loss: of the labels, mean over the last steps.
        tree_loss: of the pattern-tree task, the same; NaN without it.
        source: the paper.
    """

    model: GraphNetwork
    outcome: Outcome
    loss: float
    tree_loss: float
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)


def pattern_tree_targets(graphs: Any, depth: int) -> Float[Tensor, "nodes targets"]:
    """log(1 + A^i X) for i = 1..depth, side by side; X is 1 for each node where there are no features.

    Args:
        graphs: one or a list, as `as_graph` takes them.
        depth: d.

    Raises:
        ValueError: a depth below 1, or features below 0.

    >>> path = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> pattern_tree_targets(path, 2).exp().sub(1).round().tolist()
    [[1.0, 2.0], [2.0, 2.0], [1.0, 2.0]]
    """
    batch = join(as_graphs(graphs))
    if depth < 1:
        raise ValueError(f"depth={depth} given; at least 1 is needed.")
    x = torch.ones(batch.n, 1, dtype=torch.float64) if batch.x is None else batch.x.double()
    if bool((x < 0).any()):
        raise ValueError("features below 0 given; counts of features are needed, such as one column for each class.")
    layers = []
    for _ in range(depth):
        x = torch.zeros_like(x).index_add(0, batch.edges[1], x[batch.edges[0]])
        layers.append(x.log1p())
    return torch.cat(layers, 1)


def train_across_sizes(
    graphs: Any,
    y: Int[Tensor, " graphs"],
    *,
    unlabeled: Any = (),
    few: tuple[Any, Int[Tensor, " few"]] | None = None,
    schedule: Schedule | str = Schedule.VANILLA,
    tree_depth: int = 3,
    width: int = 64,
    layers: int = 3,
    frozen: bool = False,
    steps: int = 1000,
    tree_steps: int = 500,
    batch_size: int = 32,
    learning_rate: float | int = 1e-3,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> SizeTraining:
    """Train a classifier of graphs, with or without the pattern-tree task.

    Args:
        graphs: labeled ones, usually small.
        y: their classes.
        unlabeled: others that take part in the pattern-tree task, usually large.
        few: large graphs with labels (few shots); half of every step's labels are drawn from them.
        schedule: "vanilla", "pretrain" or "multitask".
        tree_depth: d of the pattern-tree task.
        width: of the layers.
        layers: of the network.
        frozen: after "pretrain", whether labels train the last linear map only.
        steps: on labels.
        tree_steps: on the pattern-tree task before, for "pretrain".
        batch_size: graphs in a step.
        learning_rate: of Adam.
        generator: of start and batches; None for seed 0.
        on_step: called with the loss of each step.

    Raises:
        ValueError: not one label for each graph, labels of one class, or "pretrain" and "multitask" without
            unlabeled graphs.
    """
    chosen, labeled = Schedule(schedule), as_graphs(graphs)
    others = as_graphs(unlabeled) if len(unlabeled) else []
    _check(labeled, y, chosen, others)
    features = 1 if labeled[0].x is None else labeled[0].x.shape[1]
    model = GraphNetwork(features, [width] * layers, int(y.max()) + 1, generator=generator).float()
    with drawing_from(spawn(generator, "tree head")):
        head = nn.Linear(width, features * tree_depth).float()
    task = _Labels(model, labeled, y, few, batch_size, spawn(generator, "labels"))
    tree = _Trees(model, head, [*labeled, *others], tree_depth, batch_size, spawn(generator, "trees"))
    plan, before = _Plan(learning_rate, on_step), _Part(Outcome.BUDGET_SPENT, float("nan"))
    body = [p for p in model.parameters() if all(p is not q for q in model.last.parameters())]
    if chosen is Schedule.PRETRAIN:
        before = plan.run([*body, *head.parameters()], tree, tree_steps, "pattern trees")
    trained = [*model.last.parameters()] if frozen and chosen is Schedule.PRETRAIN else [*model.parameters()]
    if chosen is Schedule.MULTITASK:
        found = plan.run([*trained, *head.parameters()], lambda k: task(k) + tree(k), steps, "both")
        with torch.no_grad():
            before, found = _Part(found.outcome, float(tree(0))), _Part(found.outcome, float(task(0)))
    else:
        found = plan.run(trained, task, steps, "labels")
    return SizeTraining(model, found.outcome, found.loss, before.loss)


def _check(labeled: list[Graph], y: Tensor, schedule: Schedule, others: list[Graph]) -> None:
    if len(labeled) != len(y) or len(y.unique()) < 2:
        raise ValueError(
            f"{len(y)} labels of {len(y.unique())} classes for {len(labeled)} graphs given; one for each, of two "
            "classes or more, is needed."
        )
    if schedule is not Schedule.VANILLA and not others:
        raise ValueError(f"{schedule} without unlabeled graphs given; the pattern-tree task needs some of the target.")


@dataclass(frozen=True)
class _Part:
    outcome: Outcome
    loss: float


@dataclass(frozen=True)
class _Plan:
    learning_rate: float
    on_step: OnStep | None

    def run(self, variables: list[nn.Parameter], objective: Any, steps: int, note: str) -> _Part:
        optimizer = torch.optim.Adam(variables, self.learning_rate)
        fitted = fit(objective, Descent(optimizer), steps=steps, on_step=self.on_step, note=note)
        return _Part(fitted.outcome, float(fitted.values[-50:].mean()))


class _Labels:
    def __init__(self, model: GraphNetwork, graphs: list[Graph], y: Tensor, few: Any, size: int, draw: torch.Generator):
        self.model, self.parts = model, [(graphs, y, Batches(len(graphs), size if few is None else size // 2, draw))]
        if few is not None:
            shots = as_graphs(few[0])
            self.parts.append((shots, few[1], Batches(len(shots), min(len(shots), size - size // 2), draw)))

    def __call__(self, k: int) -> Tensor:
        losses = []
        for graphs, y, batches in self.parts:
            index = batches(k)
            losses.append(F.cross_entropy(self.model(_batch(graphs, index)), y[index]))
        return torch.stack(losses).mean()


class _Trees:
    def __init__(
        self, model: GraphNetwork, head: nn.Module, graphs: list[Graph], depth: int, size: int, draw: torch.Generator
    ):
        self.model, self.head, self.graphs, self.depth = model, head, graphs, depth
        self.batches = Batches(len(graphs), size, draw)

    def __call__(self, k: int) -> Tensor:
        chosen = [self.graphs[i] for i in self.batches(k)]
        found = self.head(self.model.nodes(join(chosen)))
        return F.mse_loss(found, pattern_tree_targets(chosen, self.depth).to(found))


def _batch(graphs: list[Graph], index: Tensor) -> GraphBatch:
    return join([graphs[i] for i in index])


def predict_graphs(model: nn.Module, graphs: Any) -> Float[Tensor, "rows out"]:
    """Outputs for many graphs, a batch at a time, without gradients.

    Args:
        model: takes a `GraphBatch`, as `GraphNetwork` does; left as it is.
        graphs: one or a list, as `as_graph` takes them.
    """
    given = as_graphs(graphs)
    with torch.no_grad(), evaluating(model):
        return torch.cat([model(_batch(given, index)) for index in torch.arange(len(given)).split(SCORED)])
