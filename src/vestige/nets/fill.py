"""Putting tensors into a network: names and shapes must fit exactly, precision is never lowered, ties are kept."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vestige.nets.state_dict import ArchitectureError, chain_layers
from vestige.nets.stored_weights import candidates
from vestige.nets.weights_file import CheckpointError, widened


def fill_model(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    is_chain: bool,
    warnings: list[str],
    order: Sequence[str] | None = None,
) -> nn.Module:
    """Fill `model` with the tensors of a file.

    Args:
        model: a chain built from the grammar (its names need not agree with the file's, its order does), or the user's.
        tensors: of the file.
        is_chain: whether the model came from the grammar.
        order: names of a chain's layers in the order of computation, where they are known.
        warnings: gets a line when narrow floats were widened.

    Raises:
        CheckpointError: missing or unexpected names, other shapes, integer weights, copies of tied weights that differ.
    """
    expected = model.state_dict(keep_vars=True)
    stored_as = {id(tensor): name for name, tensor in tensors.items()}
    if not is_chain:
        tensors = _with_our_names(expected, tensors, warnings)
    elif set(expected) != set(tensors) or order is not None:
        tensors = _renamed(expected, tensors, order)
    filled = {**tensors, **_tied(expected, tensors)}
    missing, unexpected = sorted(set(expected) - set(filled)), sorted(set(filled) - set(expected))
    if missing or unexpected:
        raise CheckpointError(
            f"the weights do not fit the architecture: {len(missing)} tensors are missing{_first(missing)}, "
            f"{len(unexpected)} are unexpected{_first(unexpected)}; name the architecture they were trained with"
        )
    for name, tensor in filled.items():
        _check_tensor(stored_as.get(id(tensor), name), tensor, expected[name])
    dtype = _common_dtype(filled, warnings)
    filled = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in filled.items()}
    if not is_chain and dtype is not None:
        model = model.to(dtype)  # in place, which keeps ties; assigning below would cut them
    model.load_state_dict(filled, strict=True, assign=is_chain)
    return model


def _with_our_names(
    expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], notes: list[str]
) -> dict[str, Tensor]:
    """The file's tensors under the network's own names, whatever was put around them; as they are if nothing helps.

    Raises:
        CheckpointError: two networks in the file fit.
    """
    for found, said in candidates(tensors, notes):
        below = {
            name[: -len(first)]
            for first in list(expected)[:1]
            for name in found
            if name.endswith(first) and (name == first or name[-len(first) - 1] == ".")
        }
        under = _under(found, below)
        fitting = sorted(prefix for prefix, held in under.items() if _fits(expected, held))
        if fitting and "" not in fitting and _fits(expected, {name: found[name] for name in expected if name in found}):
            fitting.append("")  # beside a copy under longer names
        if len(fitting) > 1 and fitting[0]:
            places = ", ".join(
                f"names that begin with {prefix!r}" if prefix else "plain names" for prefix in fitting[:5]
            )
            raise CheckpointError(
                f"{len(fitting)} networks in the file fit the architecture: {places}. Write one to a file of its "
                f"own: vestige convert FILE ONE.safetensors --key {fitting[0].rstrip('.')}"
            )
        if fitting:
            prefix = fitting[0]
            left = [name for name in found if not name.startswith(prefix)]
            said += [f"the names of the file begin with {prefix!r}, which was dropped"] if prefix else []
            said += [f"left out of the file: {', '.join(left[:5])} ({len(left)} in all)"] if left else []
            notes[:] = said
            return under.get(prefix) or found
    return dict(tensors)


def _under(tensors: Mapping[str, Tensor], prefixes: set[str]) -> dict[str, dict[str, Tensor]]:
    """The tensors below each prefix, which ends with a dot or is empty, without it."""
    under: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in prefixes}
    for name, tensor in tensors.items():
        for end in [0, *(place + 1 for place, letter in enumerate(name) if letter == ".")]:
            if name[:end] in under:
                under[name[:end]][name[end:]] = tensor
    return under


def _fits(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> bool:
    """Whether the names are the network's, those that it ties to others aside."""
    given = {id(expected[name]) for name in tensors if name in expected}
    return set(tensors) <= set(expected) and all(id(tensor) in given for tensor in expected.values())


def _renamed(
    expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], order: Sequence[str] | None
) -> dict[str, Tensor]:
    """A chain is known by its order: file layer k becomes model layer k, whatever either is called."""
    ours = chain_layers(expected)
    try:
        theirs = chain_layers(tensors, order=order, shapes=[layer.shape for layer in ours])
    except ArchitectureError as error:
        raise CheckpointError(str(error)) from error
    if [a.shape for a in ours] != [b.shape for b in theirs]:
        turned = [b.shape[::-1] for b in theirs]
        raise CheckpointError(
            f"the weights do not fit the architecture: it has layers {[list(a.shape) for a in ours]}, the file "
            f"{[list(b.shape) for b in theirs]}"
            + ("; stored as (in, out)? Transpose them" if [a.shape for a in ours] == turned else "")
        )
    stems = {theirs.name: ours.name for ours, theirs in zip(ours, theirs, strict=True)}
    parts = {name: name.rpartition(".") for name in tensors}
    return {f"{stems[stem]}.{kind}": tensors[name] for name, (stem, _, kind) in parts.items()}


def _tied(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names the file lacks because the model ties them to a name it has; refuses copies that differ."""
    found: dict[str, Tensor] = {}
    names_of: dict[int, list[str]] = {}
    for name, parameter in expected.items():
        names_of.setdefault(id(parameter), []).append(name)
    for names in names_of.values():
        present = [name for name in names if name in tensors]
        if len(present) > 1 and any(not torch.equal(tensors[present[0]], tensors[other]) for other in present[1:]):
            raise CheckpointError(f"{' and '.join(present)} are one tensor in the architecture but differ in the file")
        found.update({name: tensors[present[0]] for name in names if present and name not in tensors})
    return found


def _check_tensor(name: str, tensor: Tensor, expected: Tensor) -> None:
    if tensor.shape != expected.shape:
        raise CheckpointError(f"{name} has shape {list(tensor.shape)}, the architecture needs {list(expected.shape)}")
    if tensor.is_floating_point() != expected.is_floating_point() or tensor.is_complex():
        raise CheckpointError(
            f"{name} is stored as {tensor.dtype}, the architecture needs {expected.dtype}"
            + ("" if tensor.is_complex() else ": quantized? Export floats")
        )


def _common_dtype(tensors: Mapping[str, Tensor], warnings: list[str]) -> torch.dtype | None:
    floats = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    if not floats:
        return None
    common = max((widened(torch.empty(0, dtype=dtype)).dtype for dtype in floats), key=lambda dtype: dtype.itemsize)
    if floats != {common}:
        stored = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in floats))
        warnings.append(f"weights stored as {stored} are computed with in {str(common).removeprefix('torch.')}")
    return common


def _first(names: list[str]) -> str:
    return f" (first {names[0]!r})" if names else ""
