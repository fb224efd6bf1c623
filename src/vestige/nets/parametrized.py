"""Weights that a file stores as the factors of a parametrization: weight norm, spectral norm, pruning masks.

Sources: Salimans & Kingma 2016 (W = g v / |v|), Miyato et al. 2018 (W / sigma, sigma = u^T W v by power iteration). Old
and new torch name the factors differently; both are recognized by name. A parametrization without tensors of its own
leaves no trace in a file, so that one on top of these is not seen, which is said.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from vestige.nets.weights_file import widened

ALIGNED = 0.7  # cosine between u and W v from which a square matrix, rather than its transpose, is told

Tensors = dict[str, Tensor]


def effective_weights(tensors: Mapping[str, Tensor], notes: list[str]) -> Tensors:
    """Weights computed from their factors; all else as it is.

    Old and new torch name them differently: `weight_g`, `weight_v` or `parametrizations.weight.original0`, `original1`;
    `weight_orig`, `weight_u`, `weight_v` or `parametrizations.weight.original`, `.0._u`, `.0._v`; `weight_orig`,
    `weight_mask`.

    Raises:
        ValueError: factors that do not fit each other, or give no finite weights.
    """
    found: dict[str, str] = {}
    made: Tensors = {}
    traceless = False
    for name, tensor in tensors.items():
        whole, kind, others = _parametrized(name, tensors)
        if kind is None:
            made.setdefault(whole, tensor)
        elif kind:
            made[whole] = _computed(whole, kind, tensor, *(tensors[other] for other in others))
            found[whole] = kind
            traceless |= "parametrizations." in name
    if found:
        named = ", ".join(f"{name} ({kind})" for name, kind in list(found.items())[:5])
        notes.append(
            f"computed from what the file stores: {named}. What theory says of trained parameters holds for those"
            + (
                "; another parametrization on top of it, without numbers of its own, would not show: remove all before "
                "saving, with torch.nn.utils.parametrize"
                if traceless
                else ""
            )
        )
    return made


def _computed(whole: str, kind: str, main: Tensor, *others: Tensor) -> Tensor:
    try:
        made = _EFFECTIVE[kind](main, *others)
    except ValueError as error:
        raise ValueError(f"{whole} is stored under {kind}, but {error}: damaged?") from None
    if not bool(torch.isfinite(made).all()):
        raise ValueError(f"{whole} is stored under {kind} and divides by zero: nothing finite comes out; damaged?")
    return made


def _parametrized(name: str, tensors: Mapping[str, Tensor]) -> tuple[str, str | None, tuple[str, ...]]:
    """The tensor that a stored name belongs to, the kind ("" for a factor, None for none) and the other factors."""
    for main, kind, others in _FACTORS:
        if match := main.fullmatch(name):
            stem, what = match["stem"], match["what"]
            factors = tuple(f"{stem}{other.format(what=what)}" for other in others)
            if all(factor in tensors for factor in factors):
                return stem + what, kind, factors
    if match := _FACTOR.fullmatch(name):
        stem, what = match["stem"], match["what"] or match["other"]
        if any(f"{stem}{main.format(what=what)}" in tensors for main in _MAINS):
            return stem + what, "", ()
    return name, None, ()


_STEM = r"(?P<stem>(?:.*\.)?)"
_FACTORS = (
    (re.compile(_STEM + r"(?P<what>\w+)_g"), "weight norm", ("{what}_v",)),
    (re.compile(_STEM + r"parametrizations\.(?P<what>\w+)\.original0"), "weight norm",
     ("parametrizations.{what}.original1",)),
    (re.compile(_STEM + r"(?P<what>\w+)_orig"), "pruning mask", ("{what}_mask",)),
    (re.compile(_STEM + r"(?P<what>\w+)_orig"), "spectral norm", ("{what}_u", "{what}_v")),
    (re.compile(_STEM + r"parametrizations\.(?P<what>\w+)\.original"), "spectral norm",
     ("parametrizations.{what}.0._u", "parametrizations.{what}.0._v")),
)  # fmt: skip
_FACTOR = re.compile(
    _STEM + r"(?:(?P<what>weight|bias|kernel)_(?:v|u|mask)|parametrizations\.(?P<other>\w+)\.(?:original1|0\._[uv]))"
)
_MAINS = ("{what}_g", "{what}_orig", "parametrizations.{what}.original0", "parametrizations.{what}.original")


def _normed(size: Tensor, direction: Tensor) -> Tensor:
    """g v / |v|, the norm over every axis that the sizes g do not run over."""
    if size.numel() != 1 and (
        size.ndim != direction.ndim or any(s not in (1, d) for s, d in zip(size.shape, direction.shape, strict=True))
    ):
        raise ValueError(f"its sizes have shape {list(size.shape)}, its directions {list(direction.shape)}")
    axes = [axis for axis in range(direction.ndim) if size.numel() == 1 or size.shape[axis] == 1]
    return size * direction / torch.linalg.vector_norm(direction, dim=axes or None, keepdim=True)


def _spectral(weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """W / u^T W v, as in evaluation mode; of W or of its transpose, as the sizes or the directions of u and v fit."""
    weight = widened(weight)
    u, v = u.to(weight), v.to(weight)
    ways = [weight.movedim(axis, 0).flatten(1) for axis in range(min(2, weight.ndim))]
    ways = [way for way in ways if (tuple(u.shape), tuple(v.shape)) == ((way.shape[0],), (way.shape[1],))]
    if not ways:
        raise ValueError(f"its vectors have {u.numel()} and {v.numel()} entries, the weight shape {list(weight.shape)}")
    # Power iteration leaves u along W v: a square matrix is turned where only the transpose has these vectors. Those of
    # a network that never ran are of neither; then torch's usual axis is taken.
    found = [bool(torch.nn.functional.cosine_similarity(u, way @ v, dim=0) > ALIGNED) for way in ways]
    way = ways[found.index(True) if any(found) else 0]
    return weight / torch.dot(u, way @ v)


def _masked(weight: Tensor, mask: Tensor) -> Tensor:
    if weight.shape != mask.shape:
        raise ValueError(f"its mask has shape {list(mask.shape)}, the weight {list(weight.shape)}")
    return weight * mask


_EFFECTIVE = {"weight norm": _normed, "spectral norm": _spectral, "pruning mask": _masked}
