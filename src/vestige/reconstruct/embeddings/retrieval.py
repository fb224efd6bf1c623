"""What a recovered embedding is an embedding of: the nearest of many candidates, texts or images (arXiv 2407.15845)."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Retrieval:
    """The nearest entries of a gallery.

    Attributes:
        index: of the nearest ones, nearest first.
        similarity: their cosines.
        lead: how far the first is ahead of the second; 0 for a gallery of one.
    """

    index: Int[Tensor, "m top"]
    similarity: Float[Tensor, "m top"]
    lead: Float[Tensor, " m"]


def nearest_in_gallery(embeddings: Float[Tensor, "m d"], gallery: Float[Tensor, "g _d"], *, top: int = 5) -> Retrieval:
    """For each embedding the entries of a gallery with the largest cosine: which of these texts or images was it?

    Args:
        embeddings: recovered ones.
        gallery: embeddings of candidates, in the same space (`vestige.nets.backbones.embed`, then `space.to_model`).
        top: how many; fewer where the gallery is smaller.

    Raises:
        ValueError: widths that differ, or an empty gallery.

    >>> import torch
    >>> nearest_in_gallery(torch.tensor([[2.0, 0.1]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), top=1).index.tolist()
    [[1]]
    """
    if not len(gallery) or embeddings.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"embeddings of {embeddings.shape[1]} numbers and a gallery of {len(gallery)} with {gallery.shape[1]} "
            "given; the gallery needs at least one entry of the same width. Was it embedded by the same backbone?"
        )
    table = F.normalize(embeddings, dim=1) @ F.normalize(gallery.to(embeddings), dim=1).T
    best = table.topk(min(top, len(gallery)), dim=1)
    two = table.topk(min(2, len(gallery)), dim=1).values
    return Retrieval(best.indices, best.values, two[:, 0] - two[:, -1])


def retrieval_rank(
    embeddings: Float[Tensor, "m d"], gallery: Float[Tensor, "g d"], truth: Int[Tensor, " m"]
) -> Int[Tensor, " m"]:
    """Place of the true entry among all of the gallery by cosine, 1 for the nearest; for evaluation only.

    >>> import torch
    >>> retrieval_rank(torch.tensor([[1.0, 0.2]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([0])).tolist()
    [2]
    """
    table = F.normalize(embeddings, dim=1) @ F.normalize(gallery.to(embeddings), dim=1).T
    own = table.gather(1, truth[:, None].to(table.device))
    return (table > own).sum(1) + 1


def best_rank(
    samples: Float[Tensor, "k d"], gallery: Float[Tensor, "g d"], truth: Int[Tensor, " m"]
) -> Int[Tensor, " m"]:
    """`retrieval_rank` of entries of the gallery for the sample nearest to each; for evaluation only.

    Choosing the nearest of k samples takes the truth to know and ranks any entry higher: compare with the ranks of
    entries that nothing was trained on.

    >>> import torch
    >>> best_rank(torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 0.2]]), torch.tensor([0, 1])).tolist()
    [1, 1]
    """
    table = F.normalize(samples, dim=1) @ F.normalize(gallery[truth].to(samples), dim=1).T
    return retrieval_rank(samples[table.argmax(0)], gallery, truth)
