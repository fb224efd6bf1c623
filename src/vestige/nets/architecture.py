"""Architectures as text: a closed grammar for chains, or `package.module:factory` of the user's own code.

    mlp:784-1000-1000-1                      widths
    mlp:784-1000-1000-1:gelu:bias=all        another activation, a bias in every layer
    cnn:3x32x32-c64k5s2-c64k3s2-10           64 channels, kernel 5, stride 2, padding kernel // 2; p0 sets the padding
    cnn:1x28x28-c16k3-a2-10                  a2: average pooling over 2 x 2; m2: max pooling
    c4@1x8x8:mlp:64-1000-10                  an MLP averaged over c4, d4 or shifts:2 on images
    shifts:2@1x8x8w4:mlp:16-1000-10          w4: over 4 x 4 windows: circular convolution, average pooling
    set:4@4x64:mlp:64-1000-10                over the elements of sets of 4
    mlp:64-64-10:layers=in,out               the names of a file's layers in the order of computation, where it does not
                                             say it itself
    ./file.py:factory                        of the user's own code, in a file

A checkpoint may carry a grammar string and nothing else: only a user can name a factory, because that imports code.
"""

import importlib
import importlib.util
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from vestige.nets.convolutional import AvgPool, Conv, MaxPool, Pool, cnn
from vestige.nets.fully_connected import mlp
from vestige.nets.groups import parse_group
from vestige.nets.invariant import InvariantNetwork
from vestige.nets.layers import ACTIVATION_MODULES, Activation, Bias
from vestige.nets.state_dict import ArchitectureError, architecture_of

__all__ = ["ArchitectureError", "architecture_of", "describe", "is_factory", "parse_architecture"]

LONGEST_TEXT = 4000
MOST_VIEWS = 4096
GRAMMAR_HELP = (
    "write mlp:784-1000-10, mlp:784-1000-10:gelu:bias=all, cnn:3x32x32-c64k5s2-a2-10, "
    "package.module:factory or ./file.py:factory of your own code"
)
_WIDTH = re.compile(r"[1-9]\d{0,7}")
_CONV = re.compile(r"c([1-9]\d{0,4})k([1-9]\d?)(?:s([1-9]\d?))?(?:p(\d{1,2}))?")
_POOL = re.compile(r"([am])([1-9]\d?)")
_SHAPE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})x([1-9]\d{0,4})")
_ACTS_ON = re.compile(r"((?:[1-9]\d{0,4}x){0,3}[1-9]\d{0,4})(?:w([1-9]\d{0,4}))?")
_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_FILE_FACTORY = re.compile(r".+\.py:[A-Za-z_]\w*")
_NAMES = re.compile(r"[\w.-]+(,[\w.-]+)*", re.ASCII)


def is_factory(text: str) -> bool:
    """Whether the text names user code rather than a grammar string."""
    if _FILE_FACTORY.fullmatch(text):
        return True
    return text.partition(":")[0] not in ("mlp", "cnn") and _FACTORY.fullmatch(text) is not None


def stated_layers(text: str) -> list[str] | None:
    """The names after "layers=" in a grammar string, None where there are none."""
    names = next((option[7:] for option in text.split(":") if option.startswith("layers=")), None)
    return None if names is None else names.split(",")


def parse_architecture(
    text: str,
    *,
    first_init: float | int | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> nn.Module:
    """The network that a grammar string describes, or what the user's factory returns.

    Args:
        text: see the module's docstring.
        first_init: standard deviation of the first layer (grammar only), see `mlp`.
        generator: source of the initial weights (grammar only); None for a fixed seed.
        dtype: of the parameters (grammar only); None for torch's default.
        device: of the parameters (grammar only); "meta" leaves them unset.

    Raises:
        ArchitectureError: text outside the grammar, impossible sizes, a factory that is missing or fails.

    Example:
        >>> [tuple(p.shape) for p in parse_architecture("mlp:4-3-1").parameters()]
        [(3, 4), (3,), (1, 3)]
    """
    if len(text) > LONGEST_TEXT:
        raise ArchitectureError(f"an architecture of {len(text)} characters; at most {LONGEST_TEXT} are read")
    if is_factory(text):
        return _call_factory(text)
    if "@" in text:
        return _invariant(text, first_init=first_init, generator=generator, dtype=dtype, device=device)
    family, _, rest = text.partition(":")
    body, *options = rest.split(":")
    settings = {**_read_options(text, options), "first_init": first_init, "generator": generator}
    settings |= {"dtype": dtype, "device": device}
    try:
        if family == "mlp":
            return mlp([_width(token, text) for token in body.split("-")], **settings)
        if family == "cnn":
            shape, *tokens = body.split("-")
            return cnn(_shape(shape, text), [_layer(token, text) for token in tokens], **settings)
    except ArchitectureError:
        raise
    except ValueError as error:
        raise ArchitectureError(f"architecture {text!r}: {error}") from error
    raise ArchitectureError(f"unknown architecture {text!r}: {GRAMMAR_HELP}")


def describe(model: nn.Module, input_shape: Sequence[int] | None = None) -> str | None:
    """The grammar string of a chain of linear and convolutional layers, or of its average over a group; None otherwise.

    Args:
        model: an nn.Sequential, possibly of further nn.Sequential.
        input_shape: (channels, height, width), needed when the chain begins with a convolution: weights do not hold it.

    Raises:
        ArchitectureError: a convolutional chain without an input shape.

    Example:
        >>> describe(mlp([4, 3, 1], activation="gelu"))
        'mlp:4-3-1:gelu'
    """
    if isinstance(model, InvariantNetwork):
        base = describe(model.base) if input_shape is not None and isinstance(model.base, nn.Sequential) else None
        window = "" if model.window is None else f"w{model.window}"
        return None if base is None else f"{model.group}@{'x'.join(map(str, input_shape or ()))}{window}:{base}"
    leaves = _leaves(model)
    weighted = [leaf for leaf in leaves or [] if isinstance(leaf, nn.Linear | nn.Conv2d)]
    if not leaves or not weighted or not isinstance(weighted[-1], nn.Linear) or leaves[-1] is not weighted[-1]:
        return None
    if any(isinstance(leaf, nn.Conv2d) for leaf in weighted):
        if input_shape is None or len(input_shape) != 3:
            raise ArchitectureError(
                "describing a CNN needs input_shape=(channels, height, width): weights do not hold it"
            )
        head = "cnn:" + "x".join(map(str, input_shape))
    else:
        head = f"mlp:{weighted[0].in_features}" if isinstance(weighted[0], nn.Linear) else ""
    options = _describe_options(leaves, weighted)
    text = "-".join([head, *filter(None, map(_token, leaves))]) + (options or "")
    return text if options is not None and _same_chain(text, leaves) else None


def acted_on(text: str) -> tuple[int, ...] | None:
    """The input shape in the text of an average over a group, None in any other."""
    match = _ACTS_ON.fullmatch(text.partition("@")[2].partition(":")[0]) if text.isascii() else None
    return None if match is None else tuple(int(size) for size in match[1].split("x"))


def _invariant(text: str, **settings) -> InvariantNetwork:
    """The base network, and a check that it takes the views that it will be given."""
    head, _, rest = text.partition("@")
    place, _, base_text = rest.partition(":")
    match, shape = _ACTS_ON.fullmatch(place), acted_on(text)
    if match is None or shape is None or not base_text.startswith("mlp:"):
        raise ArchitectureError(
            f"architecture {text!r}: an average over a group is written GROUP@SHAPE:mlp:..., such as "
            "c4@1x8x8:mlp:64-1000-10, shifts:2@1x8x8w4:mlp:16-1000-10 or set:4@4x64:mlp:64-1000-10"
        )
    try:
        group = parse_group(head)
        group.check(shape)
        base = parse_architecture(base_text, **settings)
        net = InvariantNetwork(base, group, None if match[2] is None else int(match[2]))
        count, *view = net.views(torch.zeros(1, *shape, device="meta"))[0].shape
        if count > MOST_VIEWS:
            raise ValueError(f"an input of {count} views; at most {MOST_VIEWS} are averaged over")
        taken, given = int(base_text.split(":")[1].split("-")[0]), math.prod(view)
    except ValueError as error:
        raise ArchitectureError(f"architecture {text!r}: {error}") from error
    if taken != given:
        raise ArchitectureError(f"architecture {text!r}: the MLP takes {taken} numbers, a view has {given}")
    return net


def _same_chain(text: str, leaves: list[nn.Module]) -> bool:
    """Whether the text rebuilds these very layers in this order; Flatten may be implied, Identity is dropped."""
    try:
        rebuilt = _leaves(parse_architecture(text, device="meta")) or []
    except ArchitectureError:
        return False
    return [repr(leaf) for leaf in rebuilt if not isinstance(leaf, nn.Flatten)] == [
        repr(leaf) for leaf in leaves if not isinstance(leaf, nn.Flatten)
    ]


def _leaves(model: nn.Module) -> list[nn.Module] | None:
    if type(model) is not nn.Sequential:
        return None
    leaves: list[nn.Module] = []
    for child in model:
        nested = _leaves(child) if isinstance(child, nn.Sequential) else [child]
        if nested is None:
            return None
        leaves += [leaf for leaf in nested if not isinstance(leaf, nn.Identity)]
    return leaves


def _describe_options(leaves: list[nn.Module], weighted: list[nn.Linear | nn.Conv2d]) -> str | None:
    names = {name for name, kind in ACTIVATION_MODULES.items() for leaf in leaves if type(leaf) is kind}
    biases = [layer.bias is not None for layer in weighted]
    rules = {Bias.FIRST: [True] + [False] * (len(biases) - 1), Bias.ALL: [True] * len(biases)}
    rules[Bias.NONE] = [False] * len(biases)
    rule = next((rule for rule, pattern in rules.items() if pattern == biases), None)
    if rule is None or len(names) > 1:
        return None
    activation = next(iter(names), Activation.RELU)
    return ("" if activation is Activation.RELU else f":{activation}") + ("" if rule is Bias.FIRST else f":bias={rule}")


def _token(leaf: nn.Module) -> str:
    if isinstance(leaf, nn.Linear):
        return str(leaf.out_features)
    if isinstance(leaf, nn.Conv2d) and isinstance(leaf.padding, tuple):
        kernel, stride, padding = leaf.kernel_size[0], leaf.stride[0], leaf.padding[0]
        shown_padding = "" if padding == kernel // 2 else f"p{padding}"
        return f"c{leaf.out_channels}k{kernel}" + ("" if stride == 1 else f"s{stride}") + shown_padding
    if isinstance(leaf, nn.AvgPool2d | nn.MaxPool2d):
        kind = "a" if isinstance(leaf, nn.AvgPool2d) else "m"
        return f"{kind}{leaf.kernel_size}" if isinstance(leaf.kernel_size, int) else "a0"
    return ""


def imported(text: str) -> Any:
    """What `package.module:name` or `./file.py:name` stands for; importing runs that code."""
    place, _, name = text.rpartition(":")
    return getattr(_module_in(Path(place)) if place.endswith(".py") else importlib.import_module(place), name)


def _call_factory(text: str) -> nn.Module:
    place, _, name = text.rpartition(":")
    try:
        model = imported(text)()
    except Exception as error:
        beside = Path(f"{place}.py")
        hint = f"; for the file in this folder write ./{beside}:{name}" if beside.is_file() else ""
        raise ArchitectureError(
            f"the factory {text!r} did not give a model ({type(error).__name__}: {error}); it must be importable from "
            f"here and callable without arguments{hint}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ArchitectureError(f"the factory {text!r} returned {type(model).__name__}, not a torch.nn.Module")
    return model


def _module_in(file: Path) -> ModuleType:
    """The module in a file that the user names; what stands beside it can be imported by it."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise FileNotFoundError(f"{file} is not there")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.resolve().parent))
    return module


def _read_options(text: str, options: list[str]) -> dict:
    found: dict[str, str] = {}
    for option in options:
        name, value = ("bias", option[5:]) if option.startswith("bias=") else ("activation", option)
        allowed = set(Bias) if name == "bias" else set(Activation)
        if option.startswith("layers=") and "layers" not in found and _NAMES.fullmatch(option[7:]):
            found["layers"] = option[7:]
            continue
        if name in found or value not in allowed:
            raise ArchitectureError(
                f"architecture {text!r}: option {option!r} is unknown or given twice; an activation is one of "
                f"{', '.join(Activation)}, a bias one of {', '.join(f'bias={rule}' for rule in Bias)}"
            )
        found[name] = value
    found.pop("layers", None)  # names of a file's layers; the network has its own
    return found


def _width(token: str, text: str) -> int:
    if _WIDTH.fullmatch(token) is None or not token.isascii():
        raise ArchitectureError(f"architecture {text!r}: {token!r} is not a width; {GRAMMAR_HELP}")
    return int(token)


def _shape(token: str, text: str) -> tuple[int, int, int]:
    match = _SHAPE.fullmatch(token) if token.isascii() else None
    if match is None:
        raise ArchitectureError(f"architecture {text!r}: {token!r} is not an image shape like 3x32x32; {GRAMMAR_HELP}")
    return int(match[1]), int(match[2]), int(match[3])


def image_layer(token: str) -> Conv | Pool | None:
    """The convolution or pooling that a token stands for; None for another token."""
    if token.isascii() and (match := _CONV.fullmatch(token)):
        padding = None if match[4] is None else int(match[4])
        return Conv(int(match[1]), int(match[2]), int(match[3] or 1), padding)
    if token.isascii() and (match := _POOL.fullmatch(token)):
        return (AvgPool if match[1] == "a" else MaxPool)(int(match[2]))
    return None


def _layer(token: str, text: str) -> Conv | Pool | int:
    return image_layer(token) or _width(token, text)
