"""What a transformer costs, and who reads and writes which block of its stream."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vestige.construct.transformer.blocks import Transformer, constructed_transformer, linear_layers


def resources(network: Transformer) -> dict[str, float | int]:
    """Depth, widths and the largest weight, by the names that certificates use."""
    heads = [head for layer in network.layers for head in layer.heads]
    hidden = [linear.out_features for layer in network.layers for linear in linear_layers(layer)[:-1]]
    return {
        "layers": len(network.layers),
        "stream width": network.stream.width,
        "heads in a layer": max(len(layer.heads) for layer in network.layers),
        "rank of a head": max((head.query.out_features for head in heads), default=0),
        "values of a head": max((head.value.out_features for head in heads), default=0),
        "neurons of an MLP layer": max(hidden, default=0),
        "weights other than 0": sum(int((p != 0).sum()) for p in network.parameters()),
        "largest weight": max(float(p.abs().max()) for p in network.parameters() if p.numel()),
    }


@dataclass(frozen=True)
class Part:
    """One head or one MLP.

    Attributes:
        name: such as "layer 0, head 1".
        reads: blocks that it reads: for a head by query, key and value.
        writes: blocks that it adds to.
        sizes: rank and value width of a head; widths of an MLP's layers.
        largest: its largest weight.
        logits: smallest and largest logit at the inputs given; None for an MLP, or without inputs.
    """

    name: str
    reads: dict[str, tuple[str, ...]]
    writes: tuple[str, ...]
    sizes: tuple[int, ...]
    largest: float
    logits: tuple[float, float] | None = None

    def __str__(self) -> str:
        """One line."""
        reads = "; ".join(f"{role} {'+'.join(names) or 'nothing'}" for role, names in self.reads.items())
        logits = "" if self.logits is None else f", logits {self.logits[0]:.4g} to {self.logits[1]:.4g}"
        sizes = "-".join(map(str, self.sizes))
        return f"{self.name}: {reads} -> {'+'.join(self.writes)} ({sizes}; largest weight {self.largest:.4g}{logits})"


def describe_stream(model: nn.Module, x: Tensor | None = None) -> tuple[Part, ...]:
    """Every head and MLP of a transformer with the blocks that it reads and writes.

    Args:
        model: a constructed transformer.
        x: inputs at which the logits are measured; None leaves them out.

    Raises:
        ValueError: another module, or inputs that it does not take.
    """
    network = constructed_transformer(model)
    with torch.no_grad():
        trace = {} if x is None else network.trace(x)
    return tuple(_parts(network, trace))


def _parts(network: Transformer, trace: dict[str, Tensor]) -> Iterator[Part]:
    stream = network.stream
    for k, layer in enumerate(network.layers):
        for h, head in enumerate(layer.heads):
            roles = {"query": head.query, "key": head.key, "value": head.value}
            logits = trace.get(f"layer.{k}.head.{h}.logits")
            finite = None if logits is None else logits[logits.isfinite()]
            yield Part(
                f"layer {k}, head {h}",
                {role: stream.named(_columns(linear.weight)) for role, linear in roles.items()},
                stream.named(_columns(head.out.weight.T)),
                (head.query.out_features, head.value.out_features),
                max(float(p.abs().max()) for p in head.parameters()),
                None if finite is None else (float(finite.min()), float(finite.max())),
            )
        linear = linear_layers(layer)
        if linear:
            yield Part(
                f"layer {k}, MLP",
                {"reads": stream.named(_columns(linear[0].weight))},
                stream.named(_columns(linear[-1].weight.T) | _columns(linear[-1].bias[None])),
                tuple(m.out_features for m in linear[:-1]),
                max(float(p.abs().max()) for m in linear for p in m.parameters()),
            )


def _columns(weight: Tensor) -> set[int]:
    return set((weight != 0).any(0).nonzero()[:, 0].tolist())
