"""Output cotangents from a loss: the c in theta = sum_i c_i . grad_theta f(theta; x_i).

Without weight decay a margin loss leads to c_i = lambda_i y_i (binary) or sum_j lambda_ij (e_y - e_j) (multiclass),
lambda >= 0 (arXiv 1906.05890, 2305.03350). With weight decay every loss gives c_i = -l'(f(x_i), y_i) / (n wd)
(arXiv 2307.01827). Losses follow torch's `mean` reductions, so they agree with the training code of a user.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from vestige.core.choices import ChoiceEnum


class Loss(ChoiceEnum):
    """Training losses. Cross-entropy on a single output is the logistic loss; Huber has delta 1."""

    LOGISTIC = "logistic"
    EXPONENTIAL = "exponential"
    CROSS_ENTROPY = "cross_entropy"
    MSE = "mse"
    HUBER = "huber"

    @property
    def is_margin(self) -> bool:
        """Whether training without weight decay maximizes a margin."""
        return self not in (Loss.MSE, Loss.HUBER)


Outputs = Float[Tensor, " n *out"]
Rows = Float[Tensor, "n out"]


def as_rows(outputs: Outputs) -> Rows:
    """Outputs (n,) or (n, out) as (n, out); refuses higher ranks and values that are not finite."""
    if outputs.ndim not in (1, 2) or outputs.numel() == 0:
        raise ValueError(
            f"the model returned shape {tuple(outputs.shape)}; allowed are (n,), (n, 1) and (n, classes), n >= 1."
        )
    if not bool(torch.isfinite(outputs).all()):
        raise ValueError("the model returned NaN or infinite outputs; are its weights or the inputs damaged?")
    return outputs.reshape(len(outputs), -1)


def check_labels(y: Shaped[Tensor, " *shape"], n: int, out: int) -> None:
    """Refuse class labels that do not fit n samples and `out` outputs.

    Raises:
        ValueError: wrong shape or dtype, or values other than {0, 1} or {-1, 1} (one output) or 0..out-1 (several).
    """
    if tuple(y.shape) not in ((n,), *(((n, 1),) if out == 1 else ())):
        raise ValueError(
            f"labels have shape {tuple(y.shape)}; ({n},) is needed, one integer a sample. One-hot? use argmax(1)."
        )
    if out == 1:
        values = set(y.unique().tolist())
        if not (values <= {0, 1} or values <= {-1, 1}):
            raise ValueError(
                f"labels {sorted(values)[:6]} given for one output; allowed are 0 and 1, or -1 and 1. "
                "Several classes need several outputs."
            )
        return
    if y.is_floating_point():
        raise ValueError(f"labels are {y.dtype}; {out} outputs need integer classes 0 to {out - 1}. Use y.long().")
    if int(y.min()) < 0 or int(y.max()) >= out:
        raise ValueError(
            f"labels run from {int(y.min())} to {int(y.max())}; {out} outputs allow 0 to {out - 1}. "
            "Counted from 1? Subtract 1."
        )


def signs(y: Shaped[Tensor, " *shape"]) -> Int[Tensor, " n"]:
    """Binary labels {0, 1} or {-1, 1} as -1 and +1.

    >>> signs(torch.tensor([0, 1, 1])).tolist()
    [-1, 1, 1]
    """
    return torch.where(y.reshape(-1) > 0, 1, -1)


def targets(y: Shaped[Tensor, " *shape"], outputs: Outputs) -> Rows:
    """Regression targets (n, out): floats as they are, classes as -1 and +1 (one output) or one-hot (several)."""
    rows = as_rows(outputs)
    n, out = rows.shape
    if y.is_floating_point():
        if y.numel() != n * out or len(y) != n or not bool(torch.isfinite(y).all()):
            raise ValueError(
                f"targets have shape {tuple(y.shape)}; ({n}, {out}) finite floats are needed, or integer classes."
            )
        return y.reshape(n, out).to(rows)
    check_labels(y, n, out)
    return signs(y)[:, None].to(rows) if out == 1 else F.one_hot(y.long(), out).to(rows)


def loss_value(outputs: Outputs, y: Shaped[Tensor, " *shape"], loss: Loss | str) -> Float[Tensor, ""]:
    """Mean loss over the samples.

    >>> round(loss_value(torch.zeros(3, 2), torch.tensor([0, 1, 1]), "cross_entropy").item(), 6)
    0.693147
    """
    rows, loss = as_rows(outputs), _applicable(outputs, y, loss)
    match loss:
        case Loss.LOGISTIC:
            return F.softplus(-margin(rows, y)).mean()
        case Loss.EXPONENTIAL:
            return torch.exp(-margin(rows, y)).mean()
        case Loss.CROSS_ENTROPY:
            return F.cross_entropy(rows, y.long())
        case Loss.MSE:
            return F.mse_loss(rows, targets(y, rows))
        case _:
            return F.huber_loss(rows, targets(y, rows))


def loss_cotangent(outputs: Outputs, y: Shaped[Tensor, " *shape"], loss: Loss | str) -> Rows:
    """d l_i / d output_i for each sample, not divided by n, in closed form.

    >>> loss_cotangent(torch.zeros(1), torch.tensor([1]), "logistic").tolist()
    [[-0.5]]
    """
    rows, loss = as_rows(outputs), _applicable(outputs, y, loss)
    match loss:
        case Loss.LOGISTIC:
            return (-signs(y) * torch.sigmoid(-margin(rows, y)))[:, None]
        case Loss.EXPONENTIAL:
            return (-signs(y) * torch.exp(-margin(rows, y)))[:, None]
        case Loss.CROSS_ENTROPY:
            return rows.softmax(1) - F.one_hot(y.long(), rows.shape[1])
        case Loss.MSE:
            return 2 * (rows - targets(y, rows)) / rows.shape[1]
        case _:
            return (rows - targets(y, rows)).clamp(-1, 1) / rows.shape[1]


def multiplier_cotangent(outputs: Outputs, y: Shaped[Tensor, " *shape"], loss: Loss | str, weight_decay: float) -> Rows:
    """c_i = -l'_i / (n wd): exact where mean loss + wd/2 |theta|^2 is stationary (arXiv 2307.01827).

    torch's SGD(weight_decay=wd) on a mean loss is this convention.
    """
    if not weight_decay > 0:
        raise ValueError(f"weight_decay={weight_decay} given; it must be positive here. Trained without? pass None.")
    return -loss_cotangent(outputs, y, loss) / (len(outputs) * weight_decay)


def margin(outputs: Outputs, y: Shaped[Tensor, " *shape"]) -> Float[Tensor, " n"]:
    """y f(x) for one output, f_y(x) - max_{j != y} f_j(x) for several; positive where classified rightly.

    >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0])).tolist()
    [1.0]
    """
    rows = as_rows(outputs)
    check_labels(y, *rows.shape)
    if rows.shape[1] == 1:
        return signs(y) * rows[:, 0]
    own = F.one_hot(y.long(), rows.shape[1]).bool()
    return rows[own] - rows.masked_fill(own, -torch.inf).amax(1)


def margin_directions(
    outputs: Outputs, y: Shaped[Tensor, " *shape"], competitors: str | int = "max"
) -> tuple[Float[Tensor, "k out"], Int[Tensor, " k"]]:
    """Cotangents of the margin constraints: y (one output) or e_y - e_j for chosen competitors j.

    Args:
        outputs: decide which competitors are strongest.
        y: class labels.
        competitors: "max" the strongest (arXiv 2305.03350's code), "all" the full KKT system, k the k strongest.

    Returns:
        The rows, and for each row the index of its sample.
    """
    rows = as_rows(outputs)
    check_labels(y, *rows.shape)
    n, out = rows.shape
    if out == 1:
        return signs(y)[:, None].to(rows), torch.arange(n, device=rows.device)
    count = {"max": 1, "all": out - 1}.get(str(competitors), competitors)
    if not isinstance(count, int) or not 1 <= count < out:
        raise ValueError(f"competitors={competitors!r} given; allowed are 'max', 'all' and 1 to {out - 1}.")
    own = F.one_hot(y.long(), out)
    rivals = rows.masked_fill(own.bool(), -torch.inf).topk(count, dim=1).indices
    return (own[:, None] - F.one_hot(rivals, out)).reshape(-1, out).to(rows), torch.arange(
        n, device=rows.device
    ).repeat_interleave(count)


def predict(outputs: Outputs) -> Int[Tensor, " n"]:
    """Predicted class: 1 where a single output is positive and else 0; the largest of several."""
    rows = as_rows(outputs)
    return (rows[:, 0] > 0).long() if rows.shape[1] == 1 else rows.argmax(1)


def _applicable(outputs: Outputs, y: Shaped[Tensor, " *shape"], loss: Loss | str) -> Loss:
    loss, (n, out) = Loss(loss), as_rows(outputs).shape
    if loss is Loss.CROSS_ENTROPY and out == 1:
        loss = Loss.LOGISTIC
    if loss in (Loss.LOGISTIC, Loss.EXPONENTIAL) and out > 1:
        raise ValueError(f"loss {loss.value!r} given for {out} outputs; it needs one. Use 'cross_entropy'.")
    if loss.is_margin:
        check_labels(y, n, out)
    return loss
