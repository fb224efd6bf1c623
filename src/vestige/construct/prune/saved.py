"""A pruned network in a file of masks and a seed: the random weights come back when it is read, and are checked.

Each mask is stored as bits, or as the positions that it keeps where those are fewer bytes. The digests of the random
and of the masked weights are in the file, so that a changed bit of either is noticed, and another library's random
numbers too.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from vestige.construct.prune.compare import certify
from vestige.construct.prune.pruned import Plan, Pruned, digest, masked, random_network
from vestige.construct.prune.sup_error import Ball
from vestige.core.claims import Certificate, Claim
from vestige.core.relu_chain import read_relu_chain
from vestige.nets.checkpoint import write_tensors
from vestige.nets.weights_file import CheckpointError, read_weights

KIND = "vestige pruned network 1"
MOST_WEIGHTS = 2**29


@dataclass(frozen=True, eq=False)
class StoredPruned:
    """What a file of masks gave: the random network of its seed, the masks, and the ball of its certificate."""

    network: nn.Sequential
    masks: dict[str, Bool[Tensor, "..."]]
    plan: Plan
    ball: Ball
    stored_digests: tuple[str, str]

    @property
    def module(self) -> nn.Sequential:
        """The pruned network as a plain module."""
        return masked(self.network, self.masks)

    @property
    def differing(self) -> int:
        """How many of the two digests, of the random and of the masked weights, are not those of the file."""
        return sum(a != b for a, b in zip(_digests(self.network, self.masks), self.stored_digests, strict=True))


def save_pruned(pruned: Pruned, path: Path | str) -> None:
    """Write masks and seed as safetensors; the random weights are not in the file.

    Args:
        pruned: what `prune_to_target` gave.
        path: replaced if it exists.

    Raises:
        CheckpointError: no such folder.
    """
    tensors = dict(_packed(name, mask) for name, mask in pruned.masks.items())
    random, kept = _digests(pruned.network, pruned.masks)
    metadata = {"kind": KIND, "random_sha256": random, "masked_sha256": kept}
    metadata |= {"plan": json.dumps(asdict(pruned.plan)), "ball": json.dumps(asdict(pruned.ball))}
    write_tensors(Path(path), tensors, metadata)


def is_pruned_file(path: Path | str) -> bool:
    """Whether `save_pruned` wrote it, by what the file says of itself.

    Raises:
        CheckpointError: no readable safetensors file.
    """
    return read_weights(Path(path)).metadata.get("kind") == KIND


def load_pruned(path: Path | str) -> StoredPruned:
    """Read masks, make the random network of the seed again, and compare both with the file's digests.

    Raises:
        CheckpointError: no file of masks, damaged masks, or weights that are not bit for bit those that were saved.
    """
    found = _read(Path(path))
    if found.differing:
        raise CheckpointError(
            f"{path}: the weights that its seed and masks give have another SHA-256 than those that were saved: the "
            "file was changed, or this version draws other random numbers"
        )
    return found


def verify_pruned(path: Path | str, target: nn.Module | None = None) -> Certificate:
    """Check a file of masks again: its weights bit for bit, and with the target its error on the whole ball.

    Args:
        path: what `save_pruned` wrote.
        target: the network that was to come out; without it the error is not looked at.

    Raises:
        CheckpointError: no file of masks.
        ValueError: a target of another shape, or none that can be read.
    """
    found = _read(Path(path))
    claims = [Claim("digests of weights that differ from the file's", 0, found.differing, "SHA-256")]
    if target is not None:
        layers = read_relu_chain(target).affine()
        sizes = tuple(len(layer.weight) for layer in layers)
        if (layers[0].weight.shape[1], *sizes) != (found.plan.features, *found.plan.out):
            raise ValueError(
                f"a target of widths {[layers[0].weight.shape[1], *sizes]} given; the file is of one of widths "
                f"{[found.plan.features, *found.plan.out]}"
            )
        error = certify(layers, found.module, found.ball)[-1].bound
        claims.append(
            Claim("error anywhere in the ball, l_2", found.ball.epsilon, error, "construct/prune/sup_error.py")
        )
    return Certificate(tuple(claims))


def _digests(network: nn.Sequential, masks: dict[str, Tensor]) -> tuple[str, str]:
    return digest(list(network.parameters())), digest(list(masked(network, masks).parameters()))


def _packed(name: str, mask: Tensor) -> tuple[str, Tensor]:
    positions = mask.flatten().nonzero()[:, 0].to(torch.int32)
    if 32 * len(positions) < mask.numel():
        return f"{name}.kept", positions
    return f"{name}.bits", torch.from_numpy(np.packbits(mask.flatten().numpy()))


def _read(path: Path) -> StoredPruned:
    weights = read_weights(path)
    if weights.metadata.get("kind") != KIND:
        raise CheckpointError(
            f"{path} is no file of masks; `save_pruned` and `vestige construct prune --out` write one"
        )
    try:
        plan, ball = _plan(json.loads(weights.metadata["plan"])), Ball(**json.loads(weights.metadata["ball"]))
        network = random_network(plan)
        masks = {name: _unpacked(name, p, weights.tensors) for name, p in network.named_parameters()}
        stored = weights.metadata["random_sha256"], weights.metadata["masked_sha256"]
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError, RecursionError) as error:
        raise CheckpointError(f"{path} is a damaged file of masks ({type(error).__name__}: {error})") from error
    return StoredPruned(network, masks, plan, ball, stored)


def _plan(given: dict) -> Plan:
    """The plan, once its sizes are known to fit into memory: they come from a stranger's file."""
    hidden, out = (tuple(map(int, given[name])) for name in ("hidden", "out"))
    bias, scale = tuple(map(bool, given["bias"])), tuple(map(float, given["scale"]))
    plan = Plan(int(given["seed"]), str(given["distribution"]), int(given["features"]), hidden, out, bias, scale)
    sizes = (plan.features, *plan.hidden, *plan.out)
    if not all(0 < size < 10**8 for size in sizes) or len({len(part) for part in (hidden, out, bias, scale)}) > 1:
        raise ValueError(f"widths {sizes}")
    inputs = (plan.features, *plan.out)
    total = sum(h * (i + 1 + o) for h, i, o in zip(plan.hidden, inputs, plan.out, strict=False))
    if total > MOST_WEIGHTS:
        raise ValueError(f"{total:,} random weights; at most {MOST_WEIGHTS:,} are made")
    return plan


def _unpacked(name: str, parameter: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    count = parameter.numel()
    if f"{name}.kept" in tensors:
        mask = torch.zeros(count, dtype=torch.bool)
        mask[tensors[f"{name}.kept"].long()] = True
    else:
        bits = np.unpackbits(tensors[f"{name}.bits"].numpy())
        if not count <= len(bits) < count + 8:
            raise ValueError(f"{name}: {len(bits)} bits for {count} weights")
        mask = torch.from_numpy(bits[:count].astype(bool))
    return mask.reshape(parameter.shape)
