"""The order in which layers are computed, where a file lists them by name only: what numbers say, what shapes allow.

Numbers in names state an order (`fc1` before `fc2`, `net.2` before `net.10`); words do not. So every order that agrees
with the numbers and in which each layer takes what the one before it gives is counted. One is an answer, two are not.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_LAYERS, MOST_TRIED = 64, 20_000
# Words of the first and of the last layers. They decide nothing; they say which order to name, and which to doubt.
BEGIN = {"in", "inp", "input", "inputs", "first", "embed", "embedding", "stem", "enc", "encoder"}
END = {"out", "output", "outputs", "last", "final", "head", "dec", "decoder", "classifier", "readout", "logits"}


@dataclass(frozen=True)
class ChainLayer:
    """One linear (2-d weight) or convolutional (4-d weight) layer: its name in the state dict and its sizes."""

    name: str
    shape: tuple[int, ...]
    has_bias: bool

    @property
    def is_conv(self) -> bool:
        return len(self.shape) == 4


def natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key in which 9 comes before 10."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d{1,9})", name) if part]


def place(name: str) -> int:
    """-1 for a name that speaks of an early layer, 1 for one of a late layer, 0 for others.

    >>> place("model.fc_in"), place("fc1"), place("classifier.dense")
    (-1, 0, 1)
    """
    words = set(re.findall(r"[a-z]+", name.lower()))
    return bool(words & END) - bool(words & BEGIN)


def follows(before: ChainLayer, after: ChainLayer) -> bool:
    """Whether the second layer can take what the first gives."""
    if after.is_conv:
        return before.is_conv and before.shape[0] == after.shape[1]
    return after.shape[1] % before.shape[0] == 0 if before.is_conv else before.shape[0] == after.shape[1]


def chains(layers: Sequence[ChainLayer]) -> bool:
    """Whether each layer takes what the one before it gives."""
    return all(itertools.starmap(follows, itertools.pairwise(layers)))


def numbered_before(first: str, second: str) -> bool:
    """Whether numbers put the first name before the second: where they begin to differ, only by a number.

    >>> numbered_before("net.2.fc", "net.10.fc"), numbered_before("hidden", "output")
    (True, False)
    """
    for a, b in zip(first.split("."), second.split("."), strict=False):
        if a != b:
            same = re.sub(r"\d+", "#", a) == re.sub(r"\d+", "#", b)
            return same and [int(n) for n in re.findall(r"\d+", a)] < [int(n) for n in re.findall(r"\d+", b)]
    return False


def orders(
    layers: Sequence[ChainLayer], *, numbered: bool = True, shapes: Sequence[tuple[int, ...]] | None = None
) -> list[list[ChainLayer]] | None:
    """Up to two orders that chain; None where there are too many layers, or too many ways, to look through.

    Args:
        layers: in any order.
        numbered: only orders that agree with the numbers in the names.
        shapes: of the weights, in the order of computation; None: any.
    """
    given = sorted(layers, key=lambda layer: natural(layer.name))
    if numbered and all(numbered_before(a.name, b.name) for a, b in itertools.pairwise(given)):
        fits = shapes is None or [layer.shape for layer in given] == list(shapes)
        return [given] if fits and chains(given) else []
    if len(given) > MOST_LAYERS:
        return None
    earlier = {b: {a for a in given if numbered and numbered_before(a.name, b.name)} for b in given}
    found: list[list[ChainLayer]] = []
    tried = itertools.count()

    def extend(begun: list[ChainLayer], left: list[ChainLayer]) -> None:
        if not left:
            found.append(begun)
        for layer in left:
            fits = (shapes is None or layer.shape == shapes[len(begun)]) and (not begun or follows(begun[-1], layer))
            if fits and not earlier[layer].intersection(left) and len(found) < 2 and next(tried) < MOST_TRIED:
                extend([*begun, layer], [other for other in left if other is not layer])

    extend([], sorted(given, key=lambda layer: place(layer.name)))
    return found if len(found) == 2 or next(tried) < MOST_TRIED else None
