"""What any natural image looks like: power that falls with frequency, and colours that move together.

Statistics of photographs at large, not of anybody's data: the variance of a discrete cosine coefficient at spatial
frequency (a, b) is close to 1 / (a^2 + b^2), and most of it is common to the three colours (Field 1987; Ruderman,
Cronin and Chiao 1998). Restricted to the span of a first layer it tells plausible candidates from implausible ones,
which is what a search for hundreds of samples lacks.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.fft import dctn
from torch import Tensor

KNEE = 0.7  # frequency below which the spectrum is flat
OPPONENT = (1.0, 0.06, 0.018)  # variance of grey, red against blue, green against both, relative to grey
FLOOR = 1e-3  # of the mean variance: no direction of the span is ruled out


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether a sample is (1 or 3, height, width) with enough pixels for a spectrum."""
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) >= 16


def image_metric(basis: Float[Tensor, "d r"], shape: tuple[int, ...], sample_norm: float | int) -> Float[Tensor, "r r"]:
    """Rows sqrt(v_k) e_k of the covariance of natural images in span coordinates: z = u metric for standard normal u.

    Args:
        basis: orthonormal columns of the span, pixels in the order of `shape`.
        shape: (channels, height, width), with 1 or 3 channels.
        sample_norm: root of the expected squared norm of a sample.

    Returns:
        The metric, on the device and in the dtype of the basis.
    """
    channels, height, width = shape
    pixels = basis.T.double().cpu().numpy().reshape(-1, *shape)
    columns = torch.from_numpy(np.asarray(dctn(pixels, axes=(2, 3), norm="ortho")))
    power = 1 / (torch.arange(height)[:, None] ** 2 + torch.arange(width)[None] ** 2 + KNEE**2).double()
    variance = (power / power.max())[None]
    if channels == 3:
        opponent = torch.nn.functional.normalize(columns.new_tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]]), dim=1)
        columns = torch.einsum("kc,rcab->rkab", opponent, columns)
        variance = variance * columns.new_tensor(OPPONENT)[:, None, None]
    weighted = (columns * variance.sqrt()).flatten(1)
    values, vectors = torch.linalg.eigh(weighted @ weighted.T)
    values = values.clamp(min=FLOOR * float(values.mean()))
    return ((values / values.sum()).sqrt() * sample_norm * vectors).T.to(basis)
