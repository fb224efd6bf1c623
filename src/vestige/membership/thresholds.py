"""What outputs alone say of membership: thresholds on loss, confidence and entropy, as peers to compare with.

Modified entropy is from arXiv 2003.10595, the scaled confidence from arXiv 2112.03570.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vestige.core.choices import ChoiceEnum
from vestige.core.margins import Loss, Outputs, as_rows, check_labels, signs, targets
from vestige.membership.taps import evaluation_copy


class Threshold(ChoiceEnum):
    """Minus the loss, log(p_y / (1 - p_y)), minus the entropy of p, or minus an entropy that knows y."""

    LOSS = "loss"
    CONFIDENCE = "confidence"
    ENTROPY = "entropy"
    MODIFIED_ENTROPY = "modified_entropy"


def threshold_scores(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, "n ..."],
    *,
    loss: Loss | str,
    kind: Threshold | str = "loss",
    batch_size: int = 256,
) -> Float[Tensor, " n"]:
    """Scores that need the network's outputs only; larger speaks for a member.

    Args:
        model: the trained network, evaluated in evaluation mode.
        x: candidates, model space.
        y: their labels, or targets of a squared loss.
        loss: of the training.
        kind: "loss", or with classes "confidence", "entropy" or "modified_entropy".
        batch_size: samples that are run together; memory only.

    Raises:
        ValueError: labels that do not fit, or an entropy of a squared loss.

    >>> identity = nn.Identity()
    >>> scores = threshold_scores(identity, torch.tensor([[2.0, 0.0]]), torch.tensor([1]), loss="cross_entropy",
    ...     kind="confidence")
    >>> scores.tolist()
    [-2.0]
    """
    loss, kind = Loss(loss), Threshold(kind)
    rows = outputs_of(model, x, batch_size)
    if kind is Threshold.LOSS:
        return -sample_losses(rows, y.to(rows.device), loss)
    if not loss.is_margin:
        raise ValueError(f"kind={kind.value!r} given for loss {loss.value!r}, which has no classes; take kind='loss'.")
    confidence, log_p = confidences(rows, y.to(rows.device)), _log_probabilities(rows)
    if kind is Threshold.CONFIDENCE:
        return confidence
    if kind is Threshold.ENTROPY:
        return (log_p.exp() * log_p).nan_to_num(0.0).sum(1)
    own = _own(rows, y.to(rows.device))
    others = (log_p.exp() * torch.log1p(-log_p.exp())).masked_fill(own, 0.0)
    return F.logsigmoid(confidence) * torch.sigmoid(-confidence) + others.sum(1).clamp(min=-1e300)


def outputs_of(model: nn.Module, x: Float[Tensor, "n ..."], batch_size: int) -> Float[Tensor, "n out"]:
    """Outputs in float64, of a copy in evaluation mode."""
    net = evaluation_copy(model)
    like = next(net.parameters(), x)
    with torch.no_grad():
        return torch.cat([as_rows(net(part.to(like.device, like.dtype))).double() for part in x.split(batch_size)])


def sample_losses(outputs: Outputs, y: Shaped[Tensor, "n ..."], loss: Loss) -> Float[Tensor, " n"]:
    """The loss of each sample; logistic for one output."""
    rows = as_rows(outputs)
    match loss:
        case Loss.MSE:
            return (rows - targets(y, rows)).square().mean(1)
        case Loss.HUBER:
            return F.huber_loss(rows, targets(y, rows), reduction="none").mean(1)
        case Loss.EXPONENTIAL:
            return torch.exp(-confidences(rows, y))
        case _:
            return F.softplus(-confidences(rows, y))


def confidences(outputs: Outputs, y: Shaped[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """log(p_y / (1 - p_y)), exact where p_y rounds to 1: f_y - log sum_{j != y} exp f_j, or y f for one output."""
    rows = as_rows(outputs)
    own = _own(rows, y)
    if rows.shape[1] == 1:
        return signs(y) * rows[:, 0]
    return rows[own] - rows.masked_fill(own, -torch.inf).logsumexp(1)


def _own(rows: Tensor, y: Tensor) -> Tensor:
    check_labels(y, *rows.shape)
    if rows.shape[1] == 1:
        return torch.stack([signs(y) < 0, signs(y) > 0], 1)
    return F.one_hot(y.long(), rows.shape[1]).bool()


def _log_probabilities(rows: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(rows), rows], 1).log_softmax(1) if rows.shape[1] == 1 else rows.log_softmax(1)
