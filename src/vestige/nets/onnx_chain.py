"""Chains of layers in an ONNX file, which unlike weights alone states order, strides, pooling and activation.

Read with the `onnx` package (`pip install 'vestige[onnx]'`). The graph is looked at, node by node, and never run.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vestige.nets.architecture import image_layer
from vestige.nets.convolutional import spatial_size
from vestige.nets.quantized import SAID, dequantized
from vestige.nets.weights_file import CheckpointError, WeightsFile, check_finite, checked_digest

ROUNDS = ("QuantizeLinear", "DequantizeLinear")  # of activations
SAME = ("Identity", "Dropout", "Cast")
FLOATS = (1, 10, 11, 16)  # that a Cast may make: single, half, double, bfloat16
ENDS = ("Softmax", "LogSoftmax", "Sigmoid")  # of a classifier: classes are told from what goes in
FALL = ("Gelu", "Swish")  # somewhere
ACTIVATIONS = {
    "Relu": "", "Swish": ":silu", "LeakyRelu": ":leaky_relu", "Gelu": ":gelu", "Softplus": ":softplus", "Tanh": ":tanh",
}  # fmt: skip


@dataclass
class Chain:
    """What was read so far: layers with their tensors, tokens of the grammar, and the activation between them."""

    constants: dict[str, Tensor]
    shape: tuple[int, ...]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    active: list[str | None] = field(default_factory=list)  # activation behind each layer
    notes: list[str] = field(default_factory=list)
    flat: bool = False
    ended: str = ""  # what the file puts on the outputs
    early: bool = False  # the last layer was pooled before its activation
    at: str = ""  # the value that the next node must take

    def add(self, weight: Tensor, bias: Tensor | None, token: str) -> None:
        """One more layer."""
        if self.ended or (self.active and self.active[-1] is None):
            raise ValueError("two layers without an activation between them")
        name = str(len(self.active))
        self.tensors[f"{name}.weight"] = weight.contiguous()
        if bias is not None:
            self.tensors[f"{name}.bias"] = bias.flatten()
        self.tokens.append(token)
        self.active.append(None)
        self.early = False

    def size(self) -> tuple[int, int]:
        """Height and width of the images here; none for vectors."""
        height, width = self.shape[1:] if len(self.shape) == 3 else (0, 0)
        for layer in filter(None, map(image_layer, self.tokens)):
            height, width = spatial_size(height, layer), spatial_size(width, layer)
        return height, width


def read_onnx(path: Path, *, max_bytes: int, sha256: str | None = None) -> WeightsFile:
    """Read a chain of linear and convolutional layers.

    Args:
        path: the file; weights in files of their own are refused.
        max_bytes: refuse larger files.
        sha256: expected digest of the file.

    Raises:
        CheckpointError: no `onnx` package, a graph that is no chain, or a damaged file.
    """
    try:
        import onnx  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise CheckpointError(f"{path} is an ONNX file, which needs a package: pip install 'vestige[onnx]'") from None
    digest = checked_digest(path, sha256)
    if path.stat().st_size > max_bytes:
        raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; allowed are {max_bytes:,}")
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
        constants, shape = _constants(graph, onnx), _input_shape(graph)
        chain = Chain(constants, shape, flat=len(shape) == 1, at=_input(graph).name)
        _dequantize(chain, graph, onnx)
        for node in _without_pairs(graph.node):
            _read(chain, node, {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute})
        if chain.at != graph.output[0].name:
            raise ValueError("an output in the middle of the graph")
        if chain.ended == "Sigmoid" and len(next(reversed(chain.tensors.values()))) > 1:
            raise ValueError("a Sigmoid for each of several outputs, as for several labels a sample")
        text = _text(chain, shape)
    except Exception as error:  # protobuf, numpy and onnx raise their own kinds on damaged bytes
        if type(error).__name__ == "DecodeError":
            raise CheckpointError(f"{path} is a damaged ONNX file: truncated? Download or copy it again") from error
        raise CheckpointError(
            f"{path} is an ONNX file, of which chains of layers are read; this one has {error}. Load it where it was "
            "made, and save the weights as safetensors"
        ) from error
    check_finite(path, chain.tensors)
    metadata = {"architecture": text, "input_shape": json.dumps(list(shape))}
    return WeightsFile(chain.tensors, metadata, digest, notes=tuple(chain.notes))


def _without_pairs(nodes: Sequence[Any]) -> Iterator[Any]:
    """The nodes, with h * sigmoid(h), as which SiLU is exported, as one: its gate takes the place of both."""
    users = Counter(name for node in nodes for name in node.input)
    gates = {node.output[0]: node for node in nodes if node.op_type == "Sigmoid" and users[node.output[0]] == 1}
    pairs = {  # by what the product is called
        node.output[0]: name
        for node in nodes
        for name in node.input
        if node.op_type == "Mul" and name in gates and sorted(node.input) == sorted([name, gates[name].input[0]])
    }
    for node in nodes:
        if node.output[0] in pairs:
            gate = gates[pairs[node.output[0]]]
            gate.op_type, gate.output[0] = "Swish", node.output[0]
            yield gate
        elif node.output[0] not in pairs.values():
            yield node


def _constants(graph: Any, onnx: Any) -> dict[str, Tensor]:
    """Initializers and constants by name."""
    found = {item.name: item for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    external = [name for name, item in found.items() if item.data_location == onnx.TensorProto.EXTERNAL]
    if external:
        raise ValueError(f"{len(external)} tensors in another file, first {external[0][:80]!r}")
    made = {name: torch.tensor(onnx.numpy_helper.to_array(item)) for name, item in found.items()}
    for node in graph.node:  # weights that exporters name twice or turn
        if node.op_type in ("Identity", "Transpose") and node.input[0] in made:
            stored = made[node.input[0]]
            axes = list(node.attribute[0].ints) if node.attribute else list(range(stored.ndim))[::-1]
            made[node.output[0]] = stored if node.op_type == "Identity" else stored.permute(axes)
    return made


def _dequantize(chain: Chain, graph: Any, onnx: Any) -> None:
    """Constants behind DequantizeLinear as floats: w = (q - z) s."""
    for node in graph.node:
        given = [chain.constants.get(name) for name in node.input]
        if node.op_type != "DequantizeLinear" or any(t is None for t in given):
            continue
        said = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        stored, scale, zero = (*given, None)[:3]
        if said.get("block_size", 0) or stored is None or scale is None:
            raise ValueError("weights quantized in blocks, which are not read: export floats")
        axis = said.get("axis", 1) % max(stored.ndim, 1)
        chain.constants[node.output[0]] = dequantized(stored, scale, zero, axis=axis)
        chain.notes = [SAID]  # once, however many


def _input(graph: Any) -> Any:
    known = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in known]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ValueError(f"{len(inputs)} inputs and {len(graph.output)} outputs")
    return inputs[0]


def _input_shape(graph: Any) -> tuple[int, ...]:
    """Of one input, without the batch axis."""
    shape = tuple(dim.dim_value for dim in _input(graph).type.tensor_type.shape.dim)[1:]
    if not shape or min(shape) < 1:
        raise ValueError(f"inputs of shape {list(shape)}, which does not say the sizes")
    return shape


def _read(chain: Chain, node: Any, said: dict[str, Any]) -> None:
    """One node; each must take what the one before it gives, and constants."""
    kind, given = node.op_type, [chain.constants.get(name) for name in node.input]
    if kind == "Constant" or node.output[0] in chain.constants:
        return
    if [name for name in node.input if name and name not in chain.constants] != [chain.at]:
        raise ValueError(f"a skip or a branch before {kind[:80]}")
    chain.at = node.output[0]
    if kind in ROUNDS:
        rounds = "the file rounds what layers give (QuantizeLinear); here it is not rounded"
        chain.notes += [rounds] if rounds not in chain.notes else []
        return
    if kind in SAME:
        if said.get("to", FLOATS[0]) not in FLOATS or (len(given) > 2 and given[2] is not None and bool(given[2])):
            raise ValueError(f"a {kind} that changes numbers")
        return
    if kind in READERS:
        READERS[kind](chain, given, said)
    elif kind in ACTIVATIONS and chain.active and chain.active[-1] is None:
        if kind == "LeakyRelu" and not math.isclose(said.get("alpha", 0.01), 0.01, rel_tol=1e-6):
            raise ValueError(f"LeakyRelu with slope {said['alpha']:g}, where 0.01 is read")
        if chain.early and kind in FALL:
            raise ValueError(f"a pooling before {kind}")
        if kind == "Gelu" and said.get("approximate", b"none") != b"none":
            raise ValueError("an approximate Gelu")
        chain.active[-1] = ACTIVATIONS[kind]
    elif kind in ENDS and chain.active and chain.active[-1] is None:
        chain.ended = kind
        chain.notes.append(f"the file ends in {kind}; outputs are taken before it, as a loss takes them")
    else:
        advice = " of quantized arithmetic: export floats, or QDQ" if re.search("Quant|QLinear|Integer", kind) else ""
        raise ValueError(f"the operation {kind[:80]}{advice}")


def _gemm(chain: Chain, given: Sequence[Tensor | None], said: dict[str, Any]) -> None:
    if said.get("alpha", 1.0) != 1 or said.get("beta", 1.0) != 1 or said.get("transA", 0):
        raise ValueError("a Gemm that scales or transposes")
    weight = _weight(chain, given, 2)
    weight = weight if said.get("transB", 0) else weight.T
    chain.add(weight, given[2] if len(given) > 2 else None, str(len(weight)))


def _matmul(chain: Chain, given: Sequence[Tensor | None], said: dict[str, Any]) -> None:
    weight = _weight(chain, given, 2).T
    chain.add(weight, None, str(len(weight)))


def _add(chain: Chain, given: Sequence[Tensor | None], said: dict[str, Any]) -> None:
    """The bias of the layer before."""
    bias, last = next((t for t in given if t is not None), None), len(chain.active) - 1
    axis = -1 if chain.flat else -3  # of the channels
    fits = bias is not None and last >= 0 and bias.numel() == len(chain.tensors[f"{last}.weight"])
    fits = fits and bias is not None and bias.ndim >= -axis and bias.shape[axis] == bias.numel()
    if not fits or bias is None or chain.active[-1] is not None or f"{last}.bias" in chain.tensors:
        raise ValueError("an Add that is no bias")
    chain.tensors[f"{last}.bias"] = bias.flatten()


def _conv(chain: Chain, given: Sequence[Tensor | None], said: dict[str, Any]) -> None:
    weight = _weight(chain, given, 4)
    kernel, sides = weight.shape[2], {"strides": said.get("strides", [1]), "pads": said.get("pads", [0])}
    odd = said.get("group", 1) != 1 or set(said.get("dilations", [1])) != {1} or "auto_pad" in said
    if odd or weight.shape[3] != kernel or any(len(set(values)) != 1 for values in sides.values()):
        raise ValueError("a Conv with groups, dilation or unequal sides")
    stride, padding = (values[0] for values in sides.values())
    token = (
        f"c{len(weight)}k{kernel}"
        + (f"s{stride}" if stride != 1 else "")
        + (f"p{padding}" if padding != kernel // 2 else "")
    )
    chain.add(weight, given[2] if len(given) > 2 else None, token)


def _pool(chain: Chain, given: Sequence[Tensor | None], said: dict[str, Any], *, kind: str = "a") -> None:
    kernel, odd = list(said["kernel_shape"]), said.get("ceil_mode", 0) or set(said.get("dilations", [1])) != {1}
    odd = odd or "auto_pad" in said or any(said.get("pads", [0]))
    if chain.flat or odd or len(set(kernel)) != 1 or list(said.get("strides", [1])) != kernel:
        raise ValueError("a pooling whose blocks overlap, or reach beyond the image")
    _pooled(chain, f"{kind}{kernel[0]}")


def _pool_all(chain: Chain, given: Sequence[Tensor | None], said: dict[str, Any]) -> None:
    """Over whole images: as blocks of their size."""
    height, width = chain.size()
    if chain.flat or height != width:
        raise ValueError("a pooling over images that are not square")
    _pooled(chain, f"a{height}")


def _pooled(chain: Chain, token: str) -> None:
    if not chain.active or (chain.active[-1] is None and token[0] != "m"):
        raise ValueError("a pooling before an activation")
    chain.early |= chain.active[-1] is None  # the largest stays the largest under a function that never falls
    chain.tokens.append(token)


def _flatten(chain: Chain, given: Sequence[Tensor | None], said: dict[str, Any]) -> None:
    shape = next((t for t in given if t is not None), None)
    if said.get("axis", 1) != 1 or (shape is not None and shape.numel() != 2):
        raise ValueError("a Reshape that does not flatten each input")
    chain.flat = True


READERS = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Conv": _conv,
    "AveragePool": _pool,
    "MaxPool": partial(_pool, kind="m"),
    "GlobalAveragePool": _pool_all,
    "Flatten": _flatten,
    "Reshape": _flatten,
}


def _weight(chain: Chain, given: Sequence[Tensor | None], axes: int) -> Tensor:
    if len(given) < 2 or given[0] is not None or given[1] is None or given[1].ndim != axes:
        raise ValueError("a layer whose weights are computed")
    if chain.flat != (axes == 2):
        raise ValueError("a convolution of vectors, or a linear layer on images that were not flattened")
    return given[1]


def _text(chain: Chain, shape: tuple[int, ...]) -> str:
    """The chain in the grammar."""
    kinds = set(chain.active[:-1])
    if not chain.active or chain.active[-1] is not None or len(kinds) > 1:
        raise ValueError("no layers, an activation at its end, or activations of several kinds")
    biases = [f"{k}.bias" in chain.tensors for k in range(len(chain.active))]
    rule = "" if biases == [True] + [False] * (len(biases) - 1) else ":bias=all" if all(biases) else ":bias=none"
    if any(biases) and rule == ":bias=none":
        raise ValueError("biases in some layers only")
    head = "cnn:" + "x".join(map(str, shape)) if chain.tokens[0].startswith("c") else f"mlp:{math.prod(shape)}"
    return "-".join([head, *chain.tokens]) + (next(iter(kinds), "") or "") + rule
