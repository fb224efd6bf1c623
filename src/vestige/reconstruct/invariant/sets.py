"""From elements to sets: those of one set were given the same multipliers by the loss.

F(x) = mean_k f(x_k) hands the multipliers l_i of a set to each of its elements. Elements are joined in the order of the
cosine between their multipliers, up to the size of a set: which elements belong together is clear between sets of
different labels, and an estimate between sets of one label, whose multipliers point nearly the same way.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.result import Reconstruction

LEAST = 0.5  # cosine between multipliers below which elements are never joined
ESTIMATED = "Which elements form a set is estimated from their multipliers; between sets of one label it may be wrong."


def sets_of(found: Reconstruction, size: int) -> Reconstruction:
    """Sets of `size` elements out of a reconstruction of elements.

    Args:
        found: elements, most credible first, with their multipliers; no more of them are used than can be told apart.
        size: of a set.

    Returns:
        Complete sets, ranked by the mean confidence of their elements; `candidates` stay single elements repeated.
    """
    most = found.identifiable - found.identifiable % size if found.identifiable else len(found.samples)
    groups = join_by_direction(found.cotangents[:most], size)
    groups.sort(key=lambda members: -float(found.confidence[members].mean()))
    index = torch.tensor(groups, dtype=torch.long, device=found.samples.device).reshape(-1, size)
    cotangents = found.cotangents[index].mean(1)
    return replace(
        found,
        samples=found.samples[index],
        confidence=found.confidence[index].mean(1),
        support=found.support[index].amin(1),
        spread=found.spread[index].mean(1),
        cotangents=cotangents,
        label=(cotangents[:, 0] > 0).long() if cotangents.shape[1] == 1 else cotangents.argmax(1),
        verified=found.verified[index].all(1),
        candidates=found.candidates[:, None].expand(-1, size, *found.candidates.shape[1:]),
        cluster=torch.full_like(found.cluster, -1),
        identifiable=found.identifiable // size,
        warnings=(*found.warnings, ESTIMATED),
    )


def join_by_direction(vectors: Float[Tensor, "m out"], size: int) -> list[list[int]]:
    """Groups of exactly `size` vectors, joined pair by pair, the most parallel first.

    >>> join_by_direction(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.1], [0.1, 3.0], [-1.0, 0.0]]), 2)
    [[0, 2], [1, 3]]
    """
    unit = F.normalize(vectors.double(), dim=1)
    cosine = unit @ unit.T
    rows, columns = torch.triu_indices(len(unit), len(unit), 1)
    group = {k: [k] for k in range(len(unit))}
    for pair in cosine[rows, columns].argsort(descending=True, stable=True).tolist():
        i, j = int(rows[pair]), int(columns[pair])
        if float(cosine[i, j]) < LEAST:
            break
        a, b = group[i], group[j]
        if a is not b and len(a) + len(b) <= size:
            a += b
            for k in b:
                group[k] = a
    kept = {id(members): sorted(members) for members in group.values() if len(members) == size}
    return sorted(kept.values())
