"""Columns of a two-layer network that its second layer confirms.

There an entry of a column is 0 or (V^T l)_j but on a kink, h equations of which a sample meets most (zeros, and entries
that are exact in either way, together .95 to 1.2 of h; vectors near no sample's column mostly less than .6). They lead
to columns from gates that are too wrong for zeros alone, and from the gates of a column that is nearly right to that
column: of 42 in a network on 200 images all 42. V^T l is met to a hundredth, as far as training went, and zeros
exactly: the last step forgets V.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.weights.two_layer.columns import FITS, ColumnSpace, distinct, fit_columns
from vestige.reconstruct.weights.two_layer.relaxation import opened
from vestige.reconstruct.weights.zeros.layer import FirstLayer
from vestige.reconstruct.weights.zeros.sparse import sharpened

SAME = 0.999  # cosine from which two columns are one
NEARLY = 0.5  # zeros and exact entries together of a column worth a second fit; a sample's has FITS
FAINT = 0.05  # of a column's mean |s|: entries below may be zeros


def confirmed_columns(
    layer: FirstLayer, space: ColumnSpace, u: Float[Tensor, "m h"], *, generator: torch.Generator
) -> Float[Tensor, "k n"]:
    """Columns near the gates 1[u > 0], fitted to both layers twice, and to their zeros in the end.

    Args:
        layer: the first layer.
        space: columns and the rows of V over the same neurons.
        u: rough pre-activations of samples.
        generator: start of the power iterations.
    """
    columns = fit_columns(space, space.at_all(u), generator=generator)
    columns = columns[distinct(columns, SAME, merit=columns.fits)]
    columns = columns[columns.fits > NEARLY]
    if not len(columns):
        return layer.columns.new_zeros(0, layer.columns.shape[1])
    columns = fit_columns(space, space.at_all(opened(columns)), generator=generator)
    c = layer.coordinates(columns[columns.fits > FITS].s)
    return sharpened(layer, c, layer.vanishes(c, FAINT))
