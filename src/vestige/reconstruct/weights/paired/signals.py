"""What the second layer sends back to the neurons of the first, where that is only a few signals.

In a two-layer network with q outputs it is V^T l, of q dimensions. With two classes and weight decay the second layer
of a deeper network too has almost the rank of its classes, so that what comes back to a neuron lies in the row space
of that layer, and a sample's column is what it is in a two-layer network, but for the factor of each neuron
(`two_layer.factors`).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.weights.chain import Chain, forgot_start
from vestige.reconstruct.weights.two_layer.columns import ColumnSpace, column_lengths
from vestige.reconstruct.weights.zeros.layer import FirstLayer

MOST = 4  # signals
FAINT = 1e-2  # of the largest singular value: what is smaller is no signal
SKIPPED = 2  # singular values that may be those of faint samples, where others would be of noise


def signal_space(chain: Chain, layer: FirstLayer, spare: int) -> ColumnSpace | None:
    """Columns, and the signals as rows of V, over the neurons alive.

    None where signals are many, different neurons few, or the first layer remembers its start.

    Args:
        chain: the network.
        layer: its first layer.
        spare: different neurons that there must be beyond two a sample.
    """
    if not chain.clear or not forgot_start(chain, SKIPPED) or layer.directions < 2 * chain.rank + spare:
        return None
    _, values, right = torch.linalg.svd(chain.target_weights[1].double()[:, layer.alive], full_matrices=False)
    count = int((values > FAINT * values[0]).sum())
    if count > MOST:
        return None
    return ColumnSpace(layer.columns, right[:count].T, layer.alive, layer.weight * layer.directions)


def sent_back(chain: Chain, z: Float[Tensor, "m r"]) -> Float[Tensor, "m out width"]:
    """What each output sends back to each neuron of the first layer, whether it is open or not.

    Args:
        chain: the network.
        z: inputs in span coordinates.
    """
    hidden, gates = (z @ chain.weights[0].T + chain.biases[0]).relu(), []
    for weight, bias in zip(chain.weights[1:-1], chain.biases[1:-1], strict=True):
        u = hidden @ weight.T + bias
        gates.append((u > 0).to(u))
        hidden = u.relu()
    back = chain.weights[-1].expand(len(z), -1, -1)
    for weight, gate in zip(chain.weights[-2:0:-1], gates[::-1], strict=True):
        back = (back * gate[:, None]) @ weight
    return back


def output_multipliers(
    chain: Chain, space: ColumnSpace, z: Float[Tensor, "k r"], s: Float[Tensor, "k h"], full: Float[Tensor, "k h"]
) -> Float[Tensor, "k out"]:
    """l of each sample, where its column s and V^T l are known up to the column's length.

    Args:
        chain: the network.
        space: of the columns.
        z: samples in span coordinates.
        s: their columns.
        full: V^T l for each.
    """
    scale = column_lengths(s, chain.augmented(z), chain.first_augmented().double()[space.alive])
    back = sent_back(chain, z.to(chain.weights[0]))[:, :, space.alive].double()
    return (torch.linalg.pinv(back.mT) @ (full * scale[:, None])[:, :, None])[:, :, 0]
