"""The rank that each attention head of a model uses (arXiv 2407.16153)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vestige.construct.transformer.blocks import Head
from vestige.core.cite import Paper, paper

NAMES = (("query", "key"), ("q_proj", "k_proj"), ("q_lin", "k_lin"), ("q", "k"))
COUNTS = ("num_attention_heads", "num_heads", "n_heads")


@dataclass(frozen=True, kw_only=True)
class HeadRank:
    """One head's query-key form, W_Q^T W_K, a square matrix of the model's width.

    Attributes:
        name: module and number of the head.
        dim: width of the model, which a form of full rank has.
        size: width of the head, which bounds the rank.
        rank: singular values that floating point tells from 0.
        effective: exp of the entropy of the singular values, scaled to sum 1; between 1 and the rank.
        stable: sum of the squared singular values over the largest one squared.
        heads: of the module.
    """

    name: str
    dim: int
    size: int
    rank: int
    effective: float
    stable: float
    heads: int


@dataclass(frozen=True, eq=False)
class RankAudit:
    """The heads of a model.

    Attributes:
        heads: in order.
        warnings: what a reader must know.
    """

    heads: tuple[HeadRank, ...]
    warnings: tuple[str, ...] = ()
    source: tuple[Paper, ...] = field(default=(paper("2407.16153"),), repr=False)

    @property
    def full_rank(self) -> int:
        """How many heads have a form of full rank, which finding the nearest of two points takes."""
        return sum(head.rank == head.dim for head in self.heads)


def rank_audit(model: nn.Module) -> RankAudit:
    """Numerical, effective and stable rank of the query-key form of every attention head.

    Heads of rank r < d cannot be made up for by their number where a task asks for the inner product of whole vectors:
    `rank_lower_bound` says how many it would take. Biases and rotary positions are not part of the form.

    Args:
        model: any module with `nn.MultiheadAttention`, with pairs of linear layers named query and key, or q_proj and
            k_proj, beside a number of heads; or a constructed transformer.

    Raises:
        ValueError: no attention is found.

    >>> audit = rank_audit(nn.MultiheadAttention(8, 2))
    >>> [(head.size, head.rank) for head in audit.heads], audit.full_rank
    ([(4, 4), (4, 4)], 0)
    """
    found = tuple(head for name, module in model.named_modules() for head in _heads(name or "model", module))
    if not found:
        raise ValueError(
            f"a {type(model).__name__} without attention given; nn.MultiheadAttention, or linear layers named query "
            "and key (q_proj and k_proj) beside a number of heads, are read."
        )
    small = sum(head.size < head.dim for head in found)
    warning = f"{small} of {len(found)} heads are narrower than the model, so that their forms cannot have full rank."
    return RankAudit(found, (warning,) if small else ())


def _heads(name: str, module: nn.Module) -> Iterator[HeadRank]:
    if isinstance(module, Head):
        yield _ranked(name, module.query.weight, module.key.weight, 1)
        return
    pair = _pair(module)
    if pair is None:
        return
    query, key, heads = pair
    size = len(query) // heads
    for number in range(heads):
        group = number * len(key) // len(query)  # several queries may share a key
        q, k = (weight[size * place : size * (place + 1)] for weight, place in ((query, number), (key, group)))
        yield _ranked(f"{name}, head {number}", q, k, heads)


def _pair(module: nn.Module) -> tuple[Tensor, Tensor, int] | None:
    """Stacked query and key weights, and how many heads they hold."""
    if isinstance(module, nn.MultiheadAttention):
        if module.in_proj_weight is None:
            return module.q_proj_weight, module.k_proj_weight, module.num_heads
        query, key, _ = module.in_proj_weight.chunk(3)
        return query, key, module.num_heads
    places = (module, getattr(module, "config", None))
    heads = next((n for place in places for c in COUNTS if isinstance(n := getattr(place, c, None), int)), None)
    for names in NAMES:
        query, key = (getattr(module, n, None) for n in names)
        if heads and isinstance(query, nn.Linear) and isinstance(key, nn.Linear) and query.out_features % heads == 0:
            return query.weight, key.weight, heads
    return None


def _ranked(name: str, query: Tensor, key: Tensor, heads: int) -> HeadRank:
    """Singular values of Q^T K from the small factors of both."""
    factors = (torch.linalg.qr(weight.detach().double().T, mode="r")[1] for weight in (query, key))
    left, right = factors
    values = torch.linalg.svdvals(left @ right.T)
    least = values.max() * max(query.shape[1], len(values)) * torch.finfo(query.dtype).eps
    share = values / values.sum()
    entropy = -torch.special.xlogy(share, share).sum()
    known = bool(values.max() > 0)
    return HeadRank(
        name=name,
        dim=query.shape[1],
        size=len(query),
        rank=int((values > least).sum()),
        effective=float(entropy.exp()) if known else 0.0,
        stable=float(values.square().sum() / values.max().square()) if known else 0.0,
        heads=heads,
    )
