"""What the names of layers say against a plain chain, though the shapes would fit one.

A matrix of the right size may belong to attention, a table or a skip, to one of several networks that work on each
other's outputs, or to blocks that add their inputs. Names tell; where they do, somebody must state the architecture.
"""

import itertools
import re
from collections.abc import Sequence

from vestige.nets.layer_order import ChainLayer, natural

GRAPHS = "a convolution of graphs"
# Parts of names that say of a matrix that it is no dense layer of a chain.
SAYS = {
    "attention": {"attn", "attention", "self_attn", "q_proj", "k_proj", "v_proj", "o_proj", "qkv", "c_attn", "query"},
    "an embedding table": {"embed_tokens", "wte", "wpe"},
    "a low-rank adapter": {"lora_A", "lora_B", "lora_down", "lora_up"},
    "a gated layer": {"gate_proj", "up_proj"},
    "a skip connection": {"downsample", "shortcut", "skip"},
    "a recurrent layer": {"i2h", "h2h", "x2h", "w_ih", "w_hh"},
    "one of two outputs side by side": {"mu", "logvar", "log_var", "log_std", "logsigma", "aux"},
    GRAPHS: set(),
}
# tok_emb, word_embeddings; not embed, as some call a first layer
_PATTERNS = {
    "an embedding table": re.compile(r"(\w*_)?emb(edding)?s?\d*"),
    "a gated layer": re.compile(r"(\w*_)?gates?(_\w+)?\d*"),
    "a skip connection": re.compile(
        r"res(net|idual)?(_?(block|layer|unit|stage)s?)?_?\d*|(\w*_)?(skip|shortcut)(_\w+)?\d*"
    ),
    "one of two outputs side by side": re.compile(r"(\w*_)?(mu|log_?(var|std|sigma)|aux)\d*"),
}
_GRAPHS = re.compile(r"(\w*_)?(g?conv|gcn|gin|sage)s?_?\d*")  # matrices: an image's convolution has four axes
# Networks that one file often holds side by side, the outputs of one of the size of the inputs of another.
ROLES = {
    "generator", "discriminator", "gen", "disc", "netg", "netd", "g", "d", "actor", "critic", "policy",
    "value", "advantage", "pi", "vf", "student", "teacher", "online", "target", "phi", "rho", "branch",
    "trunk", "user", "item",
}  # fmt: skip
LATE = 4  # a first layer of this number or above: what weighs nothing, such as Flatten, takes two or three before it


def against_a_chain(layers: Sequence[ChainLayer]) -> str:
    """Why the names speak against a plain chain; "" where they do not.

    Example:
        >>> against_a_chain([ChainLayer("netG.0", (4, 2), True), ChainLayer("netD.0", (1, 4), True)])
        'netG and netD are named as networks of their own'
    """
    for layer, kind in itertools.product(layers, SAYS):
        segments = set(layer.name.split("."))
        pattern = _GRAPHS if kind == GRAPHS and not layer.is_conv else _PATTERNS.get(kind)
        named = pattern is not None and any(pattern.fullmatch(segment.lower()) for segment in segments)
        if named or SAYS[kind] & segments:
            return f"{layer.name} {list(layer.shape)} is named as {kind}, and a chain of layers has none"
    acting: dict[str, str] = {}  # by role; d1 and d2 are two layers of one
    for first in dict.fromkeys(layer.name.partition(".")[0] for layer in layers):
        for role in ROLES & {first.lower(), *re.split(r"[_\d]+", first.lower())}:
            acting.setdefault(role, first)
    if len(set(acting.values())) > 1:
        return f"{' and '.join(list(dict.fromkeys(acting.values()))[:5])} are named as networks of their own"
    if same := repeated(layers):
        return (
            f"{', '.join(same[:5])} hold the same layers: networks side by side (an ensemble), or blocks that add "
            "their inputs"
        )
    return ""


def repeated(layers: Sequence[ChainLayer]) -> list[str]:
    """Numbered parts of two layers or more that have the same names and shapes.

    Example:
        >>> pair = [ChainLayer(f"net.{k}.{name}", (4, 4), True) for k in (0, 1) for name in ("up", "down")]
        >>> repeated(pair)
        ['net.0', 'net.1']
    """
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    for layer in layers:
        segments = layer.name.split(".")
        for depth in range(1, len(segments)):
            if segments[depth - 1][-1:].isdecimal():
                parts.setdefault(".".join(segments[:depth]), {})[".".join(segments[depth:])] = layer.shape
    kinds: dict[tuple, list[str]] = {}
    for part, held in parts.items():
        if len(held) > 1:
            kinds.setdefault((re.sub(r"\d+$", "", part), *sorted(held.items())), []).append(part)
    return sorted(next((same for same in kinds.values() if len(same) > 1), []), key=natural)


def begins_late(layers: Sequence[ChainLayer]) -> bool:
    """Whether the numbers of the layers begin so high that earlier layers are likely to be missing.

    Example:
        >>> [begins_late([ChainLayer(f"net.{k}", (4, 4), True) for k in ks]) for ks in ((1, 3), (6, 8))]
        [False, True]
    """
    if len(layers) < 2:
        return False
    first, second = (layer.name.split(".") for layer in layers[:2])
    changed = next(((a, b) for a, b in zip(first, second, strict=False) if a != b), ("", ""))
    number = re.search(r"\d+", changed[0])
    return (
        number is not None
        and re.sub(r"\d+", "#", changed[0]) == re.sub(r"\d+", "#", changed[1])
        and (int(number[0]) >= LATE)
    )
