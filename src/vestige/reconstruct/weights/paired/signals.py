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
from vestige.reconstruct.weights.two_layer.columns import ColumnSpace
from vestige.reconstruct.weights.zeros.layer import FirstLayer

MOST = 4  # signals
FAINT = 1e-2  # of the largest singular value: what is smaller is no signal
SPARE = 45  # different neurons beyond two a sample: with 17, vectors of nobody met the equations as well as columns
SKIPPED = 2  # singular values that may be those of faint samples, where others would be of noise


def signal_space(chain: Chain, layer: FirstLayer) -> ColumnSpace | None:
    """Columns, and the signals as rows of V, over the neurons alive.

    None where signals are many, different neurons few, or the first layer remembers its start.

    Args:
        chain: the network.
        layer: its first layer.
    """
    if not chain.clear or not forgot_start(chain, SKIPPED) or layer.directions < 2 * chain.rank + SPARE:
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
