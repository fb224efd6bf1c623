"""Can candidates and reference be told apart without the network? Then a score that does so says nothing about it.

Published sets for membership often differ in this way (arXiv 2406.16201). Here a linear classifier sees each sample's
label, its mean, spread and extremes, and its coordinates on the main axes, and is judged out of fold.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Shaped
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from torch import Tensor

from vestige.core.rng import child

AXES, MOST, CLEAR = 16, 2000, 4.0  # the last: standard errors, 3e-5 by chance


def blind_auc(
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, "n ..."],
    unseen: Float[Tensor, "m ..."],
    labels: Shaped[Tensor, "m ..."],
) -> tuple[float, float]:
    """AUC of a classifier that never saw the network, and by how many standard errors it is above 1/2.

    Args:
        x: candidates.
        y: their labels.
        unseen: the reference.
        labels: theirs.
    """
    classes = None if y.is_floating_point() else torch.arange(int(torch.maximum(y.max(), labels.max())) + 1).to(y)
    parts = [_few(x, y, classes, "candidates"), _few(unseen, labels, classes, "reference")]
    if min(len(part) for part, _ in parts) < 10:
        return math.nan, math.nan
    raw = np.concatenate([part for part, _ in parts])
    axes = PCA(min(AXES, *raw.shape), random_state=0).fit_transform(raw)
    shape = np.stack([raw.mean(1), raw.std(1), raw.min(1), raw.max(1)], 1)
    features = np.concatenate([axes, shape, np.concatenate([side for _, side in parts])], 1)
    truth = np.repeat([1, 0], [len(part) for part, _ in parts])
    order = np.random.default_rng(0).permutation(len(truth))
    guess = _out_of_fold(features[order], truth[order])
    auc = float(roc_auc_score(truth[order], guess))
    n, m = (len(part) for part, _ in parts)
    return auc, (auc - 0.5) / math.sqrt((n + m + 1) / (12 * n * m))


def _out_of_fold(features: np.ndarray, truth: np.ndarray, folds: int = 5) -> np.ndarray:
    """Ridge regression of the truth, whose closed form costs less than a library's checks of its arguments."""
    a = (features - features.mean(0)) / np.maximum(features.std(0), 1e-12)
    guess = np.empty(len(a))
    for part in np.array_split(np.arange(len(a)), folds):
        others = np.setdiff1d(np.arange(len(a)), part)
        known, mean = a[others], truth[others].mean()
        guess[part] = a[part] @ np.linalg.solve(known.T @ known + np.eye(a.shape[1]), known.T @ (truth[others] - mean))
    return guess


def _few(x: Tensor, y: Tensor, classes: Tensor | None, name: str) -> tuple[np.ndarray, np.ndarray]:
    """At most MOST samples, flat, and their labels, one column a class."""
    index = torch.randperm(len(x), generator=child(0, "blind", name))[:MOST].to(x.device)
    labels = y[index].reshape(len(index), -1)
    if classes is not None:
        labels = labels == classes
    return x[index].flatten(1).double().numpy(force=True), labels.double().numpy(force=True)
