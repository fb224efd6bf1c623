"""A pruned network in a file: masks and a seed. The random weights come back when it is read, and are checked.

Each mask is stored as bits, or as the positions that it keeps where those are fewer bytes. The digests of the random
and of the masked weights are in the file, so that a changed bit of either is noticed, and another library's random
numbers too.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vestige.construct.file.network_format import NetworkFormat
from vestige.construct.prune.masked_network import MaskedNetwork, Plan

MOST_WEIGHTS = 2**29  # of a random network that is made on a file's word: 2 GiB


def write_masks(network: MaskedNetwork) -> tuple[Any, Mapping[str, Tensor]]:
    """The plan, two digests and the masks; no weights."""
    random, masked = _digests(network)
    tensors = dict(_packed(name, mask) for name, mask in network.masks.items())
    return {"plan": asdict(network.plan), "random_sha256": random, "masked_sha256": masked}, tensors


def build_masks(content: Any, tensors: Mapping[str, Tensor]) -> MaskedNetwork:
    """The inverse of `write_masks`."""
    plan = _plan(content["plan"])
    shapes = _shapes(plan)
    network = MaskedNetwork(plan, {name: _unpacked(name, shape, tensors) for name, shape in shapes.items()})
    if list(shapes) != [name for name, _ in network.random.named_parameters()]:
        raise ValueError("the masks do not belong to the random network")
    if _digests(network) != (content["random_sha256"], content["masked_sha256"]):
        raise ValueError(
            "the weights that its seed and masks give have another SHA-256 than those that were saved: the file was "
            "changed, or this version draws other random numbers"
        )
    return network


def _digests(network: MaskedNetwork) -> tuple[str, str]:
    return _digest(network.random.parameters()), _digest(network.to_torch().parameters())


def _digest(tensors: Iterable[Tensor]) -> str:
    state = hashlib.sha256()
    for tensor in tensors:
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()


def _packed(name: str, mask: Tensor) -> tuple[str, Tensor]:
    positions = mask.flatten().nonzero()[:, 0].to(torch.int32)
    if 32 * len(positions) < mask.numel():
        return f"{name}.kept", positions
    return f"{name}.bits", torch.from_numpy(np.packbits(mask.flatten().numpy()))


def _plan(given: Mapping[str, Any]) -> Plan:
    """The plan, once its sizes are known to fit into memory: they come from a stranger's file."""
    hidden, out = (tuple(map(int, given[name])) for name in ("hidden", "out"))
    plan = Plan(
        seed=int(given["seed"]),
        distribution=str(given["distribution"]),
        features=int(given["features"]),
        hidden=hidden,
        out=out,
        bias=tuple(map(bool, given["bias"])),
        scale=tuple(map(float, given["scale"])),
    )
    sizes = (plan.features, *plan.hidden, *plan.out)
    if not hidden or not all(0 < size < 10**8 for size in sizes):
        raise ValueError(f"widths {sizes} given; widths are positive")
    if len({len(part) for part in (hidden, out, plan.bias, plan.scale)}) > 1:
        raise ValueError("hidden, out, bias and scale need one entry a layer")
    inputs = (plan.features, *plan.out)
    total = sum(h * (i + 1 + o) for h, i, o in zip(plan.hidden, inputs, plan.out, strict=False))
    if total > MOST_WEIGHTS:
        raise ValueError(f"{total:,} random weights; at most {MOST_WEIGHTS:,} are made")
    return plan


def _shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Of each parameter of the random network, in its order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (size, hidden, out) in enumerate(zip((plan.features, *plan.out), plan.hidden, plan.out, strict=False)):
        place = 1 + 4 * index
        shapes[f"{place}.weight"] = hidden, size
        if plan.bias[index]:
            shapes[f"{place}.bias"] = (hidden,)
        shapes[f"{place + 2}.weight"] = out, hidden
    return shapes


def _unpacked(name: str, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> Tensor:
    count = int(np.prod(shape))
    if f"{name}.kept" in tensors:
        mask = torch.zeros(count, dtype=torch.bool)
        mask[tensors[f"{name}.kept"].long()] = True
    else:
        bits = np.unpackbits(tensors[f"{name}.bits"].numpy())
        if not count <= len(bits) < count + 8:
            raise ValueError(f"{name}: {len(bits)} bits for {count} weights")
        mask = torch.from_numpy(bits[:count].astype(bool))
    return mask.reshape(shape)


MASKS = NetworkFormat(write_masks, build_masks)
