"""The claims of a transformer's file, derived again: its weights are run in numpy, and the answers are counted out.

Nothing is shared with what made the network: `forward` is a second reading of the weights, and the answers come from
`vestige.construct.file.transformer_answers`, which goes through each input in plain Python.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vestige.construct.file.check import Derived, Question
from vestige.construct.file.check_points import chosen
from vestige.construct.file.stored import Stored
from vestige.construct.file.transformer_answers import answer
from vestige.core.claims import Claim
from vestige.core.outcome import Step

AT_ONCE = 1 << 21
FINER = {"float64": "float64", "float32": "float32", "float16": "float16"}
Array = NDArray[Any]


def derive_transformer(stored: Stored, question: Question) -> Derived:
    """Outputs that are off, in float64 and in the narrower dtype, what is proved for every input, and all sizes.

    Raises:
        ValueError: no transformer, no task that is known, or inputs that do not fit.
    """
    fields = stored.fields
    weights = Weights(stored.network, stored.tensors)
    claims = measured(weights, fields, question)
    if not isinstance(fields["proved"], bool):
        raise ValueError(f"proved={str(fields['proved'])[:80]!r}; it must be true or false")
    if fields["proved"]:
        offset = -1 if fields["task"] == "count before" else 0
        worst = proved_counts(weights, offset)
        claims.append(Claim("error at every input, proved", float(fields["tolerance"]), worst, str(fields["source"])))
    return Derived(tuple(claims), weights.sizes())


@runtime_checkable
class Runs(Protocol):
    """What has outputs in a dtype, and a width that memory goes with."""

    @property
    def width(self) -> int: ...
    def run(self, x: Array, dtype: str) -> Array: ...


def measured(weights: Runs, fields: Mapping[str, Any], question: Question) -> list[Claim]:
    """Outputs that are off in float64 and in the narrower dtype, and the largest error.

    Raises:
        ValueError: a dtype or a tolerance that is none.
    """
    narrow = FINER.get(str(fields["dtype"]))
    if narrow is None or not isinstance(fields["points"], tuple) or not 0 < fields["tolerance"] < math.inf:
        raise ValueError(f"dtype {fields['dtype']!r}, tolerance {fields['tolerance']!r}; float64 and float32 are run")
    if not isinstance(fields["rounded"], bool):
        raise ValueError(f"rounded={str(fields['rounded'])[:80]!r}; it must be true or false")
    errors, off = _errors(weights, "float64", fields, question)
    _, off_narrow = _errors(weights, narrow, fields, question)
    source = str(fields["source"])
    return [
        Claim("inputs where it is off", 0, off, source),
        Claim("largest error", float(fields["tolerance"]), errors, source),
        Claim(f"inputs where it is off in {narrow}", 0, off_narrow, source),
    ]


def _errors(weights: Runs, dtype: str, fields: Mapping[str, Any], question: Question) -> tuple[float, int]:
    worst, off, done = 0.0, 0, 0
    total = sum(len(group) for group in fields["points"])
    for group in fields["points"]:
        for rows in np.array_split(chosen(len(group), question.points), pieces(group, weights.width)):
            if not len(rows):
                continue
            output = weights.run(group[rows], dtype).astype(np.float64)
            wanted = np.array([answer(str(fields["task"]), one, fields["given"]) for one in group[rows]])
            if wanted.shape != output.shape:
                raise ValueError(f"outputs of shape {output.shape[1:]} for a task with answers of {wanted.shape[1:]}")
            error = np.abs(output - wanted).reshape(len(rows), -1).max(1)
            off += int((~(error < 0.5 if fields["rounded"] else error <= fields["tolerance"])).sum())
            worst = max(worst, float(error.max()) if np.isfinite(error).all() else math.inf)
            done += len(rows)
            if question.on_step is not None:
                question.on_step(Step(done, total, float(done), "inputs"))
    return worst, off


def pieces(group: Array, width: int) -> int:
    """How many parts a group of inputs is run in."""
    tokens = group.shape[0] * group.shape[1]
    return max(1, min(len(group), tokens * (width + group.shape[1]) // AT_ONCE))


@dataclass(frozen=True)
class Weights:
    """The numbers of the file, by their names."""

    network: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def width(self) -> int:
        """Of the stream."""
        return int(self.tensors["embedding.table"].shape[1])

    def get(self, name: str, dtype: str = "float64") -> Array:
        """A tensor as an array."""
        return self.tensors[name].numpy().astype(dtype)

    def shape(self) -> list[tuple[int, int]]:
        """How many heads and how many linear layers each layer has."""
        found = [(int(heads), int(depth)) for heads, depth in self.network["layers"]]
        if not found or len(found) > 1000 or not all(0 <= n <= 10_000 for pair in found for n in pair):
            raise ValueError("a transformer has layers of heads and linear layers")
        return found

    def linear(self, name: str, x: Array, dtype: str) -> Array:
        """x W^T + b."""
        y = x @ self.get(f"{name}.weight", dtype).T
        return y + self.get(f"{name}.bias", dtype) if f"{name}.bias" in self.tensors else y

    def run(self, x: Array, dtype: str) -> Array:
        """Outputs of the network."""
        stream = self._embedded(x, dtype)
        read, first = self.network["read"], int("embedding.sink" in self.tensors)
        rows = np.arange(stream.shape[1])
        here = rows if read is None else rows[[read if read < 0 else first + read]]
        shape = self.shape()
        for k, (heads, depth) in enumerate(shape):
            wanted = here if k == len(shape) - 1 else rows
            after = stream[:, wanted]
            for h in range(heads):
                after = after + self._head(f"layers.{k}.heads.{h}", stream, wanted, dtype)
            if depth:
                hidden = after
                for place in range(depth):
                    hidden = self.linear(f"layers.{k}.mlp.{2 * place}", hidden, dtype)
                    hidden = hidden if place == depth - 1 else np.maximum(hidden, 0)
                after = after + hidden
            stream = after
        y = self.linear("readout", stream, dtype)
        return y[:, first:] if read is None else y[:, 0]

    def _embedded(self, x: Array, dtype: str) -> Array:
        table = self.get("embedding.table", dtype)
        stream = table[x] if self.network["ids"] is True else x.astype(dtype) @ table
        least, most = self.network["lengths"]
        if stream.ndim != 3 or not least <= stream.shape[1] <= most or (self.network["ids"] is True and x.min() < 0):
            raise ValueError(f"inputs of shape {x.shape} for a network of {least} to {most} tokens")
        if "embedding.position" in self.tensors:
            stream = stream + self.get("embedding.position", dtype)[: stream.shape[1]]
        if "embedding.last" in self.tensors:
            stream[:, -1] += self.get("embedding.last", dtype)
        if "embedding.sink" in self.tensors:
            sink = np.broadcast_to(self.get("embedding.sink", dtype), (len(stream), 1, stream.shape[2]))
            stream = np.concatenate([sink, stream], 1)
        return stream

    def _head(self, name: str, stream: Array, rows: Array, dtype: str) -> Array:
        query, key, value = (self.linear(f"{name}.{part}", stream, dtype) for part in ("query", "key", "value"))
        logits = np.einsum("bqr,bkr->bqk", query[:, rows], key, optimize=True)
        if self.network["mask"] == "causal":
            logits = np.where(rows[:, None] >= np.arange(stream.shape[1]), logits, -np.inf)
        elif self.network["mask"] == "others":
            logits = np.where(rows[:, None] != np.arange(stream.shape[1]), logits, -np.inf)
        share = np.exp(logits - logits.max(-1, keepdims=True))
        share = share / share.sum(-1, keepdims=True)
        return self.linear(f"{name}.out", np.einsum("bqk,bkv->bqv", share, value, optimize=True), dtype)

    def names(self, *ends: str) -> Iterator[Array]:
        """The tensors whose names end so."""
        return (t.numpy() for name, t in self.tensors.items() if name.endswith(ends))

    def sizes(self) -> dict[str, float | int]:
        """What a certificate may claim, by its names."""
        shape = self.shape()
        hidden = [
            self.tensors[f"layers.{k}.mlp.{2 * p}.weight"].shape[0]
            for k, (_, d) in enumerate(shape)
            for p in range(d - 1)
        ]
        return {
            "layers": len(shape),
            "stream width": self.width,
            "heads in a layer": max(heads for heads, _ in shape),
            "rank of a head": max([len(t) for t in self.names("query.weight")], default=0),
            "values of a head": max([len(t) for t in self.names("value.weight")], default=0),
            "neurons of an MLP layer": max(hidden, default=0),
            "weights other than 0": sum(int(np.count_nonzero(t.numpy())) for t in self.tensors.values()),
            "largest weight": max(float(np.abs(t.numpy()).max()) for t in self.tensors.values() if t.numel()),
        }


def proved_counts(weights: Weights, offset: int) -> float:
    """The error of count + offset over all sequences that the network takes; NaN where it cannot be bounded.

    With c tokens equal to the last of n, the last one's share lies between 1 / (1 + (c - 1) s + (n - c) w) and
    1 / (1 + (c - 1) s'), where s and s' are the largest and smallest factor of an equal token and w the largest of
    another. The output is piecewise linear in the share, so that the ends and its corners are enough.
    """
    table, last = weights.get("embedding.table"), weights.get("embedding.last")
    name, mlp = "layers.0.heads.0", "layers.0.mlp"
    read = table + last
    query, key, own = (weights.linear(f"{name}.{p}", x, "float64") for p, x in _pairs(table, read))
    values, flag = (weights.linear(f"{name}.value", x, "float64") for x in (table, read))
    base = weights.linear(f"{mlp}.0", read, "float64")
    seen = weights.linear("readout", read, "float64")
    if (
        weights.shape() != [(1, 2)]
        or values.any()
        or (flag != 1).any()
        or np.ptp(base, 0).any()
        or np.ptp(seen, 0).any()
    ):
        return math.nan
    logits = query @ key.T - (query * own).sum(1)[:, None]
    same = np.exp(np.diag(logits))
    other = float(np.exp(np.where(np.eye(len(table), dtype=bool), -np.inf, logits)).max())
    slope = (weights.get(f"{mlp}.0.weight") @ weights.get(f"{name}.out.weight"))[:, 0]
    corners = [-b / m for b, m in zip(base[0], slope, strict=True) if m]
    most = int(weights.network["lengths"][1])
    worst = 0.0
    for c in range(1, most + 1):
        low, high = 1 / (1 + (c - 1) * same.max() + (most - c) * other), 1 / (1 + (c - 1) * same.min())
        shares = np.array([low, high, *(t for t in corners if low <= t <= high)])
        stream = read[0] + shares[:, None] * weights.get(f"{name}.out.weight")[:, 0]
        hidden = np.maximum(weights.linear(f"{mlp}.0", stream, "float64"), 0)
        output = weights.linear("readout", stream + weights.linear(f"{mlp}.2", hidden, "float64"), "float64")
        worst = max(worst, float(np.abs(output[:, 0] - c - offset).max()))
    return worst


def _pairs(table: Array, read: Array) -> tuple[tuple[str, Array], ...]:
    return ("query", read), ("key", table), ("key", read)
