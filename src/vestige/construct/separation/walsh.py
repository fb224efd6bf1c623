"""Functions on {-1, 1}^n: all inputs, all parities, and how much of a function lies at each degree."""

import torch
from jaxtyping import Float
from torch import Tensor

LARGEST_CUBE = 20


def boolean_cube(n: int) -> Float[Tensor, "inputs n"]:
    """All 2^n inputs; bit i of a row's number says whether coordinate i is -1.

    Raises:
        ValueError: more inputs than fit into memory.

    >>> boolean_cube(2).tolist()
    [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]
    """
    if not 1 <= n <= LARGEST_CUBE:
        raise ValueError(f"n={n} given; all inputs of 1 to {LARGEST_CUBE} bits can be listed. Draw samples instead")
    return 1.0 - 2.0 * ((torch.arange(2**n)[:, None] >> torch.arange(n)) & 1).double()


def walsh_hadamard(values: Float[Tensor, " inputs *rest"]) -> Float[Tensor, " inputs *rest"]:
    """Coefficients E[f chi_S] of a function on the cube; bit i of S says whether coordinate i is in the parity.

    Args:
        values: at the inputs in the order of `boolean_cube`, along the first axis.

    Raises:
        ValueError: another number of inputs than a power of two.

    >>> walsh_hadamard(boolean_cube(3)[:, 0] * boolean_cube(3)[:, 2]).nonzero().tolist()  # x_0 x_2 is parity 1 + 4
    [[5]]
    """
    count = len(values)
    if count & (count - 1) or not count:
        raise ValueError(f"{count} values given; a function on the cube has a power of two")
    found, half = values.clone(), 1
    while half < count:
        pairs = found.reshape(-1, 2, half, *values.shape[1:])
        found = torch.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], dim=1).reshape(values.shape)
        half *= 2
    return found / count


def degree_profile(values: Float[Tensor, " inputs *rest"]) -> Float[Tensor, " degrees"]:
    """Energy of a function at each degree 0..n: the sum of squared coefficients of parities of that many coordinates.

    Args:
        values: at the inputs in the order of `boolean_cube`; further axes, such as a gradient's, are summed over.

    >>> degree_profile(boolean_cube(3)[:, 0] * boolean_cube(3)[:, 2]).tolist()
    [0.0, 0.0, 1.0, 0.0]
    """
    energy = walsh_hadamard(values).square().reshape(len(values), -1).sum(1)
    n = len(values).bit_length() - 1
    degree = ((torch.arange(len(values))[:, None] >> torch.arange(max(n, 1))) & 1).sum(1)
    return energy.new_zeros(n + 1).index_add_(0, degree.to(energy.device), energy)
