"""Reading an architecture off a state dict: a chain of linear and convolutional layers.

Weights hold the widths, kernels and biases; they hold neither the activation nor strides, padding, pooling and image
size. ReLU is assumed with a note. What else is missing is asked for: convolutions are read only where no stride and no
pooling can have made the images smaller.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from vestige.nets.layer_names import SAYS, against_a_chain
from vestige.nets.layer_order import ChainLayer, chains, natural, orders, place
from vestige.nets.smaller_images import ways_to

_MEANING = {
    "running_mean": "BatchNorm",
    "running_var": "BatchNorm",
    "num_batches_tracked": "BatchNorm",
    "in_proj_weight": "attention",
    "weight_ih_l0": "a recurrent layer",
    "weight_hh_l0": "a recurrent layer",
    "qweight": "quantized weights: export floats",
    "_packed_params": "quantized weights: export floats",
    "zero_point": "quantized weights: export floats",
    **dict.fromkeys(("biases", "scales", "qzeros", "absmax", "int_data", "qdata"), "quantized weights: export floats"),
    "scale": "a normalization, or quantized weights",
    **dict.fromkeys(
        ("weight_scale", "weight_scale_inv", "input_scale", "weight_format"), "quantized weights: export floats"
    ),
    **dict.fromkeys(
        ("eps", "min_val", "max_val", "observer_enabled", "fake_quant_enabled"),
        "an observer of quantization: save the network before prepare()",
    ),
    "SCB": "quantized weights: export floats",
    "base": "an orthogonal parametrization: remove it before saving, with torch.nn.utils.parametrize",
    **dict.fromkeys(
        ("original", "original0", "original1", "_u", "_v"),
        "a parametrization: remove it before saving, with torch.nn.utils.parametrize",
    ),
    "kernel": "a kernel of Keras or Flax",
    "w": "a weight of Haiku or the like, stored as (in, out): call it NAME.weight and transpose it",
    "in_proj_bias": "attention",
    "exp_avg": "the state of an optimizer",
    **dict.fromkeys(
        ("_flat_param", "flat_param", "flat_param_0"),
        "the flattened share of a process (FSDP): save with StateDictType.FULL_STATE_DICT",
    ),
}
_OF_AXES = {1: "normalization, PReLU or a scale", 3: "a convolution in one dimension", 5: "a convolution in three"}


MOST_NAMED = 30  # layers, in a sentence


class ArchitectureError(ValueError):
    """An architecture that cannot be read, built or told from the weights."""


def chain_layers(
    state: Mapping[str, Tensor],
    *,
    order: Sequence[str] | None = None,
    shapes: Sequence[tuple[int, ...]] | None = None,
) -> list[ChainLayer]:
    """The layers of a chain in the order of computation.

    Args:
        state: names and tensors.
        order: names of the layers in the order of computation, from whoever knows it.
        shapes: of the weights in the order of computation, from an architecture that was given.

    Raises:
        ArchitectureError: a tensor that belongs to no linear or convolutional layer, shapes that do not chain, or
            several orders that do.
    """
    if order is None and shapes is None:
        _refuse_adapters(state)
    layers = layers_in(state)
    return _in_order(layers) if order is None and shapes is None else _stated(layers, order, shapes)


def layers_in(state: Mapping[str, Tensor]) -> list[ChainLayer]:
    """The layers, in the order of their names.

    Raises:
        ArchitectureError: a tensor that belongs to no linear or convolutional layer.
    """
    layers, odd = [], []
    for name in sorted(state, key=natural):
        stem, _, kind = name.rpartition(".")
        tensor = state[name]
        if kind == "weight" and tensor.dim() in (2, 4):
            bias = state.get(f"{stem}.bias" if stem else "bias")
            if bias is not None and tuple(bias.shape) != tuple(tensor.shape[:1]):
                turned = tensor.dim() == 2 and tuple(bias.shape) == tuple(tensor.shape[1:])
                cause = "; stored transposed, as (in, out)? Transpose the weights" if turned else ""
                raise ArchitectureError(
                    f"{stem}.bias has shape {list(bias.shape)}, its weight {list(tensor.shape)}{cause}"
                )
            layers.append(ChainLayer(stem, tuple(tensor.shape), bias is not None))
        elif not (kind == "bias" and (f"{stem}.weight" if stem else "weight") in state):
            odd.append(name)
    if odd:
        name = next((name for name in odd if name.rpartition(".")[2] in _MEANING), odd[0])  # what says most
        raise ArchitectureError(
            f"not a chain of linear and convolutional layers: it holds {name!r} of shape {list(state[name].shape)} "
            f"({_meaning(name.rpartition('.')[2], state[name])}), which cannot be read off weights; "
            "give the architecture (--arch) as package.module:factory or ./file.py:factory"
        )
    if not layers:
        raise ArchitectureError("no linear or convolutional layer among the tensors")
    return layers


def _refuse_adapters(state: Mapping[str, Tensor]) -> None:
    """A low-rank adapter beside the layer that it changes is no layer of the chain."""
    lent = next((name for name in state if SAYS["a low-rank adapter"] & set(name.split("."))), None)
    if lent is not None:
        raise ArchitectureError(
            f"{lent} belongs to a low-rank adapter, which changes another layer: merge it into its network before "
            "saving (merge_and_unload() of peft), or give the architecture (--arch) as package.module:factory or "
            "./file.py:factory"
        )


def _some(names: Iterable[str]) -> str:
    """Names for a sentence."""
    listed = list(names)
    return ", ".join(listed[:MOST_NAMED]) + (f" and {len(listed) - MOST_NAMED:,} more" if listed[MOST_NAMED:] else "")


def _meaning(kind: str, tensor: Tensor) -> str:
    """What a tensor that no chain has is likely to be."""
    plain = "a weight that is not called NAME.weight, attention or a table" if tensor.dim() == 2 else "another layer"
    if re.fullmatch(r"((inputs?|x|data|features?|obs)_)?(mean|std)", kind):
        return "a normalization of the inputs: leave it out and say it with --mean and --std"
    return _MEANING.get(kind) or _OF_AXES.get(tensor.dim(), plain)


def architecture_of(
    state: Mapping[str, Tensor],
    input_shape: Sequence[int] | None = None,
    *,
    order: Sequence[str] | None = None,
) -> str:
    """The grammar string that fits a state dict of a chain, with ReLU assumed.

    Args:
        state: names and tensors, in any order.
        input_shape: (channels, height, width), needed when the first layer is a convolution.
        order: names of the layers in the order of computation; None: what numbers and shapes say.

    Raises:
        ArchitectureError: not a chain, several orders that chain, names that speak of attention, embedding tables,
            adapters, gates or skips, no input shape for a convolution, or strides and pooling that weights do not hold.

    Example:
        >>> import torch
        >>> architecture_of({"fc1.weight": torch.zeros(3, 4), "fc2.weight": torch.zeros(1, 3)})
        'mlp:4-3-1:bias=none'
    """
    layers = chain_layers(state, order=order)
    option = _bias_option(layers)
    if option is None:
        named = _some(layer.name for layer in layers if layer.has_bias)
        raise ArchitectureError(f"only {named} carry a bias; the grammar knows all, the first or none: give a factory")
    if why := against_a_chain(layers):
        raise ArchitectureError(
            f"{why}: give the architecture as package.module:factory or ./file.py:factory, or {_written(layers)} if it "
            "is a plain chain"
        )
    if not layers[0].is_conv:
        return _mlp(layers)
    widths = [str(layer.shape[0]) for layer in layers if not layer.is_conv]
    return _with_images(layers, input_shape, widths, option)


def _with_images(layers: list[ChainLayer], input_shape: Sequence[int] | None, widths: list[str], option: str) -> str:
    if input_shape is None or len(input_shape) != 3 or input_shape[0] != layers[0].shape[1]:
        raise ArchitectureError(
            f"the first layer is a convolution of {layers[0].shape[1]} channels: its strides, pooling and image size "
            f"are not in the weights; got input_shape={input_shape}. Give the architecture: cnn:3x32x32-c64k5s2-10"
        )
    convs = [layer for layer in layers if layer.is_conv]
    if any(layer.shape[2] != layer.shape[3] for layer in convs) or len(convs) == len(layers):
        raise ArchitectureError("the grammar knows square kernels followed by a linear layer: give a factory")
    head, (height, width) = "cnn:" + "x".join(map(str, input_shape)), input_shape[1:]
    pixels = layers[len(convs)].shape[1] // convs[-1].shape[0]
    ways = {said: "-".join([head, way, *widths]) + option for said, way in ways_to(pixels, convs, (height, width))}
    if "" in ways:
        return ways[""]
    known = ", or ".join(f"{way} ({said})" for said, way in ways.items())
    raise ArchitectureError(
        f"the convolutions of an image of {height}x{width} leave {pixels} pixels: strides, average pooling, max "
        "pooling or no padding made it smaller, and weights do not hold which. Give the architecture"
        + (f": such as {known}" if known else " as package.module:factory or ./file.py:factory")
    )


def _stated(
    layers: list[ChainLayer], order: Sequence[str] | None, shapes: Sequence[tuple[int, ...]] | None
) -> list[ChainLayer]:
    """The order that somebody states, by names or by the shapes that an architecture has."""
    if order is not None:
        named = {layer.name: layer for layer in layers}
        if sorted(order) != sorted(named):
            raise ArchitectureError(f"layers={','.join(order)} given; the file has the layers {_some(named)}")
        return [named[name] for name in order]
    if sorted(layer.shape for layer in layers) != sorted(shapes or ()):
        return layers  # of other sizes: the caller names the difference
    return _in_order(layers, shapes)


def _in_order(layers: list[ChainLayer], shapes: Sequence[tuple[int, ...]] | None = None) -> list[ChainLayer]:
    """The one order that the numbers in the names and the shapes allow; without the numbers if none agrees."""
    found = orders(layers, shapes=shapes)
    if found == [] and _turned(layers):
        raise ArchitectureError(
            f"the weights chain in the order of their names only if they are transposed, {layers[0].name} "
            f"{list(layers[0].shape)} first: they are stored as (in, out); transpose them before saving"
        )
    found = orders(layers, numbered=False, shapes=shapes) if found == [] else found
    if found is not None and len(found) == 1:
        if shapes is None:
            _refuse_reversed(found[0])
        return found[0]
    if found == []:
        _refuse_beside(layers)
        broken = next(pair for pair in itertools.pairwise(layers) if not chains(pair))
        raise ArchitectureError(
            f"the shapes do not chain: {broken[0].name} {list(broken[0].shape)} is followed by {broken[1].name} "
            f"{list(broken[1].shape)}, and no other orders fit (skips, groups, or several heads?); give the "
            "architecture as package.module:factory or ./file.py:factory"
        )
    example = (found or [layers])[0]
    names = ",".join(layer.name for layer in example)
    raise ArchitectureError(
        f"the layers {_some(layer.name for layer in layers)} chain in several orders, and no numbers in their "
        f"names say in which they are computed. State it in the architecture: {_written(example)}:layers={names}; "
        "`vestige convert` of the original .pt keeps its order"
    )


def _refuse_reversed(layers: list[ChainLayer]) -> None:
    """Matrices without a bias that says which side is which, in an order that their names contradict."""
    first, last = layers[0], layers[-1]
    if turnable(layers) and place(first.name) > place(last.name):
        names = ",".join(layer.name for layer in layers)
        raise ArchitectureError(
            f"the only order that chains begins with {first.name} {list(first.shape)} and ends with {last.name} "
            f"{list(last.shape)}: stored as (in, out)? Transpose the weights before saving; or, if it is the order, "
            f"state it: {_written(layers)}:layers={names}"
        )


def _refuse_beside(layers: list[ChainLayer]) -> None:
    """Networks that stand beside each other, such as a policy and its values: each chains, all together do not."""
    parts = [list(part) for _, part in itertools.groupby(layers, key=lambda layer: layer.name.partition(".")[0])]
    names = [part[0].name.partition(".")[0] for part in parts]
    if len(parts) > 1 and all(len(part) > 1 and orders(part) for part in parts):
        raise ArchitectureError(
            f"the file holds {len(parts)} networks side by side, {', '.join(names[:5])}: each chains, all together do "
            f"not. Write one to a file of its own: vestige convert FILE ONE.safetensors --key {names[0]}"
        )


def turnable(layers: Sequence[ChainLayer]) -> bool:
    """Whether nothing in the file says that these matrices are stored as (out, in): no bias that fits one side only."""
    return not any(layer.is_conv or (layer.has_bias and layer.shape[0] != layer.shape[1]) for layer in layers)


def _turned(layers: list[ChainLayer]) -> bool:
    """Whether numbered layers chain in their order once each is transposed."""
    if not turnable(layers) or len(layers) < 2:
        return False
    turned = [ChainLayer(layer.name, layer.shape[::-1], layer.has_bias) for layer in layers]
    return orders(turned) == [turned]


def _written(layers: Sequence[ChainLayer]) -> str:
    """The chain in the grammar, as far as weights tell it."""
    return "cnn:..." if any(layer.is_conv for layer in layers) else _mlp(layers)


def _mlp(layers: Sequence[ChainLayer]) -> str:
    option = _bias_option(layers)
    return "-".join([f"mlp:{layers[0].shape[1]}", *(str(layer.shape[0]) for layer in layers)]) + (option or "")


def _bias_option(layers: Sequence[ChainLayer]) -> str | None:
    """What the grammar writes for these biases; None where it cannot."""
    biases = [layer.has_bias for layer in layers]
    if any(biases[1:]):
        return ":bias=all" if all(biases) else None
    return "" if biases[0] else ":bias=none"
