"""What a recovered embedding is an embedding of: the nearest of many candidates, texts or images (arXiv 2407.15845)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

ROUNDING = 8  # cosines that differ by fewer rounding errors than this are tied


@dataclass(frozen=True, eq=False)
class Retrieval:
    """The nearest entries of a gallery.

    Attributes:
        index: of the nearest ones, nearest first.
        similarity: their cosines.
        margin: how much nearer the first is than the second; 0 for a gallery of one.
    """

    index: Int[Tensor, "m top"]
    similarity: Float[Tensor, "m top"]
    margin: Float[Tensor, " m"]


def nearest_in_gallery(embeddings: Float[Tensor, "m d"], gallery: Float[Tensor, "g _d"], *, top: int = 5) -> Retrieval:
    """For each embedding the entries of a gallery with the largest cosine: which of these texts or images was it?

    Args:
        embeddings: recovered ones.
        gallery: embeddings of candidates, in the same space (`vestige.nets.backbones.embed`, then `space.to_model`).
        top: how many; fewer where the gallery is smaller.

    Raises:
        ValueError: widths that differ, an empty gallery, or values that are not finite.

    >>> import torch
    >>> nearest_in_gallery(torch.tensor([[2.0, 0.1]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), top=1).index.tolist()
    [[1]]
    """
    table = _cosines(embeddings, gallery)
    best = table.topk(min(top, len(gallery)), dim=1)
    two = table.topk(min(2, len(gallery)), dim=1).values
    return Retrieval(best.indices, best.values, two[:, 0] - two[:, -1])


def retrieval_rank(
    embeddings: Float[Tensor, "m d"], gallery: Float[Tensor, "g _d"], truth: Int[Tensor, " m"]
) -> Float[Tensor, " m"]:
    """Rank of the true entry among all of the gallery by cosine, 1 for the nearest; for evaluation only.

    Entries with the same cosine share the mean of their ranks: an embedding that says nothing, such as zero, ranks
    every entry in the middle.

    Args:
        embeddings: recovered ones.
        gallery: as in `nearest_in_gallery`.
        truth: index into the gallery of the entry that each embedding stands for.

    Raises:
        ValueError: widths that differ, an empty gallery, or values that are not finite.

    >>> import torch
    >>> retrieval_rank(torch.tensor([[1.0, 0.2]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([0])).tolist()
    [2.0]
    >>> retrieval_rank(torch.zeros(1, 2), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([0])).tolist()
    [1.5]
    """
    table = _cosines(embeddings, gallery)
    own = table.gather(1, truth[:, None].to(table.device))
    gap = ROUNDING * torch.finfo(table.dtype).eps
    nearer, tied = (table > own + gap).sum(1), ((table - own).abs() <= gap).sum(1)
    return nearer + (tied.to(table) + 1) / 2


def best_rank(
    samples: Float[Tensor, "k d"], gallery: Float[Tensor, "g _d"], truth: Int[Tensor, " m"]
) -> Float[Tensor, " m"]:
    """`retrieval_rank` of entries of the gallery for the sample nearest to each; for evaluation only.

    Choosing the nearest of k samples takes the truth to know and ranks any entry higher: compare with the ranks of
    entries that nothing was trained on.

    Args:
        samples: recovered embeddings, in any order.
        gallery: as in `nearest_in_gallery`.
        truth: indices of the entries whose rank is wanted.

    Raises:
        ValueError: no sample, and what `retrieval_rank` refuses.

    >>> import torch
    >>> best_rank(torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 0.2]]), torch.tensor([0, 1])).tolist()
    [1.0, 1.0]
    """
    if not len(samples):
        raise ValueError("no sample given; at least one recovered embedding is needed to rank the gallery.")
    nearest = _cosines(samples, gallery)[:, truth.to(samples.device)].argmax(0)
    return retrieval_rank(samples[nearest], gallery, truth)


def _cosines(embeddings: Tensor, gallery: Tensor) -> Float[Tensor, "m g"]:
    if not len(gallery) or embeddings.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"embeddings of {embeddings.shape[1]} numbers and a gallery of {len(gallery)} with {gallery.shape[1]} "
            "given; the gallery needs at least one entry of the same width. Was it embedded by the same backbone?"
        )
    for name, values in (("embeddings", embeddings), ("gallery", gallery)):
        if not bool(torch.isfinite(values).all()):
            raise ValueError(
                f"the {name} hold NaN or infinite values; their cosines cannot be ranked. Drop those rows."
            )
    return F.normalize(embeddings, dim=1) @ F.normalize(gallery.to(embeddings), dim=1).T
