"""Settings of the published attack: those its authors released, and draws from the ranges that they searched.

Their search has no criterion that an attacker could use: runs were chosen by their distance to the training images.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch

from vestige.reconstruct.weights.published.objective import Objective

LR_X, INIT_SCALE, LAMBDA_MIN, SHARPNESS = (1e-5, 1.0), (1e-6, 0.1), (0.01, 0.5), (10.0, 500.0)
FROZEN = 1e-4  # lr_lambda of the binary and general runs, which was not searched


@dataclass(frozen=True)
class PublishedSettings:
    """One setting of `published_search`; `as_options` are its keywords."""

    name: str
    objective: Objective
    lr_x: float
    init_scale: float
    lambda_min: float
    sharpness: float
    lr_lambda: float = FROZEN

    def as_options(self) -> dict[str, Any]:
        """Keyword arguments for `published_search`."""
        names = ("lr_x", "lr_lambda", "init_scale", "lambda_min", "sharpness")
        return {name: getattr(self, name) for name in names}


PUBLISHED = (
    PublishedSettings("cifar-b9dfyspx", "binary", 0.5549, 8.857e-4, 0.4983, 19.14),
    PublishedSettings("cifar-k60fvjdy", "binary", 0.3462, 4.474e-3, 0.4936, 21.68),
    PublishedSettings("mnist-kcf9bhbi", "binary", 0.03052, 3.498e-2, 0.4471, 149.9),
    PublishedSettings("mnist-rbijxft7", "binary", 0.2821, 1.742e-3, 0.4153, 19.21),
    PublishedSettings("multiclass-run2", "multiclass", 1.362e-3, 6.228e-5, 0.2032, 39.52, 0.4793),
    PublishedSettings("multiclass-sweep", "multiclass", 2.420e-4, 3.605e-4, 0.0401, 326.5, 0.9513),
    PublishedSettings("regression-run1", "general", 0.9518, 1.975e-2, 0.0, 90.29),
    PublishedSettings("regression-run2", "general", 0.8715, 1.365e-2, 0.0, 107.4),
)
ALIASES = {"regression": "general"}


def published_settings(kind: str) -> PublishedSettings:
    """A released setting, by its name in `PUBLISHED` or the first one of an objective.

    Args:
        kind: "binary", "multiclass", "general" (also called "regression"), or a name such as "mnist-kcf9bhbi".

    Raises:
        ValueError: an unknown name.

    >>> published_settings("multiclass").lr_lambda
    0.4793
    """
    wanted = ALIASES.get(kind, kind)
    for settings in PUBLISHED:
        if wanted in (settings.objective, settings.name):
            return settings
    names = ", ".join(settings.name for settings in PUBLISHED)
    raise ValueError(f"settings {kind!r} given; allowed are binary, multiclass, general, {names}.")


def random_settings(generator: torch.Generator, objective: Objective = "binary") -> PublishedSettings:
    """One draw from the ranges that the authors searched (2206.07758's code).

    lr_x is log-uniform in [1e-5, 1], init_scale in [1e-6, 0.1]; lambda_min uniform in [0.01, 0.5], sharpness in
    [10, 500]. lr_lambda stayed at 1e-4, except in multiclass runs, whose range is not published: there it is drawn
    like lr_x.
    """
    u = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
    return PublishedSettings(
        name="random",
        objective=objective,
        lr_x=_log_uniform(LR_X, u[0]),
        init_scale=_log_uniform(INIT_SCALE, u[1]),
        lambda_min=0.0 if objective == "general" else LAMBDA_MIN[0] + u[2] * (LAMBDA_MIN[1] - LAMBDA_MIN[0]),
        sharpness=SHARPNESS[0] + u[3] * (SHARPNESS[1] - SHARPNESS[0]),
        lr_lambda=_log_uniform(LR_X, u[4]) if objective == "multiclass" else FROZEN,
    )


def _log_uniform(interval: tuple[float, float], u: float) -> float:
    low, high = interval
    return math.exp(math.log(low) + u * math.log(high / low))
