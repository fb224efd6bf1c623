"""Save, load and verify constructions of every kind; `vestige.construct.file.stored` says how a file looks."""

import json
from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vestige.construct.construction import Construction
from vestige.construct.exact.layers import Layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.check import Question, TargetError, compare
from vestige.construct.file.network_format import write_exact
from vestige.construct.file.stored import FORMAT, NETWORK, SPECIFICATION, TEXT, cause, digest_of, read_stored
from vestige.construct.file.table import KINDS, Kind
from vestige.core.cite import paper
from vestige.core.claims import Certificate
from vestige.core.outcome import OnStep, Outcome
from vestige.nets.checkpoint import write_tensors
from vestige.nets.weights_file import CheckpointError

MALFORMED = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError)


def save(construction: Construction, path: Path | str, *, kinds: Mapping[str, Kind] = KINDS) -> None:
    """Write a construction, whole or not at all; equal ones give equal bytes.

    Args:
        construction: of any method of this room.
        path: replaced if it exists.
        kinds: the kinds that can be written, by name; `vestige.construct.file.table` says how one is added.

    Raises:
        ValueError: an unknown kind, no such folder, or an array that holds NaN or infinite values.
    """
    specification = construction.specification
    if specification.kind not in kinds:
        raise ValueError(f"a construction of kind {specification.kind!r} given; allowed are {', '.join(kinds)}.")
    content, weights = kinds[specification.kind].network.write(construction.network)
    tensors = {NETWORK + name: t.detach().cpu().clone().contiguous() for name, t in weights.items()}
    stored = {
        name: _encoded(value, name, tensors)
        for name, value in vars(specification).items()
        if _is_stored(specification, name)
    }
    document = {
        "network": content,
        "specification": {"kind": specification.kind, "fields": stored},
        "claims": [
            _encoded((c.name, c.bound, c.measured, c.source), "", tensors) for c in construction.certificate.claims
        ],
        "outcome": str(construction.outcome),
        "warnings": list(construction.warnings),
        "source": [p.arxiv for p in construction.source],
        "numbers": {name: _encoded(value, "", tensors) for name, value in construction.numbers.items()},
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    tensors[TEXT] = torch.from_numpy(np.frombuffer(text, dtype=np.uint8).copy())
    write_tensors(Path(path), tensors, {"format": FORMAT, "sha256": digest_of(tensors)})


def load(path: Path | str, *, kinds: Mapping[str, Kind] = KINDS) -> Construction:
    """Read a construction that `save` wrote; `verify` says whether it does what it claims.

    Certificate, outcome, warnings and `numbers` are as stated by the file. `verify` derives the claims, and the numbers
    that follow from the content, again; it names the others as stated by the file.

    Args:
        path: the file.
        kinds: as for `save`.

    Raises:
        CheckpointError: a damaged or changed file, or one of another kind.
    """
    stored = read_stored(path)
    if not stored.intact:
        raise CheckpointError(
            f"{path} was changed after it was written: its digest is another. `vestige verify` says which of its "
            "claims still hold; construct it again for a file that agrees with itself."
        )
    kind = _known(stored.kind, kinds, path)
    try:
        return kind.construction(
            network=kind.network.build(stored.network, stored.tensors),
            specification=kind.specification(**{name: _restored(v) for name, v in stored.fields.items()}),
            certificate=stored.certificate,
            outcome=Outcome(stored.outcome),
            warnings=stored.warnings,
            source=tuple(paper(number) for number in stored.source),
            numbers=stored.numbers,
        )
    except MALFORMED as error:
        raise CheckpointError(f"{path}: {error}") from error


def verify(
    path: Path | str,
    *,
    target: nn.Module | None = None,
    points: int | None = None,
    on_step: OnStep | None = None,
    kinds: Mapping[str, Kind] = KINDS,
) -> Certificate:
    """Derive every claim of a construction's file again, by code that shares nothing with what made it.

    Args:
        path: a file that `save` wrote.
        target: the network that a pruned one stands for, which its file does not hold: without it the error is checked
            at the stored inputs only.
        points: how many points to check, at most, spread evenly; None for all. The claims say how many.
        on_step: called with the number of points done.
        kinds: as for `save`.

    Returns:
        What the specification demands, the file's own claims measured anew (NaN where this cannot derive one, so that
        it fails), and that the file is as it was written.

    Raises:
        CheckpointError: the file is damaged, or of an unknown kind.
        ValueError: a target of another shape, or for a kind that needs none.
    """
    if points is not None and points < 1:
        raise ValueError(f"points={points} given; points must be at least 1. None checks all.")
    stored = read_stored(path)
    kind = _known(stored.kind, kinds, path)
    if target is not None and not kind.takes_target:
        raise ValueError(
            f"a target given for {path}, of kind {stored.kind!r}; such a file holds all that its claims need."
        )
    try:
        derived = kind.check(stored, Question(points, target, on_step))
    except TargetError:
        raise
    except MALFORMED as error:
        raise CheckpointError(f"{path}: its specification is not one of {stored.kind!r}: {cause(error)}") from error
    return compare(stored, derived, sampled=points is not None)


def _known(name: str, kinds: Mapping[str, Kind], path: Path | str) -> Kind:
    if name not in kinds:
        raise CheckpointError(
            f"{path} specifies {name[:80]!r}; known kinds are {', '.join(kinds)}. Was it written by a newer vestige?"
        )
    return kinds[name]


def _is_stored(specification: Any, name: str) -> bool:
    return all(f.metadata.get("stored", True) for f in fields(specification) if f.name == name)


def _encoded(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """JSON for a value; arrays go into `tensors` under a name of their own."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | np.integer):
        return {"int": f"{int(value):x}"}
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, Fraction):
        return {"fraction": f"{value.numerator:x}/{value.denominator:x}"}
    if isinstance(value, tuple | list):
        return [_encoded(item, f"{name}.{k}", tensors) for k, item in enumerate(value)]
    if isinstance(value, ExactNetwork):
        return {"network": write_exact(value)[0]}
    array = value.detach().cpu() if isinstance(value, Tensor) else _as_tensor(np.asarray(value))
    if isinstance(array, Tensor):
        place = SPECIFICATION + name
        tensors[place] = array.contiguous()
        return {"array": place}
    flat = [_encoded(item, name, tensors) for item in array.ravel().tolist()]
    return {"objects": flat, "shape": list(array.shape)}


def _as_tensor(array: np.ndarray) -> Tensor | np.ndarray:
    """A tensor of the same numbers, or the array itself where no int64 and no float64 holds all of them."""
    if array.dtype != object:
        return torch.from_numpy(np.ascontiguousarray(array))
    values = array.ravel().tolist()
    if all(isinstance(v, int) and -(1 << 63) <= v < 1 << 63 for v in values):
        return torch.from_numpy(array.astype(np.int64))
    if all(abs(v) < 2**1000 and Fraction(float(v)) == v for v in values):
        return torch.from_numpy(array.astype(np.float64))
    return array


def _restored(value: Any) -> Any:
    """A network where the file's layers stand for one."""
    layers = isinstance(value, tuple) and bool(value) and all(isinstance(item, Layer) for item in value)
    return ExactNetwork(value) if layers else value
