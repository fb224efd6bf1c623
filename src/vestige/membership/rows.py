"""The candidates' gradients as the rows g_i of a matrix G that is formed only where it is small.

For a dense layer g_i = delta_i a_i^T, so that G G^T = (D D^T) * (A A^T) and every product with G costs as much as a
pass through the layer. Rows of other layers are made a block of columns at a time. Both kinds have, in float64,

    gram(index)  G G_index^T     times(w)    G w          take(index)  some of the rows
    matrix()     G               through(v)  G G^T v      unit()       rows of length 1, zeros stay
    squares()    |g_i|^2         weights     the layer's own, flat

except that a Gram matrix that is formed from factors has the network's precision.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from vestige.core.kkt import ROWS_BUDGET
from vestige.core.margins import Loss
from vestige.membership.cotangents import unit_cotangents
from vestige.membership.taps import Layer, factors, weight_of

ALL = slice(None)
Views = Callable[[Tensor], Sequence[Tensor]]  # the copies of a batch that training may have seen


@dataclass(frozen=True)
class Samples:
    """Candidates with what their gradients depend on."""

    net: nn.Module
    x: Float[Tensor, "n ..."]
    y: Shaped[Tensor, "n ..."]
    loss: Loss | str
    batch_size: int
    views: Views | None

    def batches(self) -> Iterator[tuple[slice, list[Tensor], Tensor]]:
        """Positions, the copies of their samples, and their labels."""
        like = next(self.net.parameters())
        for start in range(0, len(self.x), self.batch_size):
            part = slice(start, start + self.batch_size)
            x = self.x[part].to(like.device, like.dtype)
            yield part, [x] if self.views is None else list(self.views(x)), self.y[part].to(like.device)

    def take(self, index: Tensor) -> "Samples":
        x, y = (part[index.to(part.device)] for part in (self.x, self.y))
        return Samples(self.net, x, y, self.loss, self.batch_size, self.views)


@dataclass(frozen=True)
class Dense:
    """Rows sum_t delta_it a_it^T over the copies t of a sample, which are few."""

    delta: Float[Tensor, "copy n channel"]
    a: Float[Tensor, "copy n feature"]
    weights: Float[Tensor, " parameters"]

    def __len__(self) -> int:
        return self.delta.shape[1]

    def gram(self, index: Tensor | slice = ALL) -> Tensor:
        copies = list(zip(self.delta, self.a, strict=True))
        others = zip(self.delta[:, index], self.a[:, index], strict=True)
        products = ((d @ e.T).mul_(a @ b.T) for (d, a), (e, b) in product(copies, others))
        return functools.reduce(Tensor.add_, products)

    def times(self, w: Tensor) -> Tensor:
        matrix = w.reshape(self.delta.shape[2], -1).to(self.a)
        return (self.delta * (self.a @ matrix.T)).sum((0, 2)).double()

    def combine(self, v: Tensor) -> Tensor:
        return torch.einsum("tnc,tnk->ck", self.delta * v[:, None].to(self.delta), self.a).flatten().double()

    def through(self, v: Tensor) -> Tensor:
        return self.times(self.combine(v))

    def squares(self) -> Tensor:
        delta, a = self.delta.double(), self.a.double()  # a row's square may be below what its own precision holds
        return (torch.einsum("tnc,snc->tsn", delta, delta) * torch.einsum("tnk,snk->tsn", a, a)).sum((0, 1))

    def unit(self) -> "Dense":
        return replace(self, delta=(self.delta / _lengths(self)).to(self.delta))

    def matrix(self) -> Tensor:
        return torch.einsum("tnc,tnk->nck", self.delta, self.a).flatten(1).double()

    def take(self, index: Tensor) -> "Dense":
        return Dense(self.delta[:, index], self.a[:, index], self.weights)


@dataclass(frozen=True)
class Blocks:
    """Rows of any layer, made anew for each block of columns, and divided by `lengths`."""

    samples: Samples
    layer: Layer
    weights: Float[Tensor, " parameters"]
    lengths: Float[Tensor, "n 1"] | None = None

    def __len__(self) -> int:
        return len(self.samples.x)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Columns and their part of G."""
        edges = torch.linspace(0, len(self.weights), self._count + 1).long().tolist()
        for start, end in pairwise(edges):
            part = self.weights.new_empty(len(self), end - start)
            for where, copies, y in self.samples.batches():
                rows = [_rows_of(self.samples, self.layer, x, y, slice(start, end)) for x in copies]
                part[where] = torch.stack(rows).sum(0).to(part)
            yield slice(start, end), part if self.lengths is None else part.div_(self.lengths)

    @property
    def _count(self) -> int:
        return -(-8 * len(self) * len(self.weights) // ROWS_BUDGET)

    def gram(self, index: Tensor | slice = ALL) -> Tensor:
        return functools.reduce(torch.add, (part @ part[index].T for _, part in self.blocks()))

    def times(self, w: Tensor) -> Tensor:
        return functools.reduce(torch.add, (part @ w[columns] for columns, part in self.blocks()))

    def through(self, v: Tensor) -> Tensor:
        return functools.reduce(torch.add, (part @ (v @ part) for _, part in self.blocks()))

    def squares(self) -> Tensor:
        return functools.reduce(torch.add, (part.square().sum(1) for _, part in self.blocks()))

    def matrix(self) -> Tensor:
        return torch.cat([part for _, part in self.blocks()], 1)

    def unit(self) -> "Rows":
        """Kept where they fit into one block: a row is its own factor, beside one channel of ones."""
        if self._count > 1:
            return replace(self, lengths=_lengths(self))
        g = self.matrix()
        g = g.div_(g.norm(dim=1, keepdim=True).clamp(min=1e-150)).to(next(self.samples.net.parameters()).dtype)
        return Dense(torch.ones_like(g[None, :, :1]), g[None], self.weights)

    def take(self, index: Tensor) -> "Blocks":
        lengths = None if self.lengths is None else self.lengths[index]
        return Blocks(self.samples.take(index), self.layer, self.weights, lengths)


Rows = Dense | Blocks


def _lengths(rows: Rows) -> Float[Tensor, "n 1"]:
    return rows.squares().sqrt().clamp(min=1e-150)[:, None]


def rows_of(samples: Samples, layers: Sequence[Layer], base: nn.Module | None) -> dict[str, Rows]:
    """The rows of several layers, in one pass for the dense ones.

    Args:
        samples: the candidates.
        layers: of `read_layers`.
        base: what the weights are measured from; None for 0.
    """
    weights = {each.name: _weights(samples.net, each) for each in layers}
    if base is not None:
        weights = {each.name: weights[each.name] - _weights(base, each).to(weights[each.name]) for each in layers}
    plain = [each for each in layers if each.factored and each.kind in ("dense", "head")]
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {each.name: [] for each in plain}
    if plain:
        for _, copies, y in samples.batches():
            found = [factors(samples.net, plain, x, y, samples.loss) for x in copies]
            for each in plain:
                delta, a = zip(*(f[each.name] for f in found), strict=True)
                parts[each.name].append((torch.stack(delta), torch.stack(a)))
    rows: dict[str, Rows] = {}
    for each in layers:
        flat = all(side.shape[3] == 1 for pair in parts.get(each.name, []) for side in pair)
        if each.name in parts and flat:
            delta, a = (torch.cat(side, 1)[..., 0] for side in zip(*parts[each.name], strict=True))
            rows[each.name] = Dense(delta, a, weights[each.name])
        else:
            rows[each.name] = Blocks(samples, each, weights[each.name])
    return rows


def _weights(net: nn.Module, layer: Layer) -> Tensor:
    if layer.factored:
        return weight_of(net, layer).flatten()
    return torch.cat([p.detach().flatten().double() for p in _own(net, layer).values()])


def _own(net: nn.Module, layer: Layer) -> dict[str, nn.Parameter]:
    own = net.get_submodule(layer.name).named_parameters(prefix=layer.name, recurse=False)
    return {key: p for key, p in own if p.requires_grad}


def _rows_of(samples: Samples, layer: Layer, x: Tensor, y: Tensor, columns: slice) -> Tensor:
    if not layer.factored:
        return _by_functional(samples, layer, x, y)[:, columns]
    delta, a = factors(samples.net, [layer], x, y, samples.loss)[layer.name]
    width = a.shape[1]
    first, last = columns.start // width, -(-columns.stop // width)
    rows = (delta[:, first:last] @ a.mT).flatten(1)
    return rows[:, columns.start - first * width : columns.stop - first * width]


def _by_functional(samples: Samples, layer: Layer, x: Tensor, y: Tensor) -> Tensor:
    net, own = samples.net, _own(samples.net, layer)
    fixed = {key: t.detach() for key, t in [*net.named_parameters(), *net.named_buffers()] if key not in own}
    with torch.no_grad():
        direction = unit_cotangents(net(x), y, samples.loss).to(x)

    def row(sample: Tensor, cotangent: Tensor) -> Tensor:
        def output(values: dict[str, Tensor]) -> Tensor:
            return functional_call(net, {**fixed, **values}, (sample[None],)).reshape(-1)

        pulled = vjp(output, {key: p.detach() for key, p in own.items()})[1](cotangent)[0]
        return torch.cat([pulled[key].flatten() for key in own])

    return vmap(row)(x, direction)
