"""Run as a script by `vestige.nets.convert`: reads tensors from a pickle in a process that may do little.

Arguments: input path, output path, limits of memory and of the written file in bytes, and the key of the state dict, ""
where it need not be named. The limits and the empty network are in place before torch opens the file; torch's
`weights_only` reader builds tensors and plain containers only; it is never retried without. Classes that training
loops often store beside the weights are replaced by an inert one. One line of JSON says what was read and left out.
"""

import ctypes
import json
import re
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET, PR_SET_PDEATHSIG, SIGKILL = 0x10000000, 0x40000000, 1, 9
SECONDS, DEEPEST, MOST_PLACES = 300, 4, 100
REFUSED = 3  # exit status where the file was read and says what is wrong with it
# Settings, paths and numbers beside the weights; none is needed, and none of the real classes is imported.
BYSTANDERS = (
    "argparse.Namespace", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath",
    "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
    "datetime.datetime", "datetime.timedelta", "datetime.date", "collections.defaultdict",
    "collections.deque", "types.SimpleNamespace", "numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct", "numpy.ndarray", "numpy.dtype",
    "omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig", "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata", "omegaconf.nodes.AnyNode", "typing.Any", "torch.torch_version.TorchVersion",
    "lightning_fabric.utilities.data.AttributeDict", "lightning.fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict", "_codecs.encode",
)  # fmt: skip

# What training loops write beside weights of which each process held a share. Data-parallel ones hold the whole.
SPLIT = re.compile(
    r"(tensor|pipeline)(_model)?_parallel(_world)?_(size|degree)|model_parallel(_world)?_size|(tp|pp|mp)_(world_)?size"
)
FULL = "save full tensors where the model was made: get_model_state_dict of torch with full_state_dict=True"


class Refused(ValueError):
    """What the file holds instead of one state dict, and what to do: a whole sentence."""


class Ignored:
    """In the place of a class beside the weights: takes anything, does nothing but hold its settings."""

    held: dict

    def __new__(cls, *arguments, **named):
        made = super().__new__(cls)
        made.held = {}
        return made

    def __init__(self, *arguments, **named):
        pass

    def __setstate__(self, state):
        self.held = state if isinstance(state, dict) else {}

    def __hash__(self):
        return id(self)


def confine(memory: int, written: int) -> None:
    """No network where the kernel allows an unprivileged namespace, the end of the parent as its own, and limits."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, SIGKILL)
        libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)
    except (OSError, AttributeError, TypeError):
        pass  # another system: the limits below and weights_only remain
    try:
        import resource
    except ImportError:
        return
    limits = ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_CORE, 0))
    for kind, limit in (*limits, (resource.RLIMIT_FSIZE, written)):
        _, hard = resource.getrlimit(kind)
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(kind, (limit, limit))


def state_dicts(loaded, torch, place: tuple[str, ...] = ()) -> dict[str, dict]:
    """Every dictionary of named tensors in what was loaded, by the keys and places that lead to it."""
    if isinstance(loaded, list | tuple) and len(loaded) <= MOST_PLACES:
        return state_dicts({str(k): value for k, value in enumerate(loaded) if isinstance(value, dict)}, torch, place)
    if not isinstance(loaded, dict) or len(place) > DEEPEST:
        return {}
    named = [key for key, value in loaded.items() if isinstance(key, str) and isinstance(value, torch.Tensor)]
    # A dictionary of tensors inside may be anything, such as averages; the file itself is taken at its word.
    if named and len(named) == len(loaded) and (not place or any(loaded[key].ndim > 1 for key in named)):
        return {".".join(place): loaded}
    found: dict[str, dict] = {}
    if any(key.endswith("weight") and loaded[key].ndim > 1 for key in named):  # beside an epoch, settings or a copy
        found[".".join(place)] = {key: loaded[key] for key in named}
    for key, value in loaded.items():
        if isinstance(key, str):
            found |= state_dicts(value, torch, (*place, key))
    return found


def split_among(said, depth: int = 0) -> str:
    """The setting that says that the weights were split among processes, such as tp_size=2; "" where none does."""
    held = said.held if isinstance(said, Ignored) else said
    if not isinstance(held, dict) or depth > DEEPEST:
        return ""
    for name, value in held.items():
        if isinstance(name, str) and SPLIT.fullmatch(name.lower()) and re.fullmatch(r"[2-9]|[1-9]\d{1,5}", str(value)):
            return f"{name}={value}"
        if inside := split_among(value, depth + 1):
            return inside
    return ""


def unpacked(loaded, torch, depth: int = 0):
    """With the packed parameters of torch's quantized linear layers as weight and bias, as deep as tensors are read."""
    if not isinstance(loaded, dict) or depth > DEEPEST:
        return loaded
    made = {}
    packed = [k.removesuffix("_packed_params._packed_params") for k, v in loaded.items() if _is_packed(k, v, torch)]
    for name, value in loaded.items():
        stem = next((stem for stem in packed if str(name).startswith(stem)), None)
        if stem is None:
            made[name] = unpacked(value, torch, depth + 1)
        elif isinstance(value, tuple):
            made[f"{stem}weight"] = value[0]
            made |= {} if value[1] is None else {f"{stem}bias": value[1]}
        elif name[len(stem) :] not in ("scale", "zero_point", "_packed_params.dtype"):
            made[name] = value
    return made


def _is_packed(name, value, torch) -> bool:
    known = isinstance(name, str) and name.endswith("_packed_params._packed_params")
    held = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], torch.Tensor)
    return known and held and (value[1] is None or isinstance(value[1], torch.Tensor))


def tensors_of(loaded, torch, key: str = "") -> tuple[dict, dict]:
    """The state dict in what was loaded, and what was said of it: {"key": where it was, "left": what was not read}.

    With a key, the dictionary under it, or the tensors whose names begin with it.
    """
    if (setting := split_among(loaded)) and not key:
        raise Refused(
            f"it says {setting}: one share of a network that was split among processes, not the whole; join the shares "
            "where it was made, or name the state dict with --key if it is whole"
        )
    loaded = unpacked(loaded, torch)
    found = state_dicts(loaded, torch)
    if key and key not in found:
        place, start = _below(found, key)
        if not start:
            raise Refused(f"there are no tensors under the key {key[:80]!r}; {_held(loaded, found, torch)}")
        below = {name[len(start) :]: t for name, t in found[place].items() if name.startswith(start)}
        others = [name for name in found[place] if not name.startswith(start)]
        return _plain(below, torch), _rounded(below) | {"key": key, "left": others[:20]}
    if not found or (len(found) > 1 and not key):
        raise Refused(_held(loaded, found, torch))
    where = key or next(iter(found))
    names = loaded if isinstance(loaded, dict) else range(len(loaded))
    taken = {str(name) for name in found[""]} if not where else {where.split(".")[0]}
    left = [str(name)[:80] for name in names if str(name) not in taken]
    return _plain(found[where], torch), _rounded(found[where]) | {"key": where, "left": left[:20]}


def beginnings(names, key: str) -> set[str]:
    """How the names below a key begin, whatever wrappers stand before it."""
    return {name[: at + len(key) + 1] for name in names if (at := f".{name}".find(f".{key}.")) >= 0}


def _below(found: dict[str, dict], key: str) -> tuple[str, str]:
    """The one state dict with names below the key, and how these begin, whatever wrappers stand before it."""
    starts = {(place, start) for place, state in found.items() for start in beginnings(state, key)}
    first = ("", f"{key}.")
    return first if first in starts else starts.pop() if len(starts) == 1 else ("", "")


def _rounded(state: dict) -> dict:
    return {"dequantized": True} if any(tensor.is_quantized for tensor in state.values()) else {}


def _held(loaded, found: dict, torch) -> str:
    if len(found) > 1:
        places, first = [place or "plain names" for place in found], next(place for place in found if place)
        return f"it holds {len(found)} state dicts, under {', '.join(places)}: name one with --key {first}"
    save = "save model.state_dict() where the model was made"
    if not isinstance(loaded, dict) or not loaded:
        what = f"a {type(loaded).__name__}" if not isinstance(loaded, dict) else "an empty dictionary"
        return f"it holds {what} and no dictionary of named tensors: {save}"
    if "param_groups" in loaded:
        return "it holds the state of an optimizer, which has no weights: give the file of the model"
    odd = [str(k)[:80] for k, v in loaded.items() if not (isinstance(k, str) and isinstance(v, torch.Tensor))]
    numpy = all(isinstance(value, Ignored) for value in loaded.values())
    what = "NumPy arrays, not tensors" if numpy else "no named tensors, and hold no dictionary of such"
    return f"{len(odd)} of its {len(loaded)} entries are {what}, first {odd[0]!r}: {save}"


def _plain(state: dict, torch) -> dict:
    """A copy of each tensor, since those that share memory cannot be written; nothing that would grow on the way."""
    made = {}
    for name, tensor in state.items():
        if tensor.layout is not torch.strided or tensor.device.type != "cpu":
            what = tensor.layout if tensor.device.type == "cpu" else tensor.device
            raise Refused(f"{name[:80]!r} is {what}: only plain tensors are read; save dense floats")
        if tensor.is_quantized and tensor.dtype not in (torch.qint8, torch.quint8, torch.qint32):
            raise Refused(f"{name[:80]!r} is quantized as {tensor.dtype}, which is not read; save its dequantize()")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise Refused(f"{name[:80]!r} has {tensor.numel():,} elements, more than its storage holds; save a copy")
        floats = tensor.contiguous().dequantize() if tensor.is_quantized else tensor
        made[name] = floats.detach().clone().contiguous()
    return made


def cause(error: BaseException) -> str:
    """One line without torch's advice to switch safety off, and without control characters."""
    text = str(error)
    if isinstance(error, EOFError):
        return "it ends too early, as if cut off"
    if match := re.search(r"GLOBAL ([\w.]{1,200}) was not an allowed global", text):
        return f"it holds an object of {match[1]}, which is not a tensor"
    if match := re.search(r"(?:Trying to load|Unsupported class|Unsupported global)[^.]{0,80}?((?:\w+\.)+\w+)", text):
        return f"it asks for {match[1][:200]}, which is not a tensor"
    if "weights_only" in text:
        return "it is not a pickle of tensors alone"
    said = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]
    return said if isinstance(error, Refused) else f"{type(error).__name__}: {said}"


def main() -> int:
    source, target, memory, written, key = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    confine(memory, written)
    import torch
    from safetensors.torch import save_file

    try:
        ignored: list = [(Ignored, name) for name in BYSTANDERS]
        # Opened here: torch would choose its reader by the name of the file.
        with torch.serialization.safe_globals(ignored), Path(source).open("rb") as stream:
            state, said = tensors_of(torch.load(stream, map_location="cpu", weights_only=True), torch, key)
        facts = {"dequantized": "true"} if said.get("dequantized") else {}
        save_file(state, target, {"tensor_order": json.dumps(list(state)), **facts})
        print(json.dumps(said))
    except BaseException as error:  # anything at all is reported to the parent, which names it
        split = re.search(r"DTensor|ShardedTensor", str(error))
        print(
            f"its tensors are shares of ones split among processes ({split[0]}): {FULL}" if split else cause(error),
            file=sys.stderr,
        )
        return REFUSED if split or isinstance(error, Refused) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
