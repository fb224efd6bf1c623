"""How a memorizer is cut up: lanes side by side, groups of points in a lane, slots in a group's code word."""

from dataclasses import dataclass

TAIL = 5  # layers besides one a group and one a bit


@dataclass(frozen=True)
class Packing:
    """Sizes known before a memorizer is built: lanes side by side, groups in a lane, slots (points) in a group."""

    lanes: int
    groups: int
    slots: int
    key_bits: int
    label_bits: int

    @property
    def slot_bits(self) -> int:
        """Layers that reading one slot takes."""
        return max(self.key_bits, self.label_bits)

    @property
    def code_bits(self) -> int:
        """Of the longer code word of a group."""
        return self.slots * self.slot_bits

    @property
    def weight_bits(self) -> int:
        """Digits of a weight after the projection, at most."""
        return max(self.code_bits, self.key_bits, self.label_bits + 1) + 2

    @property
    def depth(self) -> int:
        """Affine layers."""
        return self.groups + self.code_bits + TAIL

    @property
    def width(self) -> int:
        """Bound on the neurons of a layer: x, y, and nine neurons a lane."""
        return 2 + 9 * self.lanes

    def nonzeros(self, inputs: int) -> int:
        """Weights and biases that are not 0: at most, as a difference of two code words or the offset may be 0."""
        carried = (self.depth - 4) + (self.slots - 1) * self.slot_bits  # x and y
        answers = self.slots * (2 * (3 + min(self.key_bits, 2)) - 2 + min(self.label_bits, 2) + 1 + 3 + 1)
        steps = 4 * (self.groups - 1) + 4 * max(self.groups - 2, 0)
        streams = self._stream(self.key_bits) + self._stream(self.label_bits)
        return inputs + 2 + carried + self.lanes * (answers + steps + streams)

    def _stream(self, bits: int) -> int:
        """Non-zeros that read a word: two neurons of the triangle map a bit, the bit, and the value so far."""
        every, waits, entry = self.slots * bits, self.slot_bits - bits, min(self.groups, 3)
        reading = 7 * every - 2 + self.slots * max(3 * bits - 4, 0)
        if not waits:
            return reading + 2 * entry - (5 if every > 1 else 3 + entry)
        return reading + self.slots * (waits - 1) + entry - 2 + (bits == 1)


def choose_packing(
    points: int, key_bits: int, label_bits: int, *, depth: int | None = None, bits: int | None = None
) -> Packing:
    """The packing with the fewest non-zeros, of at most `depth` affine layers and code words of at most `bits` bits."""
    slot = max(key_bits, label_bits)
    if bits is not None and bits < slot:
        raise ValueError(
            f"bits={bits} given; a code word holds at least one key of {key_bits} bits and one label of {label_bits}: "
            f"{slot} bits are needed. Fewer points, or points further apart, have shorter keys."
        )
    least = Packing(1, 1, 1, key_bits, label_bits).depth
    if depth is not None and depth < least:
        raise ValueError(
            f"depth={depth} given; reading one key of {key_bits} bits and one label of {label_bits} takes {least} "
            f"layers. Give depth={least} or more, or strategy='wide' for 3 layers."
        )
    most = min(points, bits // slot if bits else points, (depth - least) // slot + 1 if depth else points)
    packings = []
    for slots in range(1, most + 1):
        room = depth - TAIL - slots * slot if depth else points
        lanes = -(-points // (slots * room))
        packings.append(Packing(lanes, -(-points // (slots * lanes)), slots, key_bits, label_bits))
        if packings[-1].groups == 1 and not depth:
            break
    return min(packings, key=lambda packing: packing.nonzeros(0))
