"""Are a network's embeddings superpositions of its attribute vectors, and do others like them work too?"""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from vestige.construct.transformer.recall.facts import check_facts, questions
from vestige.construct.transformer.recall.network import RecallNetwork, recall_network
from vestige.core.cite import Paper, paper
from vestige.core.descent import Descent, fit
from vestige.core.outcome import OnStep
from vestige.core.rng import spawn

RIDGE = 1e-3
PENALTIES = tuple(10.0**k for k in range(-5, 4))  # of the mean square of a feature


@dataclass(frozen=True, eq=False, kw_only=True)
class Superposition:
    """e_s = sum_r A_r u_{g_r(s)} + c, fitted by least squares.

    Attributes:
        r2: share of the variance of held-out subjects' embeddings that it explains.
        shuffled_r2: the same with the facts of random other tables, which must explain nothing.
        probes: for each relation the share of held-out subjects whose attribute is nearest to a linear probe's guess.
        maps: A_r, (relations, dim, size), from all subjects.
        offset: c.
    """

    r2: float
    shuffled_r2: float
    probes: tuple[float, ...]
    maps: Float[Tensor, "relations dim size"]
    offset: Float[Tensor, " dim"]
    source: tuple[Paper, ...] = field(default=(paper("2605.12426"),), repr=False)


def fit_superposition(
    embeddings: Float[Tensor, "n dim"],
    attributes: Float[Tensor, "n size"],
    facts: Int[Tensor, "n relations"],
    *,
    test_share: float = 0.2,
    shrink: bool = True,
    generator: torch.Generator | None = None,
) -> Superposition:
    """Regress embeddings of subjects on the vectors of their attributes, and the other way round.

    Maps by plain least squares read a network whose embeddings are no superpositions too: of random keys in an MLP,
    M_r = sum_s u_{g_r(s)} e_s^T, they are A_r = sum_s e_s u_{g_r(s)}^T G^-1, so that M_r A_r is nearly 1. What such
    maps say of a subject that was left out is worse than the mean, and so they shrink to 0.

    Args:
        embeddings: of subjects.
        attributes: their vectors, such as rows of the unembedding.
        facts: which subject has which attribute.
        test_share: share of subjects that the scores are taken on, between 0 and 1.
        shrink: take the maps that predict a subject left out best, none where the mean does better; False for least
            squares. Scores are of least squares in any case.
        generator: of the split and of the shuffled facts; None for seed 0.

    Raises:
        ValueError: so few subjects that anything would fit, or no table of facts.

    Source: arXiv 2605.12426, Section 5; ridge, shrinkage and split are ours.
    """
    check_facts(facts)
    n, relations = facts.shape
    seen, unknowns = n - round(test_share * n), relations * attributes.shape[1] + 1
    if not 0 < test_share < 1 or seen < 2 * unknowns or seen == n:
        raise ValueError(
            f"{n} subjects, test_share={test_share} given; {unknowns} coefficients for each coordinate take at least "
            f"{2 * unknowns} subjects beside those held out: with fewer anything fits."
        )
    order = torch.randperm(n, generator=spawn(generator, "split"))
    parts = order[:seen], order[seen:]
    e, u = embeddings.double(), attributes.double()
    draw = spawn(generator, "shuffled")
    others = torch.stack([torch.randperm(n, generator=draw) for _ in range(relations)], 1)
    solved = _shrunk(_features(u, facts), e) if shrink else _solved(_features(u, facts), e)
    return Superposition(
        r2=_r2(_features(u, facts), e, parts),
        shuffled_r2=_r2(_features(u, others), e, parts),
        probes=tuple(_probe(e, u, facts[:, r], parts) for r in range(relations)),
        maps=solved[:-1].reshape(relations, attributes.shape[1], -1).transpose(1, 2).to(embeddings),
        offset=solved[-1].to(embeddings),
    )


def superposed(
    found: Superposition, attributes: Float[Tensor, "n size"], facts: Int[Tensor, "n relations"]
) -> Float[Tensor, "n dim"]:
    """Embeddings for any table of facts: sum_r A_r u_{g_r(s)} + c."""
    return torch.einsum("rds,nrs->nd", found.maps, attributes[facts]) + found.offset


def transferred_accuracy(
    model: nn.Module,
    found: Superposition,
    facts: Int[Tensor, "n relations"],
) -> float:
    """Share of the facts of a *new* table that the network recalls with superpositions in the place of its embeddings.

    The MLP, the relations and the attributes stay: chance is 1 / n, which maps that have shrunk to 0 get exactly.

    Args:
        model: that was trained on another table.
        found: its superposition.
        facts: the new table.

    Raises:
        ValueError: another module.
    """
    network, asked = recall_network(model), questions(facts, 1)
    with torch.no_grad():
        logits = _logits(network, superposed(found, network.attribute, facts), asked)
    return float((logits.argmax(1) == facts.flatten()).double().mean())


def refine_maps(
    model: nn.Module,
    found: Superposition,
    *,
    steps: int = 300,
    learning_rate: float | int = 3e-3,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Superposition:
    """The maps A_r at which the network recalls random tables best, from the fitted ones on; nothing else is trained.

    Each step draws tables of its own, so that no table of facts can be learned: what is found is what the MLP takes
    for a superposition. A table that a score is taken on is not among them.

    Args:
        model: trained; it stays as it is.
        found: where the maps start.
        steps: of Adam, each on a new random table.
        learning_rate: at the start; it falls to 0.
        generator: of the tables; None for seed 0.
        on_step: told the loss.

    Raises:
        ValueError: another module.
    """
    network = recall_network(model)
    n, relations = len(network.subject), len(network.relation)
    maps, offset = (t.clone().requires_grad_() for t in (found.maps, found.offset))
    optimizer = torch.optim.Adam([maps, offset], lr=learning_rate)
    draw = spawn(generator, "tables")

    def objective(k: int) -> Tensor:
        inner = spawn(draw, str(k))
        facts = torch.stack([torch.randperm(n, generator=inner) for _ in range(relations)], 1)
        embeddings = torch.einsum("rds,nrs->nd", maps, network.attribute[facts]) + offset
        return functional.cross_entropy(_logits(network, embeddings, questions(facts, 1)), facts.flatten())

    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    fit(objective, Descent(optimizer, schedule), steps=steps, on_step=on_step, note="maps")
    return replace(found, maps=maps.detach(), offset=offset.detach())


def _logits(model: RecallNetwork, embeddings: Tensor, asked: Tensor) -> Tensor:
    return model.from_stream(embeddings[asked[:, 1]] + model.relation[asked[:, 0] - len(embeddings)])


def _features(attributes: Tensor, facts: Tensor) -> Tensor:
    return torch.cat([attributes[facts].flatten(1), torch.ones(len(facts), 1).to(attributes)], 1)


def _solved(x: Tensor, y: Tensor) -> Tensor:
    return torch.linalg.solve(x.T @ x + RIDGE * torch.eye(x.shape[1]).to(x), x.T @ y)


def _shrunk(x: Tensor, y: Tensor) -> Tensor:
    """Ridge regression whose penalty predicts each row from the others best, or the mean where that predicts better.

    y_i - y_i without i = residual_i / (1 - H_ii),     H = X (X^T X + p)^-1 X^T + 1 / n, of centered X
    """
    n, size = x.shape
    middle, mean = x[:, :-1].mean(0), y.mean(0)
    x, y = x[:, :-1] - middle, y - mean
    best, maps = float((y * n / (n - 1)).square().sum()), torch.zeros(size - 1, y.shape[1]).to(y)
    unit = x.square().sum(0).mean() * torch.eye(size - 1).to(x)
    for penalty in PENALTIES:
        inverse = torch.linalg.inv(x.T @ x + penalty * unit)
        found, leverage = inverse @ x.T @ y, (x @ inverse * x).sum(1, keepdim=True) + 1 / n
        error = float(((y - x @ found) / (1 - leverage)).square().sum())
        if error < best:
            best, maps = error, found
    return torch.cat([maps, (mean - middle @ maps)[None]])


def _r2(x: Tensor, y: Tensor, parts: tuple[Tensor, Tensor]) -> float:
    seen, new = parts
    left = y[new] - x[new] @ _solved(x[seen], y[seen])
    return 1 - float(left.square().sum() / (y[new] - y[seen].mean(0)).square().sum())


def _probe(e: Tensor, u: Tensor, facts: Tensor, parts: tuple[Tensor, Tensor]) -> float:
    seen, new = parts
    x = torch.cat([e, torch.ones_like(e[:, :1])], 1)
    guess = x[new] @ _solved(x[seen], u[facts[seen]])
    return float((torch.cdist(guess, u).argmin(1) == facts[new]).double().mean())
