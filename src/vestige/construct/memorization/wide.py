"""The classical memorizer: one wide hidden layer after the projection, two neurons for each change of the label."""

import itertools
from fractions import Fraction

from vestige.construct.exact.layers import Layer, Number, layer


def wide_layers(pairs: list[tuple[int, int]], *, step: Number = 1, offset: Number = 0) -> list[Layer]:
    """x -> offset + step * the label of the last key below, going over to the next within (3/4, 1) above a key.

    A ramp of width 1/4 between two keys is relu(4 (x - key) - 3) - relu(4 (x - key) - 4). The pairs (key, label) come
    in the order of the keys, which are at least 2 apart.
    """
    changes = [(key, after - before) for (key, before), (_, after) in itertools.pairwise(pairs)]
    changes = [(key, change) for key, change in changes if change]
    hidden = [({0: 4}, -4 * key - height) for key, _ in changes for height in (3, 4)]
    unit = Fraction(step)
    weights = {2 * k + side: sign * unit * d for k, (_, d) in enumerate(changes) for side, sign in ((0, 1), (1, -1))}
    return [layer(1, hidden or [({}, 0)]), layer(max(len(hidden), 1), [(weights, offset + unit * pairs[0][1])])]
