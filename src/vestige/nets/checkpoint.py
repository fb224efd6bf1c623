"""Models in and out of safetensors files: strict shapes, finite values, metadata that an audit reads, no code run."""

import json
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn

from vestige.core.files import write_atomically
from vestige.nets.architecture import (
    ArchitectureError,
    architecture_of,
    describe,
    is_factory,
    parse_architecture,
    stated_layers,
)
from vestige.nets.conversion import convert
from vestige.nets.fill import fill_model
from vestige.nets.layer_names import begins_late
from vestige.nets.layer_order import chains
from vestige.nets.loaded import LoadedModel, read_shape
from vestige.nets.onnx_chain import read_onnx
from vestige.nets.parts import doubts_of
from vestige.nets.shards import read_shards
from vestige.nets.skops_file import read_skops
from vestige.nets.state_dict import chain_layers, layers_in, turnable
from vestige.nets.stored_weights import chain_tensors
from vestige.nets.weights_file import (
    LARGEST_FILE,
    CheckpointError,
    WeightsFile,
    check_finite,
    check_names,
    checked_digest,
    file_kind,
    read_weights,
)

__all__ = ["CheckpointError", "LoadedModel", "convert", "load_model", "save_model"]

_READERS = {"index": read_shards, "onnx": read_onnx, "skops": read_skops}
EXTRA = "vestige."  # prefix of tensors that belong to the audit rather than to the network


def load_model(
    path: Path | str,
    *,
    architecture: str | None = None,
    input_shape: Sequence[int] | None = None,
    trust_pickle: bool = False,
    sha256: str | None = None,
    max_bytes: int = LARGEST_FILE,
) -> LoadedModel:
    """Load a network in evaluation mode, on the CPU, in the precision it is stored in.

    The architecture is the one given, else the file's own grammar string, else read off the shapes.

    Args:
        path: a .safetensors file, the index of several, a chain of layers in ONNX, or a perceptron in a skops file.
        architecture: grammar string or package.module:factory, see `vestige.nets.architecture`.
        input_shape: of one input; helps to read a convolutional chain off its weights.
        trust_pickle: read a .pt file too: tensors only, in a process of its own.
        sha256: expected digest of the file.
        max_bytes: refuse larger files.

    Raises:
        CheckpointError: see `read_weights`; also an architecture that does not fit the tensors.
        ArchitectureError: an architecture given by the caller that cannot be parsed or built.
    """
    weights = _read(Path(path), trust_pickle, sha256, max_bytes)
    tensors = {name: t for name, t in weights.tensors.items() if not name.startswith(EXTRA)}
    extra = {name.removeprefix(EXTRA): t for name, t in weights.tensors.items() if name.startswith(EXTRA)}
    notes = list(weights.notes)
    try:
        text, model, tensors, order = _build(weights, tensors, architecture, input_shape, notes)
        model = fill_model(model, tensors, is_chain=not is_factory(text), warnings=notes, order=order)
    except (ArchitectureError, CheckpointError) as error:
        ours = isinstance(error, ArchitectureError) and architecture is not None
        raise (ArchitectureError if ours else CheckpointError)(_runnable(str(error), Path(path))) from error
    return LoadedModel(model.eval(), text, weights.metadata, weights.sha256, extra, tuple(notes))


def _runnable(text: str, path: Path) -> str:
    """A suggested command with the file that was given."""
    target = path.with_name(f"{path.stem}-one.safetensors")
    return text.replace("FILE ONE.safetensors", f"{shlex.quote(str(path))} {shlex.quote(str(target))}")


def save_model(
    model: nn.Module,
    path: Path | str,
    *,
    metadata: Mapping[str, object] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a network as safetensors, whole or not at all; the architecture goes into the metadata when it is a chain.

    Args:
        model: left as it is; tied weights are written under each of their names.
        path: replaced if it exists.
        metadata: text such as {"input_shape": "[64]", "loss": "cross_entropy", "weight_decay": "0.001",
            "space": '{"low": 0.0, "high": 1.0}'}.
        tensors: what belongs beside the weights, such as {"mean": mean}; `load_model` gives them back by these names.

    Raises:
        CheckpointError: NaN or infinite weights, metadata that is not text, no such folder.
    """
    target, odd = Path(path), [key for key, value in (metadata or {}).items() if not isinstance(value, str)]
    if odd:
        raise CheckpointError(f"metadata must be text, {odd[0]!r} is not; store numbers as str(...) or json.dumps(...)")
    stored = {key: str(value) for key, value in (metadata or {}).items()}
    if not target.parent.is_dir():
        raise CheckpointError(f"the folder {target.parent} does not exist; create it first")
    if "architecture" not in stored and (text := _described(model, stored)) is not None:
        stored["architecture"] = text
    state = {name: t.detach().cpu().clone().contiguous() for name, t in model.state_dict().items()}
    for name, extra in (tensors or {}).items():
        state[EXTRA + name.removeprefix(EXTRA)] = extra.detach().cpu().clone().contiguous()
    write_tensors(target, state, stored)


def write_tensors(target: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write named tensors as safetensors, whole or not at all, equal ones byte for byte equal; only the owner may read.

    Weights hold what was trained on, so that they are personal data as much as the samples are.

    Raises:
        CheckpointError: NaN or infinite values, odd names, no such folder.
    """
    if not target.parent.is_dir():
        raise CheckpointError(f"the folder {target.parent} does not exist; create it first")
    check_names(target, list(tensors))
    check_finite(target, tensors)
    write_atomically(target, _stable(save(tensors, metadata)), private=True)


def _stable(data: bytes) -> bytes:
    """With sorted metadata: safetensors writes them in random order, and equal models should hash equal."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _described(model: nn.Module, metadata: Mapping[str, str]) -> str | None:
    try:
        return describe(model, read_shape(metadata))
    except ArchitectureError:
        return None


def _read(path: Path, trust_pickle: bool, sha256: str | None, max_bytes: int) -> WeightsFile:
    kind = file_kind(path, max_bytes)
    if kind in _READERS:
        return _READERS[kind](path, max_bytes=max_bytes, sha256=sha256)
    if not trust_pickle or kind != "pickle":
        return read_weights(path, max_bytes=max_bytes, sha256=sha256)
    digest = checked_digest(path, sha256)
    with tempfile.TemporaryDirectory(prefix="vestige-") as folder:
        converted = Path(folder) / "weights.safetensors"
        convert(path, converted, max_bytes=max_bytes)
        found = read_weights(converted, max_bytes=4 * max_bytes)
        return replace(found, sha256=digest, notes=(*found.notes, *doubts_of(path, {})))


def _build(
    weights: WeightsFile,
    tensors: dict[str, Tensor],
    given: str | None,
    input_shape: Sequence[int] | None,
    notes: list[str],
) -> tuple[str, nn.Module, dict[str, Tensor], list[str] | None]:
    """The architecture's text, an unfilled network, the tensors for it and the order of their layers where it is known.

    The architecture is given by the caller, else by the file, else by the shapes.
    """
    text = given if given is not None else weights.metadata.get("architecture")
    if given is None and text is not None and is_factory(text):
        raise ArchitectureError(
            f"the file asks for the code {text!r}, which is never imported on a file's word; "
            "if you know it, pass it as architecture yourself"
        )
    model = None if text is None else _parsed(text, said_by_file=given is None)
    named_alike = model is not None and set(model.state_dict()) == set(tensors) and stated_layers(text or "") is None
    if model is not None and (named_alike or is_factory(text or "")):
        return text or "", model, tensors, None
    stated = stated_layers(text or "")
    tensors = chain_tensors(tensors, notes, stated=stated is not None)
    listed = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
    if stated and weights.ordered and listed != list(stated):
        notes.append(f"layers in the order that was given; the checkpoint listed them as {', '.join(listed)}")
    order = stated or (_stored_order(tensors, listed, notes) if weights.ordered else None)
    if text is None or model is None:
        text = architecture_of(tensors, input_shape or read_shape(weights.metadata), order=order)
        images = ", dilation, padding other than by zeros" if text.startswith("cnn:") else ""
        notes.append(
            f"the file names no architecture; {text} was read off the shapes, with ReLU assumed: other activations"
            f"{images}, skips and normalization without weights would not show"
        )
        model = parse_architecture(text, device="meta")
        layers = chain_layers(tensors, order=order)
        if begins_late(layers):
            notes.append(f"the first layer is called {layers[0].name}: is the file a part of a model?")
        if len({size for t in tensors.values() for size in t.shape}) == 1 and turnable(layers_in(tensors)):
            notes.append("all matrices are square: nothing tells (out, in) from (in, out), and torch's order is taken")
    return text, model, tensors, order


def _parsed(text: str, *, said_by_file: bool) -> nn.Module:
    try:
        return parse_architecture(text, device="meta")
    except ArchitectureError as error:
        raise ArchitectureError(f"the file's metadata: {error}") if said_by_file else error from None


def _stored_order(tensors: Mapping[str, Tensor], order: list[str], notes: list[str]) -> list[str] | None:
    """The layers as a checkpoint listed them, if they chain so; asked only where nothing else says the order."""
    try:
        chain_layers(tensors)
    except ArchitectureError:
        layers = {layer.name: layer for layer in layers_in(tensors)}
        if set(order) == set(layers) and chains([layers[name] for name in order]):
            notes.append(f"layers in the order in which the checkpoint listed them: {', '.join(order)}")
            return order
    return None
