"""One sample as a picture that a page holds in itself."""

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from vestige.report.figures import thumbnail


def picture(sample: Tensor, *, low: float, high: float) -> str:
    """A sample as the data URI of a PNG, with values from low to high."""
    return "data:image/png;base64," + base64.b64encode(thumbnail(sample, low=low, high=high)).decode()


def painter(results: Mapping[str, Any]) -> Callable[[Tensor], str]:
    """What draws samples in the range of a model's inputs; each is stretched where that range is unknown."""
    space = results["model"]["space"]
    low, high = (math.nan if space[side] is None else space[side] for side in ("low", "high"))
    return lambda sample: picture(sample, low=low, high=high)
