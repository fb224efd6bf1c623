"""What training sends back from a sample's output, with its length taken off.

Cross-entropy sends e_y - p. Its length 1 - p_y vanishes at a memorized sample and its direction does not: it is that
of e_y - q, with q the softmax over the classes other than y, in which nothing cancels.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from vestige.core.margins import Loss, Rows, as_rows, loss_cotangent, signs

TINY = 1e-300


def unit_cotangents(outputs: Float[Tensor, " n *out"], y: Shaped[Tensor, "n ..."], loss: Loss | str) -> Rows:
    """Directions of -d l_i / d output_i, each of length 1, or 0 where a squared loss is exactly 0.

    >>> unit_cotangents(torch.tensor([[900.0, 0.0]]), torch.tensor([0]), "cross_entropy").tolist()
    [[0.7071067811865475, -0.7071067811865475]]
    """
    rows, loss = as_rows(outputs).double(), Loss(loss)
    direction = -loss_cotangent(rows, y, loss)  # refuses labels that do not fit, whatever the loss
    if not loss.is_margin:
        return direction / direction.norm(dim=1, keepdim=True).clamp(min=TINY)
    if rows.shape[1] == 1:
        return signs(y)[:, None].to(rows)
    own = F.one_hot(y.long(), rows.shape[1]).to(rows)
    rivals = rows.masked_fill(own.bool(), -torch.inf).softmax(1)
    direction = own - rivals
    return direction / direction.norm(dim=1, keepdim=True)
