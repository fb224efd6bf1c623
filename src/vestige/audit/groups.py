"""Networks that rotations, shifts or permutations of the input leave unchanged: training, and scores modulo a group."""

from dataclasses import replace

import torch
from torch import Tensor

from vestige.audit.target import Target
from vestige.data.dataset import DataSet, center
from vestige.nets.groups import Group, parse_group
from vestige.nets.orbits import check_invariant
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.scoring.score import ReconstructionScore


def group_of(given: Group | str, target: Target) -> Group:
    """The group, which must act on the inputs and leave the network's outputs unchanged.

    Raises:
        ValueError: an unknown group, inputs that it does not act on, a network that is not invariant to it.
    """
    group = parse_group(given) if isinstance(given, str) else given
    check_invariant(target.model, target.input_shape, group)
    return group


def aligned(found: Reconstruction, score: ReconstructionScore, truth: Tensor, group: Group) -> Reconstruction:
    """Each matched sample as the member of its orbit that is nearest to its true sample, for pictures side by side."""
    matched = (score.match >= 0).nonzero().flatten()
    samples, which = found.samples.clone(), score.match[matched].to(found.samples.device)
    if len(which):
        samples[which] = group.align(samples[which], truth.to(samples)[matched.to(samples.device)])
    return replace(found, samples=samples)


def average_of(text: str, chosen: DataSet, width: int, outputs: int) -> str:
    """Architecture of a two-layer network averaged over the group, for training."""
    group, shape = parse_group(text), tuple(chosen.shape)
    group.check(shape)
    view = group.views(torch.zeros(1, *shape))[0, 0].numel()
    return f"{group}@{'x'.join(map(str, shape))}:mlp:{view}-{width}-{outputs}"


def mean_of(chosen: DataSet, group: str | None) -> Tensor:
    """What is subtracted before training; a mean that moves under the group would break the invariance of the data."""
    mean = center(chosen)[1]
    return mean if group is None else parse_group(group).project(mean[None])[0]
