"""A transformer without normalization, whose heads have any query, key and value widths and whose MLPs have any depth.

    X <- X + sum_h softmax(Q_h K_h^T + mask) V_h O_h            Q_h, K_h, V_h affine in X, no 1 / sqrt(d)
    X <- X + MLP(X)

Inputs are token ids, or a vector for each token. Nothing here knows what is computed; `vestige.construct.transformer`
writes the weights down.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vestige.construct.transformer.folding import Folded
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.wires import Wire, affine, compiled
from vestige.core.choices import ChoiceEnum

FOLDED = (torch.float32, torch.float64)  # half precisions are those of plain products, rounded after each
SMALL = 1 << 16  # numbers of the stream below which nothing is folded
CACHED = 1 << 19  # numbers of the stream that are computed at once: they stay in the cache of a processor's core


class Mask(ChoiceEnum):
    """Which tokens a token attends to."""

    NONE = "none"
    CAUSAL = "causal"
    OTHERS = "others"


class Embedding(nn.Module):
    """From the input to the stream: a row for each id, or a linear map of each token's vector.

    Attributes:
        ids: whether inputs are ids, from 0 on.
        lengths: fewest and most tokens.
        table: (ids or features, width).
        position: (most tokens, width), added to each token; may be absent.
        last: (width,), added to the last token; may be absent.
        sink: (width,), of a token that is put before the others; may be absent.
    """

    table: Tensor
    position: Tensor | None
    last: Tensor | None
    sink: Tensor | None

    def __init__(
        self,
        table: Tensor,
        lengths: tuple[int, int],
        *,
        ids: bool,
        position: Tensor | None = None,
        last: Tensor | None = None,
        sink: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.ids, self.lengths = ids, lengths
        self.table = nn.Parameter(table, requires_grad=False)
        for name, tensor in (("position", position), ("last", last), ("sink", sink)):
            self.register_parameter(name, None if tensor is None else nn.Parameter(tensor, requires_grad=False))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n) ids or (batch, n, features) -> (batch, n, width), one more token with a sink.

        Raises:
            ValueError: an id, a size or a length that the weights were not made for.
        """
        self.check(x)
        stream = self.table[x.long()] if self.ids else x.to(self.table) @ self.table
        if self.position is not None:
            stream = stream + self.position[: x.shape[1]]
        if self.last is not None:
            stream = torch.cat([stream[:, :-1], stream[:, -1:] + self.last], 1)
        if self.sink is not None:
            stream = torch.cat([self.sink.expand(len(x), 1, -1), stream], 1)
        return stream

    def check(self, x: Tensor) -> None:
        """Refuse what the weights were not made for.

        Raises:
            ValueError: ids, sizes or lengths.
        """
        least, most = self.lengths
        axes = 2 if self.ids else 3
        if x.ndim != axes or (not self.ids and x.shape[2] != len(self.table)):
            wanted = "(batch, n) ids" if self.ids else f"(batch, n, {len(self.table)})"
            raise ValueError(f"inputs of shape {tuple(x.shape)} given; {wanted} are needed.")
        if not least <= x.shape[1] <= most:
            allowed = f"exactly {most}" if least == most else f"{least} to {most}"
            raise ValueError(f"{x.shape[1]} tokens given; this network is certified for {allowed}.")
        if self.ids and x.numel() and not 0 <= int(x.min()) <= int(x.max()) < len(self.table):
            raise ValueError(
                f"ids {int(x.min())} to {int(x.max())} given; ids from 0 to {len(self.table) - 1} are known."
            )


class Head(nn.Module):
    """One attention head; `out` writes its values into the stream."""

    def __init__(self, query: nn.Linear, key: nn.Linear, value: nn.Linear, out: nn.Linear) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = query, key, value, out

    def forward(self, stream: Tensor, rows: slice, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """What it adds to the tokens `rows`, its logits and its pattern."""
        logits = self.query(stream[:, rows]) @ self.key(stream).transpose(1, 2)
        if mask is not None:
            logits = logits.masked_fill(~mask[rows], -math.inf)
        pattern = logits.softmax(-1)
        return self.out(pattern @ self.value(stream)), logits, pattern


def attention_head(
    stream: Stream, *, query: Sequence[Wire], key: Sequence[Wire], value: Sequence[Wire], to: Sequence[int]
) -> Head:
    """A head from formulas.

    Args:
        stream: that it reads and writes.
        query: affine in the stream, one for each dimension of the query.
        key: as many.
        value: affine in the stream.
        to: the coordinate that each value is added to.
    """
    out = affine([Wire({}) for _ in range(stream.width)], len(value), bias=False)
    out.weight[torch.tensor(to), torch.arange(len(value))] = 1.0
    width = stream.width
    return Head(affine(query, width), affine(key, width), affine(value, width), out)


class Layer(nn.Module):
    """Heads, then an MLP; either may be absent."""

    heads: Any  # a list of Head
    mlp: nn.Sequential | None

    def __init__(self, heads: Sequence[Head], mlp: nn.Sequential | None = None) -> None:
        super().__init__()
        self.heads, self.mlp = nn.ModuleList(heads), mlp

    def forward(
        self, stream: Tensor, rows: slice, mask: Tensor | None, keep: dict[str, Tensor] | None = None, name: str = ""
    ) -> Tensor:
        """The tokens `rows` of the next stream; what it computes is put into `keep`."""
        keep = {} if keep is None else keep
        after = stream[:, rows]
        for number, head in enumerate(self.heads):
            added, logits, pattern = head(stream, rows, mask)
            keep[f"{name}.head.{number}.logits"], keep[f"{name}.head.{number}.pattern"] = logits, pattern
            after = after + added
        keep[f"{name}.between"] = after
        if self.mlp is not None:
            after = after + self.mlp(after)
        keep[f"{name}.after"] = after
        return after


def linear_layers(layer: Layer) -> list[nn.Linear]:
    """Of its MLP, in order."""
    return [] if layer.mlp is None else [m for m in layer.mlp if isinstance(m, nn.Linear)]


def mlp(stream: Stream, writes: dict[str, Sequence[Wire]], *, clear: Sequence[str] = ()) -> nn.Sequential:
    """An MLP from formulas.

    Args:
        stream: that it reads and writes.
        writes: for each block what is added to it.
        clear: blocks whose present content is taken away first, so that what is written replaces it.
    """
    rows = [Wire({}) for _ in range(stream.width)]
    for name in clear:
        for place in stream.places(name):
            rows[place] = Wire({place: -1.0})
    for name, wires in writes.items():
        for place, wire in zip(stream.places(name), wires, strict=True):
            rows[place] = rows[place] + wire
    return compiled(rows, stream.width)


class Transformer(nn.Module):
    """Embedding, layers, and a linear readout of one token or of each.

    Attributes:
        stream: names of the blocks.
        mask: which tokens a token attends to.
        read: position of the token that is read, -1 for the last; None for each.
    """

    embedding: Embedding
    layers: Any  # a list of Layer

    def __init__(
        self,
        stream: Stream,
        embedding: Embedding,
        layers: Sequence[Layer],
        readout: Sequence[Wire],
        *,
        read: int | None = -1,
        mask: Mask | str = Mask.NONE,
    ) -> None:
        super().__init__()
        self.stream, self.read, self.mask = stream, read, Mask(mask)
        self.embedding, self.layers = embedding, nn.ModuleList(layers)
        self.readout = affine(readout, stream.width)
        self._folded: tuple[int, list[Tensor], Folded] | None = None
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, out), or (batch, n, out) where each token is read.

        Raises:
            ValueError: ids, sizes or lengths that it was not made for.
        """
        self.embedding.check(x)
        size = x.shape[1] * self.stream.width
        parts = x.split(max(1, CACHED // size))
        if len(x) * size < SMALL or not self._foldable(x):
            found = [self._run(part, None) for part in parts]
        else:
            folded = self._fold(x.shape[1])
            found = [folded(part) for part in parts]
            found = [part[:, self._first :] if self.read is None else part[:, 0] for part in found]
        return found[0] if len(found) == 1 else torch.cat(found)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles are without what was folded."""
        return {**self.__dict__, "_folded": None}

    def _foldable(self, x: Tensor) -> bool:
        return not x.requires_grad and all(p.dtype in FOLDED and not p.requires_grad for p in self.parameters())

    def _fold(self, tokens: int) -> Folded:
        """At these weights: they are looked at each time."""
        now = [p.detach() for p in self.parameters()]
        if self._folded is not None:
            known, before, folded = self._folded
            pairs = zip(now, before, strict=True)
            if known == tokens and all(
                (p.dtype, p.device) == (q.dtype, q.device) and torch.equal(p, q) for p, q in pairs
            ):
                return folded
        folded = Folded(self, tokens)
        self._folded = tokens, [p.clone() for p in now], folded
        return folded

    def trace(self, x: Tensor) -> dict[str, Tensor]:
        """Everything that it computes, by name: each layer's logits, patterns and stream, and each block at the end.

        The last layer is computed for all tokens, of which `forward` may need one only.
        """
        keep: dict[str, Tensor] = {}
        keep["output"] = self._run(x, keep)
        stream = keep[f"layer.{len(self.layers) - 1}.after"]
        for name in self.stream.sizes:
            places = self.stream.places(name)
            keep[f"block.{name}"] = stream[..., places.start : places.stop]
        return keep

    def _run(self, x: Tensor, keep: dict[str, Tensor] | None) -> Tensor:
        stream = self.embedding(x)
        if keep is not None:
            keep["embedding"] = stream
        tokens = stream.shape[1]
        mask, chosen, everything = self.allowed(tokens), self.chosen(tokens), slice(0, tokens)
        for number, layer in enumerate(self.layers):
            last = number == len(self.layers) - 1 and keep is None
            stream = layer(stream, chosen if last else everything, mask, keep, f"layer.{number}")
        if keep is not None:
            stream = stream[:, chosen]
        return self.readout(stream[:, self._first :] if self.read is None else stream[:, 0])

    @property
    def _first(self) -> int:
        return int(self.embedding.sink is not None)

    def chosen(self, tokens: int) -> slice:
        """Tokens of the last layer that are read, of so many with the sink."""
        if self.read is None:
            return slice(0, tokens)
        place = tokens + self.read if self.read < 0 else self._first + self.read
        return slice(place, place + 1)

    def allowed(self, tokens: int) -> Tensor | None:
        """Which tokens attend to which; None for all to all."""
        if self.mask is Mask.NONE:
            return None
        square = torch.ones(tokens, tokens, dtype=torch.bool, device=self.embedding.table.device)
        return square.tril() if self.mask is Mask.CAUSAL else square.fill_diagonal_(False)


def constructed_transformer(model: nn.Module) -> Transformer:
    """The module itself.

    Raises:
        ValueError: it is of another class.
    """
    if not isinstance(model, Transformer):
        raise ValueError(f"a {type(model).__name__} given; the `network` of a constructed transformer is needed.")
    return model
