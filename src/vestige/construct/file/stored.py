"""Constructions as one file that anybody can check: the network, the specification, the claims.

The file is a safetensors file, so that reading it runs nothing. Its tensor `construction` is JSON text as bytes,

    {"network": ..., "specification": {"kind": "interpolation", "fields": {...}}, "claims": [...], ...}

Arrays of the specification are tensors named `specification.`..., tensors of the network `network.`... The metadata
holds the SHA-256 of all of it. What stands under "network" is up to the kind. Exact networks are written as

    {"inputs": 2, "layers": [[[shift, "bias", column, "weight", ...], ...], ...]}

with one list a neuron, which computes (sum_k weight_k x[column_k] + bias) / 2**shift before its ReLU; biases and
weights are hexadecimal integers of any length.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vestige.construct.exact.layers import Layer, Neuron
from vestige.core.cite import paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import Outcome
from vestige.nets.weights_file import CheckpointError, read_weights

FORMAT = "vestige construction 2"
TEXT, NETWORK, SPECIFICATION = "construction", "network.", "specification."
LARGEST_SHIFT = 1 << 17
PARTS = ("network", "specification", "claims", "outcome", "warnings", "source", "numbers")


@dataclass(frozen=True, eq=False, kw_only=True)
class Stored:
    """What a file says, checked for form only.

    Attributes:
        network: JSON, as its kind writes it; form and sizes are unchecked.
        tensors: of the network, by name.
        kind: of the specification.
        fields: of the specification: numbers, text, arrays and exact networks (as layers) by name.
        certificate: the claims as written.
        source: arXiv numbers.
        intact: the digest is the one of the content.
    """

    network: Any
    tensors: Mapping[str, Tensor]
    kind: str
    fields: Mapping[str, Any]
    certificate: Certificate
    outcome: str
    warnings: tuple[str, ...]
    source: tuple[str, ...]
    numbers: Mapping[str, float | int]
    intact: bool

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Of an exact network; ValueError where the file holds another one."""
        return layers_of(self.network)


def read_stored(path: Path | str) -> Stored:
    """Read the file's own words, refusing whatever has not its form.

    Raises:
        CheckpointError: see `read_weights`; also another format, or text that is not as described above.
    """
    weights = read_weights(Path(path))
    text = weights.tensors.get(TEXT)
    if weights.metadata.get("format") != FORMAT or text is None or text.dtype != torch.uint8:
        raise CheckpointError(
            f"{path} holds no construction (no {FORMAT!r} in its metadata); `vestige construct` writes such files. Was "
            "it written by an older vestige? Construct it again."
        )
    arrays = {name: t for name, t in weights.tensors.items() if name != TEXT}
    try:
        document = json.loads(text.numpy().tobytes(), object_pairs_hook=_unique)
        _need(isinstance(document, dict) and set(document) == set(PARTS), f"the parts {', '.join(PARTS)} are needed")
        return _stored(document, arrays, weights.metadata.get("sha256") == digest_of(weights.tensors))
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise CheckpointError(f"{path} is not a well-formed construction: {cause(error)}") from error


def _stored(document: dict[str, Any], arrays: dict[str, Tensor], intact: bool) -> Stored:
    specification = document["specification"]
    named = isinstance(specification, dict) and set(specification) == {"kind", "fields"}
    _need(named, "specification: kind and fields")
    return Stored(
        network=document["network"],
        tensors={name.removeprefix(NETWORK): t for name, t in arrays.items() if name.startswith(NETWORK)},
        kind=_text(specification["kind"]),
        fields={_text(k): _decoded(v, arrays) for k, v in specification["fields"].items()},
        certificate=Certificate(tuple(_claim(item, arrays) for item in document["claims"])),
        outcome=str(Outcome(_text(document["outcome"]))),
        warnings=tuple(_text(item) for item in document["warnings"]),
        source=tuple(paper(_text(item)).arxiv for item in document["source"]),
        numbers={_text(k): _number(v, arrays) for k, v in document["numbers"].items()},
        intact=intact,
    )


def _claim(item: Any, arrays: dict[str, Tensor]) -> Claim:
    name, bound, measured, source = item
    return Claim(_text(name), _number(bound, arrays), _number(measured, arrays), _text(source))


def _decoded(value: Any, arrays: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return tuple(_decoded(item, arrays) for item in value)
    _need(isinstance(value, dict), "a value is text, a list or {kind: content}")
    if set(value) == {"objects", "shape"}:
        flat = np.array([*(_number(v, arrays) for v in value["objects"]), None], dtype=object)[:-1]
        return flat.reshape(value["shape"])
    _need(len(value) == 1, "a value has one kind")
    kind, content = next(iter(value.items()))
    if kind == "array":
        return arrays[_text(content)].numpy()
    if kind == "network":
        return layers_of(content)
    return _plain(kind, _text(content))


def _plain(kind: str, text: str) -> int | float | Fraction:
    if kind == "int":
        return int(text, 16)
    if kind == "float":
        return float.fromhex(text)
    _need(kind == "fraction", f"{kind[:40]!r} is not a kind of value")
    over, _, under = text.partition("/")
    _need(int(under, 16) > 0, "a fraction has a positive denominator")
    return Fraction(int(over, 16), int(under, 16))


def _number(value: Any, arrays: dict[str, Tensor]) -> Any:
    number = _decoded(value, arrays)
    _need(isinstance(number, int | float | Fraction) and not isinstance(number, bool), "a number is needed")
    return number


def layers_of(network: Any) -> tuple[Layer, ...]:
    """The layers of an exact network from their JSON.

    Raises:
        ValueError: another form.
    """
    _need(isinstance(network, dict) and set(network) == {"inputs", "layers"}, "network: inputs and layers")
    size = _whole(network["inputs"], 10**9)
    _need(size > 0 and isinstance(network["layers"], list) and bool(network["layers"]), "network: at least one layer")
    layers = []
    for rows in network["layers"]:
        _need(isinstance(rows, list) and len(rows) > 0, "a layer has at least one neuron")
        layers.append(Layer(size, tuple(_neuron(row, size) for row in rows)))
        size = len(rows)
    return tuple(layers)


def _neuron(row: Any, inputs: int) -> Neuron:
    paired = isinstance(row, list) and len(row) >= 2 and len(row) % 2 == 0
    _need(paired, "a neuron is [shift, bias, column, weight, ...]")
    columns = tuple(_whole(column, inputs - 1) for column in row[2::2])
    _need(len(set(columns)) == len(columns), "a neuron names each column once")
    weights = tuple(int(_text(weight), 16) for weight in row[3::2])
    return Neuron(columns, weights, int(_text(row[1]), 16), _whole(row[0], LARGEST_SHIFT))


def _whole(value: Any, largest: int) -> int:
    _need(type(value) is int and 0 <= value <= largest, f"an integer from 0 to {largest} is needed")
    return value


def _text(value: Any) -> str:
    _need(isinstance(value, str) and value.isprintable(), "text without control characters is needed")
    return value


def _need(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _need(len({key for key, _ in pairs}) == len(pairs), "a name stands twice in one object")
    return dict(pairs)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def cause(error: Exception) -> str:
    """What is wrong with a file, without Python's words for values of other types than were needed.

    >>> cause(TypeError("'<' not supported between instances of 'int' and 'str'"))
    'a part of it is missing, or of another type than its kind needs'
    """
    ours = isinstance(error, ValueError)
    return str(error)[:300] if ours else "a part of it is missing, or of another type than its kind needs"
