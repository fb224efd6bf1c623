"""How many neurons of a first layer differ: copies of one open and close together, and are one equation.

With two classes training draws neurons together: of 1,000 a few hundred directions are left, or two where a network
has collapsed. Whatever counts equations against unknowns counts directions.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

DEAD = 1e-2  # of the largest neuron's norm: below this a neuron carries nothing
COPY = 0.999  # cosine from which two neurons are one
BLOCK = 1024  # neurons compared with all others at once


def distinct_neurons(layer: Float[Tensor, "h d"]) -> Float[Tensor, " h"]:
    """Weights that sum to the number of directions: 1 over how many copies a neuron has, itself one; 0 if it is dead.

    >>> distinct_neurons(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])).tolist()
    [0.5, 0.5, 1.0, 0.0]
    """
    size = layer.norm(dim=1)
    alive = size > DEAD * size.max()
    unit = F.normalize(layer[alive].double(), dim=1)
    blocks = ((part @ unit.T > COPY).sum(1).to(unit) for part in unit.split(BLOCK))
    copies = torch.cat([unit.new_zeros(0), *blocks])
    return layer.new_zeros(len(layer), dtype=torch.float64).masked_scatter(alive, 1 / copies)


def one_of_each(layer: Float[Tensor, "h d"]) -> Int[Tensor, " k"]:
    """Positions of neurons of which none is a copy of another, the longest of each direction.

    >>> one_of_each(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])).tolist()
    [1, 2]
    """
    unit = F.normalize(layer.double(), dim=1)
    left, chosen = torch.ones(len(layer), dtype=torch.bool, device=layer.device), []
    for i in layer.norm(dim=1).argsort(descending=True, stable=True).tolist():
        if left[i]:
            chosen.append(i)
            left &= unit @ unit[i] <= COPY
    return torch.tensor(chosen, dtype=torch.long, device=layer.device)


def at_all(values: Shaped[Tensor, "m h"], alive: Bool[Tensor, " width"]) -> Shaped[Tensor, "m width"]:
    """What is known of the neurons alive, and 0 at dead ones."""
    spread = values.new_zeros(len(values), len(alive))
    spread[:, alive] = values
    return spread
