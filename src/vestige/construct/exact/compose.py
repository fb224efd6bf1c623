"""Exact networks from exact networks: one after the other, side by side, carried through."""

from collections.abc import Sequence
from fractions import Fraction

from vestige.construct.exact.layers import Layer, Neuron, layer, neuron
from vestige.construct.exact.network import ExactNetwork


def in_series(first: ExactNetwork, second: ExactNetwork, *, relu: bool = False) -> ExactNetwork:
    """x -> second(first(x)).

    Args:
        first: its outputs are the inputs of `second`.
        second: runs after it.
        relu: False multiplies the two affine maps at the joint into one layer; True puts a ReLU between them, which
            changes nothing where the outputs of `first` are known to be at least 0, and keeps its rows sparse.

    Raises:
        ValueError: the sizes do not fit.

    Example:
        >>> double = ExactNetwork((layer(1, [({0: 2}, 1)]),))
        >>> in_series(double, double).layers[0].neurons
        (Neuron(columns=(0,), weights=(4,), bias=3, shift=0),)
    """
    if first.outputs != second.inputs:
        raise ValueError(
            f"a network of {first.outputs} outputs before one that reads {second.inputs}; equal numbers are needed."
        )
    if relu:
        return ExactNetwork((*first.layers, *second.layers))
    joint = _product(second.layers[0], first.layers[-1])
    return ExactNetwork((*first.layers[:-1], joint, *second.layers[1:]))


def in_parallel(networks: Sequence[ExactNetwork], *, shared: bool = True, signed: bool = True) -> ExactNetwork:
    """x -> all outputs, in order; shorter networks carry their outputs on to the common depth.

    Args:
        networks: at least one.
        shared: all read the same inputs; False gives each inputs of its own, one block after the other.
        signed: outputs may be negative, so that carrying one takes two neurons; False where they are known not to be.

    Raises:
        ValueError: no network, or shared inputs of different sizes.
    """
    if not networks or (shared and len({network.inputs for network in networks}) > 1):
        raise ValueError(
            f"networks that read {[network.inputs for network in networks]} numbers given; at least one is "
            "needed, and with shared inputs all must read as many. shared=False gives each inputs of its own."
        )
    depth = max(network.depth for network in networks)
    padded = [_carried(network, depth, signed) for network in networks]
    return ExactNetwork(tuple(_beside([n.layers[k] for n in padded], shared and k == 0) for k in range(depth)))


def pass_through(size: int, depth: int, *, signed: bool = True) -> ExactNetwork:
    """The identity on `size` numbers in `depth` affine layers.

    Two neurons carry a number of either sign; signed=False takes one and clamps negative numbers to 0.
    """
    if size < 1 or depth < 1:
        raise ValueError(f"size={size}, depth={depth} given; both must be at least 1.")
    if depth == 1:
        return ExactNetwork((layer(size, [({k: 1}, 0) for k in range(size)]),))
    signs = (1, -1) if signed else (1,)
    parts = len(signs)
    split = layer(size, [({k: sign}, 0) for k in range(size) for sign in signs])
    keep = layer(parts * size, [({k: 1}, 0) for k in range(parts * size)])
    join = layer(parts * size, [({parts * k + i: s for i, s in enumerate(signs)}, 0) for k in range(size)])
    return ExactNetwork((split, *[keep] * (depth - 2), join))


def _carried(network: ExactNetwork, depth: int, signed: bool) -> ExactNetwork:
    missing = depth - network.depth
    return in_series(network, pass_through(network.outputs, missing + 1, signed=signed)) if missing else network


def _beside(layers: list[Layer], shared: bool) -> Layer:
    neurons, offset = [], 0
    for item in layers:
        for row in item.neurons:
            columns = row.columns if shared else tuple(c + offset for c in row.columns)
            neurons.append(Neuron(columns, row.weights, row.bias, row.shift))
        offset += item.inputs
    return Layer(layers[0].inputs if shared else offset, tuple(neurons))


def _product(after: Layer, before: Layer) -> Layer:
    rows = []
    for row in after.neurons:
        weights: dict[int, Fraction] = {}
        bias = Fraction(row.bias, 1 << row.shift)
        for column, weight in zip(row.columns, row.weights, strict=True):
            inner = before.neurons[column]
            factor = Fraction(weight, 1 << (row.shift + inner.shift))
            bias += factor * inner.bias
            for c, w in zip(inner.columns, inner.weights, strict=True):
                weights[c] = weights.get(c, Fraction(0)) + factor * w
        rows.append(neuron(weights, bias))
    return Layer(before.inputs, tuple(rows))
