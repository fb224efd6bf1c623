"""What trivial rules get on a benchmark of labeled graphs: to be printed beside whatever a network gets."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Int, Num
from torch import Tensor

from vestige.core.cite import Paper, paper
from vestige.core.rng import spawn


@dataclass(frozen=True, eq=False, kw_only=True)
class LeakAudit:
    """Accuracy of each rule on graphs that its threshold was not chosen on.

    Attributes:
        rules: by name; each is a threshold on one number, and "majority" is the more frequent label.
        worst: the name of the rule that does best.
    """

    rules: dict[str, float]
    worst: str
    source: tuple[Paper, ...] = field(default=(paper("2503.01805"),), repr=False)

    def __str__(self) -> str:
        """One line for each rule, the best first."""
        best = sorted(self.rules.items(), key=lambda pair: -pair[1])
        return "\n".join(f"{name}: {accuracy:.3f}" for name, accuracy in best)


def leak_audit(
    x: Num[Tensor, "graphs n n"], y: Int[Tensor, " graphs"], *, generator: torch.Generator | None = None
) -> LeakAudit:
    """Learn each trivial rule on half of the graphs, and score it on the other half.

    The rules: number of edges, of nodes with an edge, mean, smallest and largest degree, nodes without an edge, whether
    a cut between two node numbers has no edge across it (what contiguous components leave), and the majority.

    Args:
        x: adjacency matrices; smaller graphs are padded with zeros at the end.
        y: labels, 0 and 1.
        generator: of the split; None for seed 0.

    Raises:
        ValueError: labels other than 0 and 1, or only one of them in a half.

    >>> cut = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
    >>> path = torch.tensor([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]])
    >>> leak_audit(torch.stack([cut, path] * 20), torch.arange(40) % 2).rules["contiguous cut"]
    1.0
    """
    order = torch.randperm(len(x), generator=spawn(generator, "halves"))
    seen, new = order[: len(x) // 2], order[len(x) // 2 :]
    if not set(y.tolist()) <= {0, 1} or len(y[seen].unique()) < 2 or len(y[new].unique()) < 2:
        raise ValueError(f"labels {sorted(set(y.tolist()))[:5]} of {len(y)} graphs given; both 0 and 1 in each half.")
    numbers = _numbers(x.double())
    rules = {name: _rule(value, y, seen, new) for name, value in numbers.items()}
    more = int(2 * int(y[seen].sum()) >= len(seen))
    rules["majority"] = float((y[new] == more).double().mean())
    return LeakAudit(rules=rules, worst=max(rules, key=lambda name: rules[name]))


def _numbers(x: Tensor) -> dict[str, Tensor]:
    degree = x.sum(2)
    there = (degree > 0) | (x.sum(1) > 0)
    last = torch.where(there, torch.arange(x.shape[1]) + 1, 0).amax(1).clamp(min=1)
    inside = torch.arange(x.shape[1]) < last[:, None]
    nodes = there.sum(1).clamp(min=1)
    return {
        "edges": degree.sum(1) / 2,
        "nodes": last.double(),
        "mean degree": degree.sum(1) / nodes,
        "smallest degree": torch.where(inside, degree, torch.inf).amin(1),
        "largest degree": degree.amax(1),
        "nodes without an edge": (inside & ~there).sum(1).double(),
        "contiguous cut": _cuts(x, last),
    }


def _cuts(x: Tensor, last: Tensor) -> Tensor:
    """Cuts after node k that no edge crosses."""
    found = torch.zeros(len(x), dtype=torch.float64)
    for k in range(1, x.shape[1]):
        across = x[:, :k, k:].sum((1, 2)) + x[:, k:, :k].sum((1, 2))
        found += (across == 0) & (k < last)
    return found


def _rule(value: Tensor, y: Tensor, seen: Tensor, new: Tensor) -> float:
    """The best threshold, either way round."""
    places = value[seen].unique()
    cuts = torch.cat([places[:1] - 1, (places[1:] + places[:-1]) / 2])
    above = value[seen, None] > cuts
    right = (above == (y[seen, None] == 1)).double().mean(0)
    best = int((right - 0.5).abs().argmax())
    guess = (value[new] > cuts[best]) == bool(right[best] >= 0.5)
    return float((guess == (y[new] == 1)).double().mean())
