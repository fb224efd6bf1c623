"""Sequences in which true facts keep company (arXiv 2510.15804, section 3): x y x' y'.

Subjects x and x' are uniform, g maps each to its attribute. T is true with chance rho. If T: y = g(x), y' = g(x'). If
not: y and y' are uniform attributes, right by accident with chance 1/n. A model that keeps T predicts y' better.
"""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vestige.core.cite import Paper, paper
from vestige.core.rng import spawn

SOURCE = (paper("2510.15804"),)


@dataclass(frozen=True, eq=False)
class TruthSequences:
    """Sequences with what made them.

    Attributes:
        tokens: x, y, x', y'; subjects are 0..n-1, attributes n..2n-1.
        first: T of the first fact.
        second: of the second; the same but for the control.
    """

    tokens: Int[Tensor, "count 4"]
    first: Bool[Tensor, " count"]
    second: Bool[Tensor, " count"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TruthCoOccurrence:
    """The law of the sequences.

    Attributes:
        n: subjects, and as many attributes.
        rho: chance of T.
        independent: the control: each fact has a T of its own, so that the first says nothing about the second.
        exclude_collisions: a false attribute is never right by accident.
        coherent: a false attribute is that of one fixed wrong map, the same each time.
        generator: of g; None for seed 0.
        source: the paper.

    Raises:
        ValueError: fewer than 2 subjects, or a rho outside [0, 1].

    >>> law = TruthCoOccurrence(n=8, rho=1.0)
    >>> drawn = law.draw(5)
    >>> bool((law.g[drawn.tokens[:, 0]] + 8 == drawn.tokens[:, 1]).all())
    True
    """

    n: int
    rho: float
    independent: bool = False
    exclude_collisions: bool = False
    coherent: bool = False
    generator: torch.Generator | None = None
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)

    def __post_init__(self):
        if self.n < 2 or not 0 <= self.rho <= 1:
            raise ValueError(f"n={self.n}, rho={self.rho} given; at least 2 subjects, and rho in [0, 1], are needed.")

    @cached_property
    def g(self) -> Int[Tensor, " n"]:
        """Attribute of each subject, 0..n-1."""
        return torch.randperm(self.n, generator=spawn(self.generator, "facts"))

    def draw(self, count: int, *, rho: float | None = None, generator: torch.Generator | None = None) -> TruthSequences:
        """Sequences.

        Args:
            count: how many.
            rho: another chance of T, such as 0.5 to evaluate; None for the law's own.
            generator: reads its seed only; None for seed 0.
        """
        draw, n = spawn(generator, "sequences"), self.n
        chance = self.rho if rho is None else rho
        first = torch.rand(count, generator=draw) < chance
        second = torch.rand(count, generator=draw) < chance if self.independent else first
        x = torch.randint(n, (count, 2), generator=draw)
        right = self.g[x]
        if self.coherent:
            wrong = (right + 1) % n
        elif self.exclude_collisions:
            wrong = (right + torch.randint(1, n, (count, 2), generator=draw)) % n
        else:
            wrong = torch.randint(n, (count, 2), generator=draw)
        y = n + torch.where(torch.stack([first, second], 1), right, wrong)
        return TruthSequences(torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1), first, second)

    def balanced(self) -> "TruthCoOccurrence":
        """The same facts with rho = 1/2 and one T for both, on which models are evaluated."""
        return replace(self, rho=0.5, independent=False)

    @property
    def accident(self) -> float:
        """Chance that a false attribute is right."""
        return 0.0 if self.exclude_collisions or self.coherent else 1 / self.n

    @property
    def ceiling(self) -> float:
        """Largest AUC of telling T from x and y, at rho = 1/2: a false fact that is right by accident looks true."""
        return 1 - self.accident / 2

    @property
    def p_right(self) -> float:
        """Chance that an attribute is right: the best guess without context."""
        return self.rho + (1 - self.rho) * self.accident

    @property
    def loss_gap(self) -> float:
        """How much lower the loss at y' is, in nats, for a model that knows T; it tends to the entropy of T.

        >>> gap = TruthCoOccurrence(n=10**6, rho=0.8).loss_gap
        >>> round(gap, 3), round(-0.8 * math.log(0.8) - 0.2 * math.log(0.2), 3)
        (0.5, 0.5)
        """
        wrongs = 1 if self.coherent else self.n - 1
        each = (1 - self.rho) * (1 - self.accident) / wrongs
        unknown = -_xlogx(self.p_right) - wrongs * _xlogx(each)
        choices = 1 if self.coherent else self.n - 1 if self.exclude_collisions else self.n
        return unknown - (1 - self.rho) * math.log(choices)


def _xlogx(p: float) -> float:
    return p * math.log(p) if p > 0 else 0.0
