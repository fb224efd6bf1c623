"""One sample as a small PNG: an image pixel by pixel, a vector as bars."""

import io
import math

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

BARS, HEIGHT = 128, 96  # columns and rows of pixels of a vector's picture


def thumbnail(sample: Shaped[Tensor, "*feature"], *, low: float = 0.0, high: float = 1.0) -> bytes:
    """One sample in data space as a small PNG, one pixel a value.

    (3, H, W) is shown in color, (1, H, W) and (H, W) in gray, other channel counts by their mean. A vector is drawn as
    bars from zero, in the order of its entries. Values are clipped to [low, high]; where that range is not finite,
    stretched to the sample's.
    """
    array = np.nan_to_num(sample.detach().cpu().double().numpy())
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = float(array.min()), float(array.max())
    if array.ndim < 2:
        return _png(_bars(array.reshape(-1), min(low, 0.0), max(high, 0.0)))
    pixels = _pixels(array)
    scaled = np.clip((pixels - low) / max(high - low, 1e-12), 0, 1)
    return _png(np.round(255 * scaled).astype(np.uint8))


def _pixels(array: NDArray[np.float64]) -> NDArray[np.float64]:
    if array.ndim == 3:
        return array.transpose(1, 2, 0) if array.shape[0] == 3 else array.mean(0)
    return array if array.ndim == 2 else array.reshape(array.shape[0], -1)


def _bars(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """Bars from zero, white on black; of long vectors each column is the entry of largest size among neighbors."""
    parts = np.array_split(values, min(len(values), BARS)) if len(values) else [np.zeros(1)]
    shown = np.clip([part[np.abs(part).argmax()] for part in parts], low, high)
    scale = (HEIGHT - 1) / max(high - low, 1e-12)
    zero, ends = round((high - 0.0) * scale), np.round((high - shown) * scale)
    rows = np.arange(HEIGHT)[:, None]
    filled = (rows >= np.minimum(zero, ends)) & (rows <= np.maximum(zero, ends))
    drawn = np.repeat(filled, max(1, HEIGHT // len(parts)), axis=1)
    return np.where(drawn, 235, np.where(rows == zero, 90, 20)).astype(np.uint8)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
