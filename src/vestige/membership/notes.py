"""What a reader should know before believing scores."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from vestige.core.margins import as_rows, predict, signs, targets
from vestige.membership.blind import CLEAR
from vestige.membership.choice import FEWEST, SET_ASIDE
from vestige.membership.pool import Pool
from vestige.membership.rows import Rows, Samples


def notes(
    model: nn.Module, samples: Samples, pool: Pool, rows: dict[str, Rows], blind: tuple[float, float] | None
) -> tuple[str, ...]:
    """Everything about the data and the network that limits what the scores mean.

    Args:
        model: as it was given.
        samples: the pool, with the network in evaluation mode.
        pool: the same, candidates first.
        rows: of the layers that are looked at.
        blind: AUC without the network and its standard errors above 1/2; None without reference.
    """
    return (*_of_data(samples, pool, blind), *_of_network(model, pool, rows))


def _of_data(samples: Samples, pool: Pool, blind: tuple[float, float] | None) -> Iterator[str]:
    if blind is None:
        yield "no reference: scores rank the candidates, but nothing says which of them are above chance."
    elif blind[1] > CLEAR:
        yield (
            f"candidates and reference differ without the network (AUC {blind[0]:.2f}): they are of two distributions, "
            "or on two scales, and a small p-value may mean that and not membership. Draw both from one source."
        )
    if pool.unseen and int(SET_ASIDE * pool.unseen) < FEWEST:
        yield (
            f"{pool.unseen} reference samples are too few to weigh layers; the first alone is looked at, "
            f"and no p-value is below {1 / (pool.unseen + 1):.2g}."
        )
    repeated = len(pool.of_candidate) - pool.candidates
    if repeated:
        yield f"{repeated} candidates equal another one; each group has one score."
    if not pool.y.is_floating_point() and len(pool.y[: pool.candidates].unique()) == 1 and pool.candidates > 1:
        yield "all candidates have one label; a reference with others is of another distribution."
    right, chance = _fit(samples, pool)
    if not right > chance:
        yield (
            f"the network fits the candidates no better than a constant ({right:.2f} against {chance:.2f}): are labels "
            "and scale those that it was trained on?"
        )


@torch.no_grad()
def _fit(samples: Samples, pool: Pool) -> tuple[float, float]:
    """Accuracy on the candidates and that of their commonest label; explained variance and 0 for targets."""
    outputs = torch.cat([as_rows(samples.net(copies[0])) for _, copies, _ in samples.batches()])[: pool.candidates]
    y = pool.y[: pool.candidates].to(outputs.device)
    if y.is_floating_point():
        goal = targets(y, outputs)
        return 1 - ((outputs - goal).square().sum() / (goal - goal.mean(0)).square().sum()).item(), 0.0
    y = (signs(y) > 0).long() if outputs.shape[1] == 1 else y.long()
    return _mean(predict(outputs) == y), 1.2 * _mean(y == y.mode().values) if len(y.unique()) > 1 else 0.0


def _mean(hits: Tensor) -> float:
    return hits.double().mean().item()


def _of_network(model: nn.Module, pool: Pool, rows: dict[str, Rows]) -> Iterator[str]:
    if model.training and any(isinstance(m, _BatchNorm | _DropoutNd) for m in model.modules()):
        yield "the model is in training mode; its BatchNorm or Dropout was evaluated in evaluation mode, on a copy."
    for name, each in rows.items():
        if len(pool.x) > len(each.weights):
            yield (
                f"{len(pool.x):,} samples share the {len(each.weights):,} weights of layer {name!r}: their gradients "
                "are linearly dependent, and it tells less about each."
            )
