"""Putting tensors into a network: names and shapes must fit exactly, precision is never lowered, ties are kept."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vestige.nets.state_dict import ArchitectureError, chain_layers
from vestige.nets.weights_file import CheckpointError, widened


def fill_model(model: nn.Module, tensors: Mapping[str, Tensor], *, is_chain: bool, warnings: list[str]) -> nn.Module:
    """Fill `model` with the tensors of a file.

    Args:
        model: a chain built from the grammar (its names need not agree with the file's, its order does), or the user's.
        tensors: of the file.
        is_chain: whether the model came from the grammar.
        warnings: gets a line when narrow floats were widened.

    Raises:
        CheckpointError: missing or unexpected names, other shapes, integer weights, copies of tied weights that differ.
    """
    expected = model.state_dict(keep_vars=True)
    if is_chain and set(expected) != set(tensors):
        tensors = _renamed(expected, tensors)
    filled = {**tensors, **_tied(expected, tensors)}
    missing, unexpected = sorted(set(expected) - set(filled)), sorted(set(filled) - set(expected))
    if missing or unexpected:
        raise CheckpointError(
            f"the weights do not fit the architecture: {len(missing)} tensors are missing{_first(missing)}, "
            f"{len(unexpected)} are unexpected{_first(unexpected)}; name the architecture they were trained with"
        )
    for name, tensor in filled.items():
        _check_tensor(name, tensor, expected[name])
    dtype = _common_dtype(filled, warnings)
    filled = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in filled.items()}
    if not is_chain and dtype is not None:
        model = model.to(dtype)  # in place, which keeps ties; assigning below would cut them
    model.load_state_dict(filled, strict=True, assign=is_chain)
    return model


def _renamed(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A chain is known by its order: file layer k becomes model layer k, whatever either is called."""
    try:
        theirs = chain_layers(tensors)
    except ArchitectureError as error:
        raise CheckpointError(str(error)) from error
    ours = chain_layers(expected)
    if len(ours) != len(theirs) or [a.shape for a in ours] != [b.shape for b in theirs]:
        raise CheckpointError(
            f"the weights do not fit the architecture: it has layers {[list(a.shape) for a in ours]}, the file "
            f"{[list(b.shape) for b in theirs]}"
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
            f"{name} is stored as {tensor.dtype}, the architecture needs {expected.dtype}: quantized? Export floats"
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
