"""What a score is worth beside those of samples that the network never saw.

Candidates and reference are scored in one pool, so that under the null their scores can be exchanged, and the share of
the reference that scores as high is a p-value whatever the distribution is. Benjamini and Hochberg's rule on them keeps
the expected share of false names below the q-value (arXiv 2208.06685, theorem 3.3).
"""

import torch
from jaxtyping import Float
from scipy.stats import false_discovery_control
from torch import Tensor


def conformal_p_values(scores: Float[Tensor, " n"], null_scores: Float[Tensor, " m"]) -> Float[Tensor, " n"]:
    """p_i = (1 + number of reference scores >= s_i) / (m + 1); the smallest is 1 / (m + 1).

    Args:
        scores: of candidates; larger speaks for a member.
        null_scores: those of samples that the network never saw, made in the same way.

    Raises:
        ValueError: no null scores, or some that are not finite.

    >>> conformal_p_values(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 1.0, 2.0])).tolist()
    [0.75, 0.25]
    """
    if len(null_scores) == 0 or not bool(torch.isfinite(null_scores).all()):
        raise ValueError(f"{len(null_scores)} null scores given; at least one is needed, and all must be finite.")
    ordered = null_scores.double().sort().values
    below = torch.searchsorted(ordered, scores.double().contiguous(), right=False)
    return (1 + len(ordered) - below).double() / (len(ordered) + 1)


def q_values(p_values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The smallest false discovery rate at which each candidate is named (Benjamini and Hochberg).

    Args:
        p_values: in (0, 1].

    >>> q_values(torch.tensor([0.5, 0.01], dtype=torch.float64)).tolist()
    [0.5, 0.02]
    """
    return torch.from_numpy(false_discovery_control(p_values.numpy(force=True))).to(p_values)
