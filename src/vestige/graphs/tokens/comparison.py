"""Which tokens suit a task? One transformer for each kind and depth, several times, on the user's own graphs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from vestige.core.choices import ChoiceEnum
from vestige.core.cite import Paper
from vestige.core.outcome import OnStep, Outcome, Step
from vestige.core.rng import spawn
from vestige.graphs.graph import Graph, as_graphs
from vestige.graphs.scores import class_scores
from vestige.graphs.tokens.fitting import TokenSet, TokenTraining, predictions, train_on_tokens
from vestige.graphs.tokens.kinds import Tokenization, TokenKind, as_tokenization
from vestige.graphs.tokens.tokenizer import SOURCE, tokenize
from vestige.graphs.tokens.transformer import GraphTokenTransformer

KINDS = (TokenKind.SPECTRAL, TokenKind.RANDOM_WALK, TokenKind.ADJACENCY, TokenKind.COMBINED)


class Measure(ChoiceEnum):
    """What a score is."""

    AUC = "auc"
    ACCURACY = "accuracy"
    ERROR = "error"


@dataclass(frozen=True, eq=False)
class GraphTask:
    """Graphs to learn from and others to be judged on.

    Attributes:
        graphs: for training; lists of whatever `as_graph` takes.
        y: integer classes (graphs,), numbers (graphs,), or numbers for each node (graphs, nodes), padded with anything.
        test_graphs: for the score.
        test_y: theirs.

    Raises:
        ValueError: other numbers of labels than of graphs, or labels of one class.
    """

    graphs: Sequence[Any]
    y: Shaped[Tensor, "graphs ..."]
    test_graphs: Sequence[Any]
    test_y: Shaped[Tensor, "tests ..."]

    def __post_init__(self):
        for graphs, y in ((self.graphs, self.y), (self.test_graphs, self.test_y)):
            if len(graphs) != len(y) or not len(y):
                raise ValueError(f"{len(y)} labels for {len(graphs)} graphs given; one for each is needed.")
            if self.classifies and len(y.unique()) < 2:
                raise ValueError("labels of one class given, in training or test; a score of two or more needs both.")

    @property
    def classifies(self) -> bool:
        """Integers are classes."""
        return not self.y.is_floating_point()

    @property
    def node_level(self) -> bool:
        """Whether each node has its number."""
        return self.y.ndim == 2

    @property
    def measure(self) -> Measure:
        """ROC AUC of two classes, accuracy of more, the error of numbers over that of their mean."""
        if not self.classifies:
            return Measure.ERROR
        return Measure.AUC if int(self.y.max()) == 1 else Measure.ACCURACY

    @property
    def constant(self) -> float:
        """What a constant answer scores on the test graphs."""
        if self.measure is Measure.ERROR:
            return 1.0
        return 0.5 if self.measure is Measure.AUC else float((self.test_y == self.y.mode().values).double().mean())

    @property
    def outputs(self) -> int:
        """Logits for classes, one number else."""
        return int(torch.cat([self.y, self.test_y]).max()) + 1 if self.classifies else 1

    @property
    def targets(self) -> tuple[Tensor, Tensor]:
        """Classes as they are; numbers less the mean of those for training, over their deviation."""
        if self.classifies:
            return self.y, self.test_y
        sizes = torch.tensor([g.n for g in as_graphs(self.graphs)])
        kept = torch.arange(self.y.shape[1]) < sizes[:, None] if self.node_level else torch.ones_like(self.y).bool()
        mean, deviation = self.y[kept].mean(), self.y[kept].std().clamp(min=1e-12)
        return (self.y - mean) / deviation, (self.test_y - mean) / deviation

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What the split means for a score."""
        train, test = as_graphs(self.graphs), as_graphs(self.test_graphs)
        seen = {_key(graph) for graph in train}
        same = sum(_key(graph) in seen for graph in test)
        notes = [f"{same} of {len(test)} test graphs are also among those for training, node by node."] if same else []
        most, larger = max(g.n for g in train), max(g.n for g in test)
        if larger > most:
            notes.append(
                f"test graphs have up to {larger} nodes and those for training {most}: weights of the columns between "
                "are never trained."
            )
        return tuple(notes)


def _key(graph: Graph) -> tuple[int, bytes, bytes]:
    return graph.n, graph.edges.numpy().tobytes(), b"" if graph.x is None else graph.x.numpy().tobytes()


@dataclass(frozen=True)
class TokenScore:
    """One kind of tokens at one depth.

    Attributes:
        how: the tokens were made.
        depth: blocks of the transformer.
        width: of a token.
        scores: on the test graphs, one for each repeat; NaN where training failed.
        train_score: on the training graphs, mean.
    """

    how: Tokenization
    depth: int
    width: int
    scores: tuple[float, ...]
    train_score: float

    @property
    def mean(self) -> float:
        """Of the repeats."""
        return sum(self.scores) / len(self.scores)

    @property
    def std(self) -> float:
        """Of the repeats; 0 for one."""
        return float(torch.tensor(self.scores).std()) if len(self.scores) > 1 else 0.0


@dataclass(frozen=True)
class TokenComparison:
    """All of them.

    Attributes:
        rows: in the order of the tokenizations, then of the depths.
        measure: "auc", "accuracy", or "error": mean absolute error over that of the training mean.
        constant: what a constant answer scores.
        warnings: about graphs, split and trainings.
        source: the paper.
    """

    rows: tuple[TokenScore, ...]
    measure: Measure
    constant: float
    warnings: tuple[str, ...]
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)

    def best(self) -> TokenScore:
        """Highest mean, or lowest error."""
        sign = -1 if self.measure is Measure.ERROR else 1
        return max(self.rows, key=lambda row: sign * row.mean)


def compare_tokenizations(
    task: GraphTask,
    *,
    tokenizations: Sequence[Tokenization | TokenKind | str] = KINDS,
    depths: Sequence[int] = (1, 2),
    hidden: int = 64,
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float | int = 1e-3,
    weight_decay: float | int = 1e-4,
    dropout: float = 0.1,
    repeats: int = 3,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> TokenComparison:
    """Train a `GraphTokenTransformer` for each tokenization and depth, and score its last state on the test graphs.

    AdamW with a cosine schedule and gradients of norm at most 1, as published but for the schedule. Features of nodes
    stand beside the tokens. Nothing is chosen on the test graphs.

    Args:
        task: graphs and labels.
        tokenizations: kinds by name, or `Tokenization`s.
        depths: blocks.
        hidden: width of the blocks.
        steps: of each training.
        batch_size: graphs in a step.
        learning_rate: at the start.
        weight_decay: of AdamW.
        dropout: in the blocks.
        repeats: trainings of each, from different starts.
        generator: of starts, batches, signs and R; None for seed 0.
        on_step: called after each training, with its score.

    Raises:
        ValueError: as `tokenize`, or no repeat.
    """
    if repeats < 1 or not depths or not tokenizations:
        raise ValueError(f"{repeats} repeats, depths {list(depths)} given; at least one of each is needed.")
    graphs = (as_graphs(task.graphs), as_graphs(task.test_graphs))
    size = max(g.n for part in graphs for g in part)
    plan = TokenTraining(steps, batch_size, learning_rate, weight_decay)
    rows, notes, total = [], list(task.warnings), len(tokenizations) * len(depths) * repeats
    for how in map(as_tokenization, tokenizations):
        parts = [tokenize(part, how, size=size, generator=spawn(generator, "tokens")) for part in graphs]
        notes += [f"{how.kind}: {note}" for note in dict.fromkeys(n for part in parts for n in part.warnings)]
        train, test = (TokenSet(t, g, y) for t, g, y in zip(parts, graphs, task.targets, strict=True))
        for depth in depths:
            scores = []
            for repeat in range(repeats):
                draw = spawn(generator, str(how), str(depth), str(repeat))
                sizes = {"hidden": hidden, "depth": depth, "dropout": dropout, "node_level": task.node_level}
                model = GraphTokenTransformer(train.width, task.outputs, **sizes, generator=draw).float()
                good = train_on_tokens(model, train, plan, draw) is not Outcome.NOT_FINITE
                scores.append([_score(model, part, task) if good else math.nan for part in (train, test)])
                if on_step is not None:
                    on_step(Step(len(rows) * repeats + repeat + 1, total, scores[-1][1], f"{how.kind}, depth {depth}"))
            fitted, found = zip(*scores, strict=True)
            rows.append(TokenScore(how, depth, parts[0].width, found, sum(fitted) / repeats))
    failed = sum(math.isnan(score) for row in rows for score in row.scores)
    notes += [f"{failed} trainings ended at a value that is not finite; their scores are NaN."] if failed else []
    return TokenComparison(tuple(rows), task.measure, task.constant, tuple(notes))


def _score(model: nn.Module, data: TokenSet, task: GraphTask) -> float:
    found = predictions(model, data)
    if task.measure is Measure.ERROR:
        kept = data.mask if task.node_level else torch.ones(len(data.y), dtype=torch.bool)
        return float((found - data.y)[kept].abs().mean() / data.y[kept].abs().mean())
    scores = class_scores(found, data.y)
    return scores.accuracy if scores.auc is None else scores.auc
