"""Measuring with a group: how symmetric inputs are, how far orbits lie apart, whether a network keeps its promise.

rho(x) = |P_G x|^2 / |x|^2,        d_G(x, y) = min over g of |x - g y|          (arXiv 2411.16458, section 2)
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.modes import evaluating
from vestige.core.rng import child
from vestige.nets.groups import Group

Batch = Float[Tensor, "n ..."]
PROBES, DRAWS = 8, 8


def symmetric_energy(x: Batch, group: Group) -> Float[Tensor, " n"]:
    """rho(x): 1 for inputs that the group leaves alone, 0 for those that average out over their orbit.

    Args:
        x: inputs; a zero input has rho 1.
        group: acts on them.

    Raises:
        ValueError: the group does not act on inputs of this shape.

    >>> from vestige.nets.groups import Rotations
    >>> symmetric_energy(torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]]), Rotations()).tolist()
    [0.25, 1.0]
    """
    group.check(tuple(x.shape[1:]))
    whole = x.flatten(1).square().sum(1)
    part = group.project(x).flatten(1).square().sum(1)
    return torch.where(whole > 0, part / whole.clamp(min=1e-300), 1.0)


def orbit_distance(x: Float[Tensor, "n ..."], y: Float[Tensor, "m ..."], group: Group) -> Float[Tensor, "n m"]:
    """d_G of every x to every y: a metric between orbits, zero within one.

    The nearest member is found by enumeration, for permutations of sets by an optimal assignment.

    Args:
        x: inputs.
        y: inputs of the same shape.
        group: acts on both.

    Raises:
        ValueError: shapes that differ, or that the group does not act on.

    >>> from vestige.nets.groups import Permutations
    >>> x = torch.tensor([[[0.0], [3.0]]])
    >>> orbit_distance(x, torch.tensor([[[3.0], [0.0]], [[0.0], [7.0]]]), Permutations(2)).tolist()
    [[0.0, 4.0]]
    """
    if x.shape[1:] != y.shape[1:]:
        raise ValueError(f"inputs of shape {tuple(x.shape[1:])} and {tuple(y.shape[1:])} given; they must agree.")
    group.check(tuple(x.shape[1:]))
    columns = [(group.align(one.expand_as(x), x) - x).flatten(1).norm(dim=1) for one in y[:, None].unbind(0)]
    return torch.stack(columns, 1)


def invariance_gap(model: nn.Module, input_shape: tuple[int, ...], group: Group) -> float:
    """Largest |F(g x) - F(x)| over the largest |F|, at Gaussian probes and random g; 0 for an invariant network.

    Args:
        model: any module; run in evaluation mode and left as it is.
        input_shape: shape of one sample.
        group: what the network should be invariant to.

    Raises:
        ValueError: the group does not act on inputs of this shape.
    """
    group.check(input_shape)
    generator, like = child(0, "invariance"), next(model.parameters())
    x = torch.randn(PROBES, *input_shape, generator=generator, dtype=torch.float64).to(like)
    with torch.no_grad(), evaluating(model):
        out = model(x)
        gaps = [(model(group.draw(x, generator)) - out).abs().max() for _ in range(DRAWS)]
    return float(torch.stack(gaps).max() / out.abs().max().clamp(min=1e-30))


def check_invariant(model: nn.Module, shape: tuple[int, ...], group: Group) -> None:
    """Refuse a network that tells members of an orbit apart.

    Raises:
        ValueError: with the measured gap.
    """
    gap = invariance_gap(model, shape, group)
    allowed = 1e-9 if next(model.parameters()).dtype == torch.float64 else 1e-3
    if not gap <= allowed:
        raise ValueError(
            f"the network is not invariant to {group}: moving an input changes its outputs by {gap:.2g} of their size, "
            f"{allowed:g} is allowed for rounding. Is it another group, or does zero padding or a stride break it?"
        )


def align_orbits(x: Batch, *, group: Group, alike: float = 0.8) -> Batch:
    """The same orbits, each by a member near those of similar orbits: then vectors can be compared as they are.

    Each input is moved as near as possible to the earlier one that it resembles most, if their cosine modulo the group
    reaches `alike`, and stays where it is otherwise.

    Args:
        x: inputs, those to lead first.
        group: acts on them.
        alike: cosine from which two orbits are compared.
    """
    moved = x.clone()
    unit = x / x.flatten(1).norm(dim=1).clamp(min=1e-30).reshape(-1, *[1] * (x.ndim - 1))
    table, leaders = group.products(unit, unit), list[int]()
    for k in range(len(x)):
        nearest = max(leaders, key=lambda i: float(table[k, i]), default=None)
        if nearest is not None and table[k, nearest] >= alike:
            moved[k] = group.align(x[k : k + 1], moved[nearest : nearest + 1])[0]
        else:
            leaders.append(k)
    return moved
