"""How the network of a construction is written into a file and read back; one format a family of networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vestige.construct.exact.layers import Layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.stored import layers_of
from vestige.nets.architecture import describe, parse_architecture
from vestige.nets.fill import fill_model


@dataclass(frozen=True)
class NetworkFormat:
    """A pair of functions, each the inverse of the other.

    Attributes:
        write: network -> (what JSON holds, tensors by name). Names are dotted, as in a state dict.
        build: (what JSON holds, tensors by name) -> network. The file may be a stranger's: sizes are checked before
            memory is allocated, no code is run on the file's word, and what does not fit raises ValueError.
    """

    write: Callable[[Any], tuple[Any, Mapping[str, Tensor]]]
    build: Callable[[Any, Mapping[str, Tensor]], Any]


def write_exact(network: ExactNetwork) -> tuple[Any, Mapping[str, Tensor]]:
    """Hexadecimal integers; `vestige.construct.file.stored` says how they look."""
    return {"inputs": network.inputs, "layers": [_rows(item) for item in network.layers]}, {}


def _rows(item: Layer) -> list[list[int | str]]:
    return [
        [
            row.shift,
            f"{int(row.bias):x}",
            *(part for c, w in zip(row.columns, row.weights, strict=True) for part in (c, f"{int(w):x}")),
        ]
        for row in item.neurons
    ]


def build_exact(content: Any, tensors: Mapping[str, Tensor]) -> ExactNetwork:
    """The inverse of `write_exact`."""
    return ExactNetwork(layers_of(content))


def write_chain(network: nn.Module) -> tuple[Any, Mapping[str, Tensor]]:
    """A chain of linear layers in the grammar of `vestige.nets.architecture`, and its state dict.

    Raises:
        ValueError: another module.
    """
    text = describe(network)
    if text is None:
        raise ValueError(
            f"the network, a {type(network).__name__}, is not a chain of linear layers and activations; a kind with "
            "other modules needs a NetworkFormat of its own."
        )
    return {"architecture": text}, dict(network.state_dict())


def build_chain(content: Any, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The inverse of `write_chain`: memory is allocated by the tensors of the file only."""
    text = content["architecture"]
    if not isinstance(text, str) or not text.startswith("mlp:"):
        raise ValueError(
            f"architecture {str(text)[:80]!r} given; a chain of linear layers is mlp:..., such as mlp:4-3-1"
        )
    model = parse_architecture(text, device="meta")
    return fill_model(model, tensors, is_chain=True, warnings=[]).requires_grad_(False).eval()


EXACT = NetworkFormat(write_exact, build_exact)
CHAIN = NetworkFormat(write_chain, build_chain)
