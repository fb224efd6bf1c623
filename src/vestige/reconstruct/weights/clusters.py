"""Which candidates to believe without the training data: those that independent restarts agree on.

Candidates of all restarts are grouped by average linkage on cosine distance, and the group's mean is shown
(arXiv 2407.15845, section 5). Size alone is no evidence, for class means gather the largest groups of all: groups are
ranked by how many restarts agree how closely on a sample of what multiplier, and compared with chance agreement.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from vestige.core.rng import child

DRAWS, WORK = 20, 2e7  # null draws, fewer where pairs of candidates times draws exceed WORK
# Log odds that a group is a training sample, over `features`; `belief` moves them by what is known of the network.
INTERCEPT, COEFFICIENTS = -3.25, (1.25, -0.5, 2.56, 1.26)
SEPARATION = (0.1, 0.3, 0.6)  # least, usual and largest separation of groups in the fit
SHARE, DROP = 0.45, 3.0  # collapse: share of all candidates in the largest groups, and how much smaller the next one is


@dataclass(frozen=True, eq=False)
class Clusters:
    """Groups of candidates, most credible first.

    Attributes:
        representative: mean of the normalized members, with their median norm.
        members: indices of the candidates of each group.
        support: restarts that have a member in it.
        spread: 1 - mean cosine between the members and the representative.
        size: number of members.
        agreement: mean cosine between members of different restarts; 0 for a single restart.
        evidence: T of `cluster_candidates`.
        confidence: probability of being a training sample, in [0, 1].
    """

    representative: Float[Tensor, "k d"]
    members: tuple[Tensor, ...]
    support: Int[Tensor, " k"]
    spread: Float[Tensor, " k"]
    size: Int[Tensor, " k"]
    agreement: Float[Tensor, " k"]
    evidence: Float[Tensor, " k"]
    confidence: Float[Tensor, " k"]

    def __len__(self) -> int:
        return len(self.members)


def cluster_candidates(
    candidates: Float[Tensor, "c d"],
    restart: Int[Tensor, " _c"],
    multiplier_size: Float[Tensor, " _c"],
    *,
    cut: float = 0.2,
) -> Clusters:
    """Group candidates and say with what probability each group is a training sample.

    With s of R restarts in a group, a the mean cosine between its members from different restarts and g the median,
    over all groups of two restarts or more, of 1 - cosine to the nearest other such group,

        confidence = (1 - q) sigmoid(b + b1 log(s - 1) + b2 log(R - s + 1) - b3 log(1.01 - a) + b4 log g).

    The constants were fitted to 886 groups from attacks on 30 networks of ten classes trained with weight decay: 8 x 8
    digits, MNIST and CIFAR-10, 20 to 100 samples, two and three layers. *Right* means within similarity 0.8 of a
    training sample, and nearer to it than each of 2,000 images that the network never saw. For other networks the
    number ranks and is no probability: `belief.Grounds` makes one of it.

    The size of the multipliers, the residuals of the restarts, spread and size add nothing (the Brier score stays). A
    group of one restart has confidence 0 (right: 5 %), and so have all groups of a single restart. Unrelated digits
    reach similarity .9, so that a right group of them may be a blend of neighbors. Where all samples of a class share
    their gates, as `is_collapse` tells, groups are class means and the number does not hold.

    q guards against what the covariance alone explains. The evidence of a group is

        T = (s - 1) a min(1, m / M),

    m the median multiplier size of its members and M that of all candidates. Chance: the signs of each restart's
    principal coordinates are drawn anew, which leaves all cosines within a restart and the overall covariance as they
    are and destroys what restarts share; then the same grouping. With N(t) the number of groups of evidence >= t and
    N0(t) its mean under chance, q(T) = min over t <= T of (N0(t) + 1 / draws) / N(t) (at most 1) is the false discovery
    rate of the groups at least as evident.

    Args:
        candidates: flattened, in one space; zero vectors stand alone.
        restart: which independent search each came from.
        multiplier_size: norm of each candidate's output multipliers.
        cut: largest mean cosine distance within a group; the fit holds for 0.2.

    Returns:
        All groups, singletons included, by falling confidence, then evidence, support, number of members, multiplier.

    Raises:
        ValueError: sizes that differ, no candidates, values that are not finite, or a cut outside (0, 2).
    """
    _check(candidates, restart, multiplier_size, cut)
    x = candidates.detach().double().cpu()
    restart, weight = restart.cpu(), multiplier_size.detach().double().cpu()
    unit = F.normalize(x, dim=1)
    label = group_labels(unit, cut)
    stats = _statistics(unit, label, restart, weight)
    order = _ranking(stats, label, weight)
    chance = _false_discovery(x, stats.evidence[order], restart, weight, cut)
    centers = [_representative(x[label == k], unit[label == k]) for k in order]
    representative = torch.stack([center for center, _ in centers])
    support, agreement, evidence = (v[order] for v in (stats.support, stats.agreement, stats.evidence))
    odds = features(representative, support, agreement, len(restart.unique())) @ torch.tensor(COEFFICIENTS).double()
    confidence = torch.where(evidence > 0, (1 - chance) * (odds + INTERCEPT).sigmoid(), 0.0)
    best = confidence.argsort(descending=True, stable=True)
    members = tuple((label == k).nonzero().flatten() for k in order[best])
    device, dtype = candidates.device, candidates.dtype
    return Clusters(
        representative=representative[best].to(device, dtype),
        members=tuple(m.to(device) for m in members),
        support=support[best].to(device),
        spread=torch.stack([spread for _, spread in centers])[best].to(device, dtype),
        size=torch.tensor([len(m) for m in members], device=device),
        agreement=agreement[best].to(device, dtype),
        evidence=evidence[best].to(device, dtype),
        confidence=confidence[best].to(device, dtype),
    )


def features(
    representative: Float[Tensor, "k d"], support: Int[Tensor, " k"], agreement: Float[Tensor, " k"], restarts: int
) -> Float[Tensor, "k 4"]:
    """What the confidence is computed from: log(s - 1), log(R - s + 1), -log(1.01 - a), log g; s >= 2 is assumed."""
    shared = F.normalize(representative[support > 1].double(), dim=1)
    low, usual, high = SEPARATION
    apart = torch.tensor(usual).double()
    if len(shared) > 1:
        apart = (1 - (shared @ shared.T).fill_diagonal_(-1).amax(1).median()).clamp(low, high)
    s = support.double()
    columns = (s.clamp(min=2) - 1).log(), (restarts - s + 1).log(), -(1.01 - agreement.double().clamp(max=1)).log()
    return torch.stack([*columns, apart.log().expand(len(s))], 1)


def is_collapse(candidates: Float[Tensor, "c d"], classes: int, *, cut: float = 0.2) -> bool:
    """Whether the candidates fall together to no more than about one point a class, as class means do.

    True if for some k <= classes the k largest groups hold nearly half of all candidates (0.45; seen: 0.50 for two
    classes in arXiv 2407.15845's setting), while the next group is at most a third of the k-th. With no more samples
    than classes the samples are their class means, and this is what it says.

    Args:
        candidates: flattened, of all restarts.
        classes: number of classes of the network, 2 for one output.
        cut: as in `cluster_candidates`.
    """
    if len(candidates) <= 2 * classes:
        return False
    unit = F.normalize(candidates.detach().double().cpu(), dim=1)
    sizes = [0, *sorted(group_labels(unit, cut).bincount().tolist())][::-1]
    return any(
        sum(sizes[:k]) >= SHARE * len(candidates) and DROP * sizes[k] <= sizes[k - 1]
        for k in range(1, min(classes, len(sizes) - 1) + 1)
    )


def group_labels(unit: Float[Tensor, "c d"], cut: float) -> Int[Tensor, " c"]:
    """Group of each unit vector, numbered from 0: average linkage on 1 - cosine, cut at height `cut`."""
    if len(unit) == 1:
        return torch.zeros(1, dtype=torch.long)
    above = torch.triu_indices(len(unit), len(unit), 1)
    distance = (1 - unit @ unit.T)[above[0], above[1]].clamp(min=0)
    return torch.from_numpy(fcluster(linkage(distance.numpy(), "average"), cut, "distance")).long() - 1


@dataclass(frozen=True)
class _Statistics:
    support: Tensor
    agreement: Tensor
    evidence: Tensor


def _statistics(unit: Tensor, label: Tensor, restart: Tensor, weight: Tensor) -> _Statistics:
    """By group; agreement is over pairs from different restarts, through the sums of members of each restart."""
    groups, runs = int(label.max()) + 1, restart.unique(return_inverse=True)[1]
    cell = label * (int(runs.max()) + 1) + runs
    cells, inverse, counts = cell.unique(return_inverse=True, return_counts=True)
    sums = unit.new_zeros(len(cells), unit.shape[1]).index_add_(0, inverse, unit)
    owner = cells // (int(runs.max()) + 1)
    total = unit.new_zeros(groups, unit.shape[1]).index_add_(0, owner, sums)
    support, size = owner.bincount(minlength=groups), label.bincount(minlength=groups)
    within = unit.new_zeros(groups).index_add_(0, owner, sums.square().sum(1))
    same = torch.zeros(groups, dtype=torch.long).index_add_(0, owner, counts**2)
    pairs = (size**2 - same).clamp(min=1)
    agreement = torch.where(support > 1, (total.square().sum(1) - within) / pairs, 0.0)
    middle = torch.stack([weight[label == k].median() for k in range(groups)])
    loud = (middle / weight.median().clamp(min=1e-300)).clamp(max=1)
    return _Statistics(support, agreement, (support - 1) * agreement * loud)


def _ranking(stats: _Statistics, label: Tensor, weight: Tensor) -> Tensor:
    """Stable sorts from the least to the most important key."""
    groups = len(stats.support)
    loudness = weight.new_zeros(groups).index_add_(0, label, weight)
    order = torch.arange(groups)
    for key in (loudness, label.bincount(minlength=groups), stats.support, stats.evidence):
        order = order[key[order].argsort(descending=True, stable=True)]
    return order


def _false_discovery(x: Tensor, evidence: Tensor, restart: Tensor, weight: Tensor, cut: float) -> Tensor:
    """q of groups sorted by falling evidence."""
    draws = int(min(DRAWS, max(4, WORK // len(x) ** 2)))
    mean = x.mean(0)
    left, size, axes = torch.linalg.svd(x - mean, full_matrices=False)
    generator = child(0, "clusters", "chance")
    runs = restart.unique(return_inverse=True)[1]
    chance = []
    for _ in range(draws):
        signs = torch.randint(0, 2, (int(runs.max()) + 1, len(size)), generator=generator) * 2 - 1
        unit = F.normalize((left * size * signs[runs]) @ axes + mean, dim=1)
        chance.append(_statistics(unit, group_labels(unit, cut), restart, weight).evidence)
    chance = torch.cat(chance)
    expected = ((chance[None] >= evidence[:, None]).sum(1) + 1) / draws
    rate = (expected / torch.arange(1, len(evidence) + 1)).clamp(max=1)
    # a group may be judged together with any weaker ones
    return rate.flip(0).cummin(0).values.flip(0)


def _representative(x: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    direction = F.normalize(unit.mean(0), dim=0)
    return direction * x.norm(dim=1).median(), (1 - unit @ direction).mean()


def _check(candidates: Tensor, restart: Tensor, multiplier_size: Tensor, cut: float) -> None:
    count = len(candidates)
    if not count or len(restart) != count or len(multiplier_size) != count:
        raise ValueError(
            f"{count} candidates, {len(restart)} restarts and {len(multiplier_size)} multiplier sizes given; "
            "one of each for every candidate is needed, and at least one candidate."
        )
    if not bool(torch.isfinite(candidates).all() and torch.isfinite(multiplier_size).all()):
        raise ValueError("candidates or multipliers hold NaN or infinite values; drop the restarts that diverged.")
    if not 0 < cut < 2:
        raise ValueError(f"cut={cut} given; a cosine distance between 0 and 2 is needed, such as 0.2.")
