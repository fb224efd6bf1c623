"""What training loops and file formats wrap around a network's tensors, recognized by name and taken off again.

Prefixes of wrappers, the counter of an averaged copy, the state of a loss or a metric, transposed kernels, and weights
that are stored as the factors of a parametrization, or as integers with a scale. Whatever is changed is said. Two
networks in one file are refused.
"""

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

from vestige.nets.layer_order import numbered_before
from vestige.nets.parametrized import effective_weights
from vestige.nets.quantized import with_floats
from vestige.nets.state_dict import ArchitectureError

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
LOSSES = ("criterion", "loss", "loss_fn", "loss_func", "loss_function")
MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")  # of optimizers
_METRIC = re.compile(r".*(metric|acc|accuracy|auroc|f1|confmat)\w*\.(tp|fp|tn|fn|total|correct|confmat|preds|target)")

Tensors = dict[str, Tensor]


def candidates(tensors: Mapping[str, Tensor], notes: list[str]) -> Iterator[tuple[Tensors, list[str]]]:
    """The tensors as they are, then with more and more taken off, each with what was done to them.

    A network that names its tensors itself takes the first of these whose names are its own.
    """
    plain = dict(tensors)
    yield plain, list(notes)
    said = list(notes)
    plain = without_bystanders(plain, said)
    yield plain, list(said)
    for deep in (False, True):
        bare = without_wrappers(plain, deep=deep)
        extra = [_dropped_prefix(plain, bare)] if set(bare) != set(plain) else []
        yield bare, [*said, *extra]
        more = list(said) + extra
        yield effective_weights(with_floats(bare, more), more), more


def chain_tensors(tensors: Mapping[str, Tensor], notes: list[str], *, stated: bool = False) -> Tensors:
    """The weights and biases of a chain, whose names matter only for their order.

    Args:
        tensors: of the file.
        notes: get a line for each thing that was left out, turned or computed.
        stated: the caller names all layers of the chain, so that equal ones are no two networks.

    Raises:
        ArchitectureError: several networks in one file, or a kernel that cannot be turned.
    """
    bare = without_wrappers(without_bystanders(tensors, notes), deep=True)
    if not stated:
        _refuse_several(bare)
    try:
        return effective_weights(with_floats(turned_kernels(bare, notes), notes), notes)
    except ValueError as error:
        raise ArchitectureError(str(error)) from error


def _refuse_several(tensors: Mapping[str, Tensor]) -> None:
    """A network and a copy of it are never read as one of twice the depth."""
    same = networks(tensors)
    affix = "" if same else copied(tensors)
    if not same and not affix:
        return
    which = ", ".join(same) if same else f"the names of one with {affix!r} added"
    key = same[0] if same else affix[:-1] if affix.endswith(".") else ""
    way = f": vestige convert FILE ONE.safetensors --key {key}" if key else ""
    raise ArchitectureError(
        f"the file holds {len(same) or 2} networks of the same layers, {which}: an average (EMA) of the other? "
        f"Write one to a file of its own{way}"
    )


def without_bystanders(tensors: Mapping[str, Tensor], notes: list[str]) -> Tensors:
    """Without the counter of an average, and without what belongs to a loss, a metric or an optimizer."""
    left = [
        name
        for name in tensors
        if name.rpartition(".")[2] in ("n_averaged", *MOMENTS)
        or name.split(".")[0] in LOSSES
        or _METRIC.fullmatch(name)
    ]
    if left:
        notes.append(f"left out of the file, as no part of the network: {', '.join(left[:5])}")
    return {name: t for name, t in tensors.items() if name not in set(left)}


def without_wrappers(tensors: Mapping[str, Tensor], *, deep: bool) -> Tensors:
    """Without the segments that DataParallel, torch.compile and their like put before names.

    Args:
        tensors: by name.
        deep: wherever such a segment stands, and also any first segment that all names share.
    """
    bare = {".".join(_unwrapped(name.split("."), deep)): t for name, t in tensors.items()}
    if len(bare) != len(tensors):
        return dict(tensors)
    while deep and bare and len({name.split(".")[0] for name in bare}) == 1 and min(n.count(".") for n in bare) > 1:
        bare = {name.partition(".")[2]: t for name, t in bare.items()}
    return bare


def _unwrapped(parts: list[str], deep: bool) -> list[str]:
    if deep:
        return [part for part in parts if part not in WRAPPERS]
    while parts and parts[0] in WRAPPERS:
        parts = parts[1:]
    return parts


def _dropped_prefix(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> str:
    first, bare = next(iter(before), ""), next(iter(after), "")
    return f"the names of the file are longer than the network's; {first!r} was read as {bare!r}"


def networks(tensors: Mapping[str, Tensor]) -> list[str]:
    """First segments below which the same layers stand, two layers or more; none where numbers order them."""
    groups: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        groups.setdefault(first, {})[rest] = tuple(tensor.shape)
    alike: dict[frozenset, list[str]] = {}
    for first, held in groups.items():
        alike.setdefault(frozenset(held.items()), []).append(first)
    for same in alike.values():
        held = groups[same[0]]
        weights = sum(name.endswith((".weight", ".kernel")) for name in held)
        if len(same) > 1 and weights > 1 and not numbered_before(*sorted(same)[:2]):
            return same
    return []


def copied(tensors: Mapping[str, Tensor]) -> str:
    """What stands before, or behind, each name of a second network of the same layers; "" where there is none."""
    names = sorted(tensors, key=len)
    kept = names[: len(names) // 2]
    for name in names[1:]:
        before, found, behind = name.partition(names[0])
        if not found or any(f"{before}{one}{behind}" not in tensors for one in kept):
            continue
        pairs = {f"{before}{one}{behind}": one for one in kept}
        if re.search("[a-z]", before + behind) and set(pairs) | set(kept) == set(names) and not before * len(behind):
            same = all(tensors[two].shape == tensors[one].shape for two, one in pairs.items())
            if same and sum(tensor.ndim > 1 for tensor in tensors.values()) > 3:
                return before or behind
    return ""


def turned_kernels(tensors: Mapping[str, Tensor], notes: list[str]) -> Tensors:
    """Kernels of Keras and Flax, stored as (in, out), as weights (out, in).

    Raises:
        ArchitectureError: a kernel of a convolution, whose flattened outputs stand in another order there.
    """
    kernels = [name for name in tensors if name.rpartition(".")[2] == "kernel"]
    if not kernels:
        return dict(tensors)
    if any(tensors[name].ndim != 2 for name in kernels):
        raise ArchitectureError(
            "convolutions of Keras or Flax ('kernel') flatten their outputs in another order than torch; rebuild the "
            "network in torch, check its outputs, and save its state_dict"
        )
    notes.append("kernels stored as (in, out), as Keras and Flax do, were transposed")
    return {
        name.removesuffix("kernel") + "weight" if name in kernels else name: t.T.contiguous() if name in kernels else t
        for name, t in tensors.items()
    }
