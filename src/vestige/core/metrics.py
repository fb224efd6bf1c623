"""Comparing candidates with true samples: similarity matrices, one-to-one pairing, and what chance alone would reach.

A similarity says nothing until unrelated images have been compared as well: 5 % of unrelated photographs pass the
SSIM > 0.4 of arXiv 2307.01827. `threshold` turns null similarities into the value that chance rarely reaches.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Batch = Float[Tensor, "_ ..."]
Similarity = Float[Tensor, "na nb"]


def cosine(a: Batch, b: Batch) -> Similarity:
    """Cosine of the angle between samples, in [-1, 1]; 0 for a zero vector.

    >>> cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]])).tolist()
    [[1.0, 0.0]]
    """
    _comparable(a, b)
    return F.normalize(a.flatten(1), dim=1) @ F.normalize(b.flatten(1), dim=1).T


def ncc(a: Batch, b: Batch) -> Similarity:
    """Normalized cross-correlation in [-1, 1]: each sample centered, (n, C, H, W) also a channel, and scaled to norm 1.

    The squared distance of arXiv 2206.07758's code between standardized images is 2 D (1 - ncc).
    """
    _comparable(a, b)
    return standardized(a) @ standardized(b).T


def l2(a: Batch, b: Batch) -> Similarity:
    """Euclidean distance between samples; smaller is nearer."""
    _comparable(a, b)
    return torch.cdist(a.flatten(1), b.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")


def ssim(a: Batch, b: Batch, *, window: int = 3, sigma: float = 1.5, data_range: float = 1.0) -> Float[Tensor, " n"]:
    """Mean structural similarity of a[i] and b[i], (n, C, H, W) in data space; 1 for equal images.

    The papers use window 3, sigma 1.5, hence 1-D weights .3078, .3844, .3078, and reflected borders. torchmetrics has
    the same formula and borders but derives its Gaussian window from sigma (11 for 1.5) whatever `kernel_size` says;
    at window=11 the two agree to 1e-12.

    Args:
        a: images.
        b: as many images, or one to compare with all.
        window: odd width of the Gaussian window; reduced for images smaller than it.
        sigma: its standard deviation in pixels.
        data_range: largest minus smallest valid value.

    Raises:
        ValueError: not images, or an even window.
    """
    weight = _window(a, b, window, sigma)
    return _ssim(a, b, _moments(a, weight), _moments(b, weight), weight, data_range)


def ssim_matrix(a: Batch, b: Batch, *, window: int = 3, sigma: float = 1.5, data_range: float = 1.0) -> Similarity:
    """`ssim` of every pair; moments are computed once an image, blocks are kept small enough for the cache."""
    weight = _window(a, b, window, sigma)
    size = max(1, 2**17 // b[0].numel())
    blocks = [(part, _moments(part, weight)) for part in b.split(size)]
    rows = []
    for image in a.split(1):
        moments = _moments(image, weight)
        rows.append(torch.cat([_ssim(image, part, moments, known, weight, data_range) for part, known in blocks]))
    return torch.stack(rows)


def best_match(similarity: Similarity) -> tuple[Float[Tensor, " na"], Int[Tensor, " na"]]:
    """For each row its largest similarity and the column where it stands; columns may serve several rows."""
    _finite(similarity)
    value, index = similarity.max(1)
    return value, index


def assign(similarity: Similarity) -> Int[Tensor, " na"]:
    """One-to-one pairing of rows with columns of largest total similarity; -1 for rows left over.

    >>> assign(torch.tensor([[0.9, 0.8], [0.9, 0.1]])).tolist()
    [1, 0]
    """
    _finite(similarity)
    rows, columns = linear_sum_assignment(similarity.detach().cpu().numpy(), maximize=True)
    pairing = torch.full((len(similarity),), -1)
    pairing[torch.as_tensor(rows)] = torch.as_tensor(columns)
    return pairing.to(similarity.device)


def false_positive_rate(null_similarity: Float[Tensor, "n null"], size: int, t: float) -> float:
    """Chance that the best of `size` unrelated candidates reaches similarity t, averaged over the true samples.

    Of H null columns k reach t in a row; `size` columns drawn without replacement miss them all with probability
    C(H - k, size) / C(H, size).

    Args:
        null_similarity: similarity of each true sample to H unrelated ones.
        size: how many candidates the real comparison had; at most H.
        t: the similarity in question.

    Raises:
        ValueError: more candidates than null columns.

    >>> false_positive_rate(torch.tensor([[0.9, 0.1, 0.2, 0.3]]), 2, 0.5)
    0.5
    """
    _finite(null_similarity)
    total = null_similarity.shape[1]
    if not 1 <= size <= total:
        raise ValueError(
            f"size={size} candidates against {total} null columns; give at least {size} unrelated samples."
        )
    hits = (null_similarity >= t).sum(1)
    # C(H-k, m) / C(H, m) = prod_{i<m} (1 - k / (H - i)): stable, and 0 as soon as k > H - m.
    left = torch.arange(total, total - size, -1, dtype=torch.float64, device=hits.device)
    counts, repeats = hits.unique(return_counts=True)
    miss = (1 - counts[:, None] / left).clamp(min=0).prod(1)
    return float(((1 - miss) * repeats).sum() / len(hits))


def threshold(null_similarity: Float[Tensor, "n null"], size: int, rate: float = 1e-3) -> float:
    """Smallest similarity that the best of `size` unrelated candidates reaches with probability <= `rate`.

    With few null comparisons it lies just above the largest of them.
    """
    _finite(null_similarity)
    values = null_similarity.unique()
    low, high = -1, len(values) - 1  # just above values[high] nothing is left, so `high` always satisfies the rate
    while high - low > 1:
        middle = (low + high) // 2
        if false_positive_rate(null_similarity, size, _above(values[middle])) <= rate:
            high = middle
        else:
            low = middle
    return _above(values[high])


def _above(value: Tensor) -> float:
    return torch.nextafter(value, torch.full_like(value, torch.inf)).item()


def standardized(x: Batch) -> Float[Tensor, "_ d"]:
    """Rows of which `ncc` is the inner product: centered, (n, C, H, W) also a channel, and of norm 1."""
    x = x.flatten(2) if x.ndim == 4 else x.flatten(1)[:, None]
    x = F.normalize(x - x.mean(2, keepdim=True), dim=2)
    return x.flatten(1) / x.shape[1] ** 0.5


def _window(a: Tensor, b: Tensor, window: int, sigma: float) -> Tensor:
    _comparable(a, b)
    if a.ndim != 4 or min(a.shape[2:]) < 2:
        raise ValueError(f"samples have shape {tuple(a.shape[1:])}; SSIM needs images (C, H, W) of 2 pixels at least.")
    if window % 2 != 1 or window < 1:
        raise ValueError(f"window={window} given; an odd number is needed.")
    window = min(window, 2 * min(a.shape[2:]) - 1)
    offset = torch.arange(window, dtype=a.dtype, device=a.device) - window // 2
    weight = torch.exp(-((offset / sigma) ** 2) / 2)
    return weight / weight.sum()


def _moments(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    mean = _blur(x, weight)
    return mean, (_blur(x.square(), weight) - mean.square()).clamp(min=0)


def _ssim(a: Tensor, b: Tensor, moments_a: tuple, moments_b: tuple, weight: Tensor, data_range: float) -> Tensor:
    (mean_a, var_a), (mean_b, var_b) = moments_a, moments_b
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    product = mean_a * mean_b
    contrast = (2 * (_blur(a * b, weight) - product) + c2) / (var_a + var_b + c2)
    return (contrast * (2 * product + c1) / (mean_a.square() + mean_b.square() + c1)).flatten(1).mean(1)


def _blur(x: Tensor, weight: Tensor) -> Tensor:
    """Separable filter with reflected borders; shifted slices take a tenth of a one-channel convolution's time."""
    pad, taps, (height, width) = len(weight) // 2, weight.tolist(), x.shape[2:]
    x = F.pad(x, (pad,) * 4, mode="reflect")
    rows = x[:, :, :height] * taps[0]
    for k in range(1, len(taps)):
        rows.add_(x[:, :, k : k + height], alpha=taps[k])
    out = rows[..., :width] * taps[0]
    for k in range(1, len(taps)):
        out.add_(rows[..., k : k + width], alpha=taps[k])
    return out


def _comparable(a: Tensor, b: Tensor) -> None:
    if a.shape[1:] != b.shape[1:] or a.ndim < 2 or not len(a) or not len(b):
        raise ValueError(
            f"samples of shape {tuple(a.shape)} and {tuple(b.shape)} given; all but the first size must agree."
        )


def _finite(similarity: Tensor) -> None:
    if similarity.numel() == 0 or not bool(torch.isfinite(similarity).all()):
        raise ValueError("the similarities are empty or hold NaN; drop candidates that are not finite before matching.")
