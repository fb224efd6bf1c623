"""Ways in which convolutions can have made images smaller: what weights do not hold and an architecture must state.

A convolutional chain ends in a linear layer whose width says how many pixels were left, and nothing says by what:
strides, pooling or missing padding. Here one way of each kind that leaves just so many is written in the grammar.
"""

import itertools
from collections.abc import Iterator, Sequence

from vestige.nets.convolutional import AvgPool, Conv, MaxPool, Pool, spatial_size
from vestige.nets.layer_order import ChainLayer

MOST_LAYERS = 10  # 2^10 places for the strides or pools of each kind
KINDS = {"": "", "strides": "s2", "average pooling": "-a2", "max pooling": "-m2"}
POOLS: dict[str, Pool] = {"-a2": AvgPool(2), "-m2": MaxPool(2)}


def ways_to(pixels: int, convs: Sequence[ChainLayer], sides: Sequence[int]) -> Iterator[tuple[str, str]]:
    """What is assumed, and the layers in the grammar, for one way of each kind that leaves so many pixels.

    Args:
        pixels: height times width that reach the linear layer.
        convs: the convolutions in the order of computation.
        sides: height and width of the input.

    Example:
        >>> list(ways_to(16, [ChainLayer("0", (4, 1, 3, 3), False)], (8, 8)))[0]
        ('strides', 'c4k3s2')
    """
    count = len(convs) if len(convs) <= MOST_LAYERS else 0
    for padding, (kind, suffix) in itertools.product((None, 0), KINDS.items()):
        for places in itertools.product((True, False), repeat=count if suffix else 0):
            if suffix and not any(places):  # said without this kind
                continue
            marks = [suffix if place else "" for place in places] or [""] * len(convs)
            if _left(convs, sides, marks, padding) == pixels:
                said = ", ".join(filter(None, [kind, "" if padding is None else "no padding"]))
                yield said, "-".join(_token(conv, mark, padding) for conv, mark in zip(convs, marks, strict=True))
                break
    plain = [""] * len(convs)
    height, width = _sides(convs, sides, plain, None)
    if pixels == 1 and height == width > 1:
        tokens = "-".join(_token(conv, "", None) for conv in convs)
        yield "average pooling over the whole image", f"{tokens}-a{height}"


def _left(convs: Sequence[ChainLayer], sides: Sequence[int], marks: Sequence[str], padding: int | None) -> int:
    """Pixels after these convolutions, 0 where an image becomes smaller than a kernel."""
    height, width = _sides(convs, sides, marks, padding)
    return height * width


def _sides(
    convs: Sequence[ChainLayer], sides: Sequence[int], marks: Sequence[str], padding: int | None
) -> tuple[int, int]:
    """Height and width after these convolutions, zeros where an image becomes smaller than a kernel."""
    height, width = sides
    for conv, mark in zip(convs, marks, strict=True):
        layer = Conv(conv.shape[0], conv.shape[2], 2 if mark == "s2" else 1, padding)
        for step in filter(None, [layer, POOLS.get(mark)]):
            height, width = spatial_size(height, step), spatial_size(width, step)
            if min(height, width) < 1:
                return 0, 0
    return height, width


def _token(conv: ChainLayer, mark: str, padding: int | None) -> str:
    pool = mark if mark in POOLS else ""
    padded = "p0" if padding == 0 and conv.shape[2] > 1 else ""
    return f"c{conv.shape[0]}k{conv.shape[2]}{'' if pool else mark}{padded}{pool}"
