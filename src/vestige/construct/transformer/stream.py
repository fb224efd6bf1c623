"""The residual stream: a vector for each token, cut into blocks with names."""

from collections.abc import Mapping
from dataclasses import dataclass

from vestige.construct.transformer.wires import Wire


@dataclass(frozen=True)
class Stream:
    """Names of blocks and their sizes, in order.

    >>> stream = Stream({"token": 5, "count": 1})
    >>> stream.width, list(stream.places("count"))
    (6, [5])
    """

    sizes: Mapping[str, int]

    @property
    def width(self) -> int:
        """Coordinates in all."""
        return sum(self.sizes.values())

    def places(self, name: str) -> range:
        """Coordinates of a block."""
        start = 0
        for other, size in self.sizes.items():
            if other == name:
                return range(start, start + size)
            start += size
        raise ValueError(f"block {name!r} given; the stream has {', '.join(map(repr, self.sizes))}.")

    def wires(self, name: str) -> list[Wire]:
        """The block's coordinates, to compute with."""
        return [Wire({place: 1.0}) for place in self.places(name)]

    def wire(self, name: str) -> Wire:
        """The first coordinate of a block."""
        return self.wires(name)[0]

    def named(self, places: set[int]) -> tuple[str, ...]:
        """Blocks that have a coordinate among these."""
        return tuple(name for name in self.sizes if places & set(self.places(name)))
