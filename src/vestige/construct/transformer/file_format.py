"""A transformer in a file: the shape of its blocks as JSON, its state dict as tensors."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vestige.construct.file.network_format import NetworkFormat
from vestige.construct.transformer.blocks import Embedding, Head, Layer, Transformer, linear_layers
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.wires import Wire, fixed_linear

MOST_BLOCKS = 10_000
PARTS = {"stream", "ids", "lengths", "read", "mask", "layers"}


def write_transformer(network: Transformer) -> tuple[Any, Mapping[str, Tensor]]:
    """Names of blocks, what is read, and how many heads and linear layers each layer has."""
    return {
        "stream": [[name, size] for name, size in network.stream.sizes.items()],
        "ids": network.embedding.ids,
        "lengths": list(network.embedding.lengths),
        "read": network.read,
        "mask": str(network.mask),
        "layers": [[len(layer.heads), len(linear_layers(layer))] for layer in network.layers],
    }, dict(network.state_dict())


def build_transformer(content: Any, tensors: Mapping[str, Tensor]) -> Transformer:
    """The inverse of `write_transformer`; memory is what the file's own tensors take.

    Raises:
        ValueError: tensors that are missing, left over, or of shapes that do not fit together.
    """
    if not isinstance(content, dict) or set(content) != PARTS:
        raise ValueError(f"a transformer has the parts {', '.join(sorted(PARTS))}")
    shelf = _Shelf(dict(tensors))
    stream = _stream(content["stream"])
    embedding = _embedding(content, shelf, stream.width)
    layers = [_layer(shelf, f"layers.{k}", part, stream.width) for k, part in enumerate(content["layers"])]
    network = Transformer(stream, embedding, layers, [Wire({})], read=_read(content["read"]), mask=content["mask"])
    network.readout = shelf.linear("readout", stream.width, None)
    if not layers or shelf.tensors or len({t.dtype for t in tensors.values()}) != 1:
        raise ValueError(f"no layers, several dtypes, or tensors left over: {', '.join(sorted(shelf.tensors))[:80]}")
    return network


class _Shelf:
    """Tensors that are taken away one by one, each of the shape that is asked for."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def take(self, name: str, *shape: int | None) -> Tensor:
        tensor = self.tensors.pop(name)
        fits = tensor.ndim == len(shape) and all(w in (None, s) for w, s in zip(shape, tensor.shape, strict=True))
        if not fits or not tensor.is_floating_point():
            raise ValueError(f"{name} of shape {tuple(tensor.shape)} and type {tensor.dtype}")
        return tensor

    def linear(self, name: str, inputs: int | None, outputs: int | None) -> nn.Linear:
        weight = self.take(f"{name}.weight", outputs, inputs)
        bias = self.take(f"{name}.bias", len(weight)) if f"{name}.bias" in self.tensors else None
        return fixed_linear(weight, bias)


def _stream(blocks: Any) -> Stream:
    sizes = {str(name): _count(size, 10**7) for name, size in blocks}
    if not 0 < len(sizes) == len(blocks) <= MOST_BLOCKS or min(sizes.values()) < 1:
        raise ValueError("blocks of the stream have different names and positive sizes")
    return Stream(sizes)


def _embedding(content: Any, shelf: _Shelf, width: int) -> Embedding:
    least, most = (_count(n, 10**7) for n in content["lengths"])
    ids = content["ids"]
    if type(ids) is not bool or not 0 < least <= most:
        raise ValueError("ids is true or false, and lengths are positive")
    parts = {
        name: shelf.take(f"embedding.{name}", *shape)
        for name, shape in (("position", (most, width)), ("last", (width,)), ("sink", (width,)))
        if f"embedding.{name}" in shelf.tensors
    }
    return Embedding(shelf.take("embedding.table", None, width), (least, most), ids=ids, **parts)


def _layer(shelf: _Shelf, name: str, part: Any, width: int) -> Layer:
    heads, depth = (_count(n, MOST_BLOCKS) for n in part)
    found = [_head(shelf, f"{name}.heads.{k}", width) for k in range(heads)]
    if not depth:
        return Layer(found)
    modules: list[nn.Module] = []
    inputs = width
    for k in range(depth):
        linear = shelf.linear(f"{name}.mlp.{2 * k}", inputs, width if k == depth - 1 else None)
        modules += [linear, nn.ReLU()]
        inputs = linear.out_features
    return Layer(found, nn.Sequential(*modules[:-1]))


def _head(shelf: _Shelf, name: str, width: int) -> Head:
    query = shelf.linear(f"{name}.query", width, None)
    key = shelf.linear(f"{name}.key", width, query.out_features)
    value = shelf.linear(f"{name}.value", width, None)
    return Head(query, key, value, shelf.linear(f"{name}.out", value.out_features, width))


def _count(value: Any, largest: int) -> int:
    if type(value) is not int or not 0 <= value <= largest:
        raise ValueError(f"an integer from 0 to {largest:,} is needed")
    return value


def _read(value: Any) -> int | None:
    if value is not None and (type(value) is not int or abs(value) > 10**7):
        raise ValueError("read is a position or null")
    return value


TRANSFORMER = NetworkFormat(write_transformer, build_transformer)
