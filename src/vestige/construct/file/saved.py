"""Constructions in and out of files; `vestige.construct.file.stored` says how they look."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vestige.construct.exact.layers import Layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.stored import FORMAT, TEXT, digest_of, read_stored
from vestige.construct.narrowing.agreement import Agreement
from vestige.construct.result import Construction, Interpolation, Specification
from vestige.construct.robust.balls import Balls
from vestige.core.cite import paper
from vestige.core.outcome import Outcome
from vestige.nets.checkpoint import write_tensors
from vestige.nets.weights_file import CheckpointError

KINDS: tuple[type[Specification], ...] = (Interpolation, Balls, Agreement)


def save_construction(construction: Construction, path: Path | str) -> None:
    """Write a construction, whole or not at all; equal ones give equal bytes.

    Args:
        construction: of any method of this room.
        path: replaced if it exists.

    Raises:
        ValueError: no such folder, or an array that holds NaN or infinite values.
    """
    tensors: dict[str, Tensor] = {}
    specification = construction.specification
    stored = {name: _encoded(value, name, tensors) for name, value in vars(specification).items()}
    document = {
        "network": _encoded(construction.network, "network", tensors)["network"],
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


def load_construction(path: Path | str) -> Construction:
    """Read a construction that `save_construction` wrote; `verify_construction` says whether it does what it claims.

    Raises:
        CheckpointError: a damaged or changed file, or one of another kind.
    """
    stored = read_stored(path)
    if not stored.intact:
        raise CheckpointError(
            f"{path} was changed after it was written: its digest is another. `vestige verify` says which of its "
            "claims still hold; construct it again for a file that agrees with itself."
        )
    known = {kind.kind: kind for kind in KINDS}
    if stored.kind not in known:
        raise CheckpointError(
            f"{path} specifies {stored.kind[:80]!r}; known are {', '.join(known)}. Was it written by a newer vestige?"
        )
    try:
        specification: Specification = known[stored.kind](**{name: _restored(v) for name, v in stored.fields.items()})
        return Construction(
            ExactNetwork(stored.layers),
            specification,
            stored.certificate,
            Outcome(stored.outcome),
            stored.warnings,
            tuple(paper(number) for number in stored.source),
            stored.numbers,
        )
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: {error}") from error


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
        return {"network": {"inputs": value.inputs, "layers": [_rows(item) for item in value.layers]}}
    array = value.detach().cpu() if isinstance(value, Tensor) else _as_tensor(np.asarray(value))
    if isinstance(array, Tensor):
        place = f"specification.{name}"
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


def _rows(item: Layer) -> list[list[int | str]]:
    return [
        [
            row.shift,
            f"{int(row.bias):x}",
            *(part for c, w in zip(row.columns, row.weights, strict=True) for part in (c, f"{int(w):x}")),
        ]
        for row in item.neurons
    ]


def _restored(value: Any) -> Any:
    """A network where the file's layers stand for one."""
    layers = isinstance(value, tuple) and bool(value) and all(isinstance(item, Layer) for item in value)
    return ExactNetwork(value) if layers else value
