"""Can candidates and reference be told apart without the network? Then a score that does so says nothing about it.

Published sets for membership often differ in this way (arXiv 2406.16201). Here a logistic regression sees each sample's
label, its mean, spread and extremes, and its coordinates on the main axes, and is judged out of fold.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Shaped
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
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
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    order = np.random.default_rng(0).permutation(len(truth))
    guess = cross_val_predict(model, features[order], truth[order], cv=5, method="decision_function")
    auc = float(roc_auc_score(truth[order], guess))
    n, m = (len(part) for part, _ in parts)
    return auc, (auc - 0.5) / math.sqrt((n + m + 1) / (12 * n * m))


def _few(x: Tensor, y: Tensor, classes: Tensor | None, name: str) -> tuple[np.ndarray, np.ndarray]:
    """At most MOST samples, flat, and their labels, one column a class."""
    index = torch.randperm(len(x), generator=child(0, "blind", name))[:MOST].to(x.device)
    labels = y[index].reshape(len(index), -1)
    if classes is not None:
        labels = labels == classes
    return x[index].flatten(1).double().numpy(force=True), labels.double().numpy(force=True)
