"""The claims of a pruned network's file, derived again: its weights from seed and masks, its errors from these.

Nothing is shared with what made the masks. The random numbers, the network and the bound are written a second time, in
numpy. With M1 and M2 the masked matrices that stand for a target layer (W, b), and one entry at most in a row of
[M1, c], they compute on x = x+ - x-

    M2 relu(M1 x + c)  =  P x+  +  N x-  +  M2 relu(c),     P = M2 relu(M1),   N = M2 relu(-M1),

so that the error after the layer is at most |W| e + |[P - W, N + W]| (R + e) + |M2 relu(c) - b|, where e is the error
before it and R bounds the target's activations; a layer after a ReLU has no x-.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from vestige.construct.file.check import Derived, Question, TargetError
from vestige.construct.file.check_points import chosen
from vestige.construct.file.stored import Stored
from vestige.core.claims import Claim
from vestige.core.relu_chain import read_relu_chain

MOST_WEIGHTS = 2**29
SOURCES = ("derived, see construct/prune/sup_error.py", "measured in float64")
FREE, FOR_A_BYTE = 2**20, 1024  # random weights that a file may ask for: a small one must not fill the memory
WEIGHTS = "digests of weights that differ from the file's"
AT_POINTS, IN_BALL = "largest error at the stored inputs, l_2", "error anywhere in the ball, l_2"
VALUES = "stored outputs that are not the target's"
SAFE = 1 + 1e-9  # norms in float64 are off by less
SAME = 1e-6  # relative: outputs of a target that was stored in float32
Numbers = NDArray[np.float64]
Target = list[tuple[Numbers, Numbers]]  # (weight, bias) a layer


@dataclass(frozen=True, eq=False)
class Pair:
    """The masked matrices that stand for one layer of the target; `constant` are the biases of the first."""

    first: Numbers
    constant: Numbers
    second: Numbers


@dataclass(frozen=True)
class Sizes:
    """Sizes that fit into memory: they come from a stranger's file."""

    seed: int
    hyperbolic: bool
    sizes: tuple[int, ...]
    hidden: tuple[int, ...]
    bias: tuple[bool, ...]
    scale: tuple[float, ...]


def derive_masks(stored: Stored, question: Question) -> Derived:
    """Whether the weights are the file's, the error at the stored inputs, and with the target that in the ball."""
    plan = _plan(stored.network["plan"], sum(t.numel() * t.element_size() for t in stored.tensors.values()))
    pairs, differ = _weights(plan, stored)
    points, values = _known_outputs(stored.fields, plan)
    tolerance, radius, nonnegative, source = _promise(stored.fields)
    index = chosen(len(points), question.points)
    error = float(np.linalg.norm(_run(pairs, points[index]) - values[index], axis=1).max())
    found = f"{source}; {len(index):,} of {len(points):,} inputs"
    claims = [Claim(WEIGHTS, 0, differ, "SHA-256"), Claim(AT_POINTS, tolerance, error, found)]
    numbers = {"random_weights": _count(plan), "kept": sum(_entries(pair) for pair in pairs)}
    if question.target is None:
        return Derived(tuple(claims), left_out=() if radius is None else (IN_BALL,), numbers=numbers)
    target = _read_target(question.target, plan)
    off = np.linalg.norm(_run_target(target, points) - values, axis=1) > SAME * (1 + np.linalg.norm(values, axis=1))
    claims.append(Claim(VALUES, 0, int(off.sum()), "the given target"))
    if radius is not None:
        where = f"{source}; |x| <= {radius:g}{', x >= 0' if nonnegative else ''}"
        claims.append(Claim(IN_BALL, tolerance, _bound(target, pairs, radius, nonnegative), where))
    return Derived(tuple(claims), numbers=numbers)


def _entries(pair: Pair) -> int:
    return sum(int(np.count_nonzero(part)) for part in (pair.first, pair.constant, pair.second))


def _promise(fields: Mapping[str, Any]) -> tuple[float, float | None, bool, str]:
    tolerance, radius, nonnegative = float(fields["tolerance"]), fields["radius"], fields["nonnegative"]
    if fields["source"] not in SOURCES:
        raise ValueError(f"source {str(fields['source'])[:80]!r}")
    if not (0 < tolerance < math.inf and (radius is None or 0 < radius < math.inf) and isinstance(nonnegative, bool)):
        raise ValueError("tolerance and radius are positive and finite, nonnegative is true or false")
    return tolerance, None if radius is None else float(radius), nonnegative, str(fields["source"])


def _known_outputs(fields: Mapping[str, Any], plan: Sizes) -> tuple[Numbers, Numbers]:
    points, values = (np.asarray(fields[name], dtype=np.float64) for name in ("points", "values"))
    if points.shape[1:] != (plan.sizes[0],) or values.shape != (len(points), plan.sizes[-1]) or not len(points):
        raise ValueError(f"points of shape {points.shape} with values of shape {values.shape}")
    return points, values


def _plan(given: Mapping[str, Any], size: int) -> Sizes:
    whole = {name: _integers(given[name]) for name in ("hidden", "out")}
    sizes, hidden = (*_integers([given["features"]]), *whole["out"]), whole["hidden"]
    bias, scale, name = tuple(given["bias"]), tuple(map(float, given["scale"])), given["distribution"]
    if not len(hidden) or len({len(hidden), len(whole["out"]), len(bias), len(scale)}) > 1:
        raise ValueError("hidden, out, bias and scale need one entry a layer")
    if name not in ("uniform", "hyperbolic") or not all(isinstance(b, bool) for b in bias):
        raise ValueError(f"distribution {str(name)[:40]!r}, bias {str(bias)[:80]}")
    seed, found = given["seed"], Sizes(0, name == "hyperbolic", sizes, hidden, bias, scale)
    if type(seed) is not int or not 0 <= seed < 2**64 or not all(0 < s < 2.0**100 for s in scale):
        raise ValueError("the seed is an integer of 64 bits, scales are positive")
    total = _count(found)
    most = min(MOST_WEIGHTS, FREE + FOR_A_BYTE * size)
    if total > most:
        raise ValueError(f"{total:,} random weights; at most {most:,} are made for masks of {size:,} bytes")
    return replace(found, seed=seed)


def _count(plan: Sizes) -> int:
    """Random weights."""
    layers = zip(plan.hidden, plan.sizes, plan.bias, plan.sizes[1:], strict=False)
    return sum(hidden * (features + bias + out) for hidden, features, bias, out in layers)


def _integers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(type(v) is int and 0 < v < 10**8 for v in values):
        raise ValueError(f"widths {str(values)[:80]}; positive integers are needed")
    return tuple(values)


def _weights(plan: Sizes, stored: Stored) -> tuple[list[Pair], int]:
    """The masked matrices, and how many of the two digests are not the file's."""
    digests, pairs = (hashlib.sha256(), hashlib.sha256()), []
    for index, (features, out, hidden) in enumerate(zip(plan.sizes, plan.sizes[1:], plan.hidden, strict=False)):
        place, bias = 1 + 4 * index, plan.bias[index]
        one = _random(plan, (index, 0), hidden, features + bias)
        two = (_random(plan, (index, 1), hidden, out) * np.float32(plan.scale[index])).T
        parts = [(f"{place}.weight", one[:, :features])]
        if bias:
            parts.append((f"{place}.bias", one[:, features]))
        kept = []
        for name, random in [*parts, (f"{place + 2}.weight", two)]:
            kept.append(random * _mask(name, random.shape, stored.tensors))
            for digest, array in zip(digests, (random, kept[-1]), strict=True):
                digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        wide = [array.astype(np.float64) for array in kept]
        pairs.append(Pair(wide[0], wide[1] if bias else np.zeros(hidden), wide[-1]))
    stated = (stored.network["random_sha256"], stored.network["masked_sha256"])
    return pairs, sum(digest.hexdigest() != text for digest, text in zip(digests, stated, strict=True))


def _random(plan: Sizes, stream: tuple[int, int], rows: int, columns: int) -> NDArray[np.float32]:
    """Float32 numbers out of the raw bits of PCG64: odd multiples of 2^-24, or a bucket, a place in it, a sign."""
    source, count = np.random.PCG64([plan.seed, *stream]), rows * columns
    if not plan.hyperbolic:
        words = np.asarray(source.random_raw((count + 1) // 2), dtype=np.uint64)
        halves = np.stack([words & np.uint64(0xFFFFFFFF), words >> np.uint64(32)], axis=1).ravel()[:count]
        odd = 2 * (halves >> np.uint64(8)).astype(np.int64) + 1
        return ((odd - 2**24) / 2**24).astype(np.float32).reshape(rows, columns)
    words = np.asarray(source.random_raw(count), dtype=np.uint64)
    high, low = words >> np.uint64(32), words & np.uint64(0xFFFFFFFF)
    ends = [1.0]
    for _ in range(36):
        ends.append(ends[-1] * (2 / 3))
    edge, bucket = np.array(ends), (high * np.uint64(36) >> np.uint64(32)).astype(np.int64)
    share = (low >> np.uint64(1)).astype(np.float64) / 2**31
    size = edge[bucket + 1] + share * (edge[bucket] - edge[bucket + 1])
    return np.where(low & np.uint64(1), -size, size).astype(np.float32).reshape(rows, columns)


def _mask(name: str, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> NDArray[np.bool_]:
    count = math.prod(shape)
    if f"{name}.kept" in tensors:
        positions = tensors[f"{name}.kept"].numpy()
        if positions.ndim != 1 or (len(positions) and not 0 <= positions.min() <= positions.max() < count):
            raise ValueError(f"{name}: a mask keeps positions outside of its {count:,} weights")
        mask = np.zeros(count, dtype=bool)
        mask[positions] = True
        return mask.reshape(shape)
    packed = tensors[f"{name}.bits"].numpy()
    if packed.dtype != np.uint8 or packed.shape != (-(-count // 8),):
        raise ValueError(f"{name}: a mask of shape {packed.shape} for {count:,} weights")
    return np.unpackbits(packed, count=count).astype(bool).reshape(shape)


def _run(pairs: list[Pair], x: Numbers) -> Numbers:
    for index, pair in enumerate(pairs):
        x = np.maximum(x, 0) if index else x
        x = np.maximum(x @ pair.first.T + pair.constant, 0) @ pair.second.T
    return x


def _run_target(target: Target, x: Numbers) -> Numbers:
    for index, (weight, bias) in enumerate(target):
        x = (np.maximum(x, 0) if index else x) @ weight.T + bias
    return x


def _read_target(model: nn.Module, plan: Sizes) -> Target:
    try:
        chain = read_relu_chain(model)
    except ValueError as error:
        raise TargetError(f"the target cannot be read: {error}") from error
    sizes = (chain.inputs, *chain.hidden, chain.outputs)
    # Masks over whole neurons stand for a target of any depth.
    if sizes != plan.sizes and not (len(plan.hidden) == 1 and (sizes[0], sizes[-1]) == plan.sizes):
        raise TargetError(f"a target of widths {list(sizes)} given; the file is of one of widths {list(plan.sizes)}.")
    return list(zip(chain.weights, chain.biases, strict=True))


def _bound(target: Target, pairs: list[Pair], radius: float, nonnegative: bool) -> float:
    """The error after the last layer, anywhere in the ball; NaN where a row keeps two entries."""
    if len(target) != len(pairs):
        return math.nan
    reach, error = radius, 0.0
    for index, ((weight, bias), pair) in enumerate(zip(target, pairs, strict=True)):
        entries = np.count_nonzero(pair.first, axis=1) + (pair.constant != 0)
        if entries.max(initial=0) > 1:
            return math.nan
        sparse = csr_array(pair.first)
        off = [(sparse.maximum(0).T @ pair.second.T).T - weight]
        if index == 0 and not nonnegative:
            off.append(((-sparse).maximum(0).T @ pair.second.T).T + weight)
        drift = float(np.linalg.norm(pair.second @ np.maximum(pair.constant, 0) - bias))
        norm, miss = float(np.linalg.norm(weight, 2)), float(np.linalg.norm(np.hstack(off), 2))
        error = (norm * error + miss * (reach + error) + drift) * SAFE
        reach = (norm * reach + float(np.linalg.norm(bias))) * SAFE
    return error
