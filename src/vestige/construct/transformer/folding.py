"""A forward pass of which everything is done beforehand that does not depend on the input.

The stream is an affine function of what was computed so far,

    X = c + sum_k x_k W_k^T                 x_0 the input, then mixtures of values and hidden layers of MLPs

so that a linear map acts on c and the W_k, once and for all. Numbers for each input are made only in front of a softmax
or a ReLU, and only those that it reads. Keys that do not depend on the input are multiplied into the query, and
relu(z) - relu(-z), by which MLPs carry a number, is z.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from vestige.construct.transformer.runs import Runs, runs

if TYPE_CHECKING:
    from vestige.construct.transformer.blocks import Embedding, Head, Transformer

Done = list[Tensor]  # (batch, tokens, columns) each, the input first


@dataclass(frozen=True, eq=False)
class Affine:
    """c + sum_k x_k W_k^T at each token; `affine` leaves out terms that are 0.

    Attributes:
        constant: c, (tokens, out).
        terms: W_k, (out, columns), by the number of x_k.
    """

    constant: Tensor
    terms: Mapping[int, Tensor]

    def through(self, weight: Tensor, bias: Tensor | None = None) -> "Affine":
        """Of its outputs."""
        return affine(functional.linear(self.constant, weight, bias), {k: weight @ w for k, w in self.terms.items()})

    def at(self, places: list[int]) -> "Affine":
        """These of its outputs."""
        return affine(self.constant[:, places], {k: w[places] for k, w in self.terms.items()})

    def __add__(self, other: "Affine") -> "Affine":
        """Sum."""
        shared = {k: w + other.terms[k] if k in other.terms else w for k, w in self.terms.items()}
        return affine(self.constant + other.constant, {**other.terms, **shared})


def affine(constant: Tensor, terms: Mapping[int, Tensor]) -> Affine:
    """The sum, without terms that are 0."""
    return Affine(constant, {k: w for k, w in terms.items() if w.any()})


@dataclass(frozen=True, eq=False)
class Made:
    """The numbers of an `Affine`, for all inputs; (tokens, out) where they depend on none."""

    constant: Tensor
    terms: tuple[tuple[int, Tensor, Runs | None], ...]

    def __call__(self, done: Done) -> Tensor:
        """(batch, tokens, out)."""
        if not self.terms:
            return self.constant
        found = self.constant.repeat(len(done[0]), 1, 1)
        for k, weight, diagonals in self.terms:
            if diagonals is None:
                found += functional.linear(done[k], weight)
            else:
                diagonals.add_to(found, done[k])
        return found


def made(form: Affine) -> Made:
    """How its numbers are made."""
    return Made(form.constant, tuple((k, w, runs(w)) for k, w in form.terms.items()))


class Folded:
    """What the modules of a transformer compute at their present weights and one number of tokens, up to rounding."""

    def __init__(self, network: "Transformer", tokens: int) -> None:
        self.steps: list[Callable[[Done], Tensor]] = []
        self.enter, stream = _entered(network.embedding, tokens)
        self.tokens = len(stream.constant)
        self.mask, chosen = network.allowed(self.tokens), network.chosen(self.tokens)
        everything = slice(0, self.tokens)
        for number, layer in enumerate(network.layers):
            rows = chosen if number == len(network.layers) - 1 else everything
            asking = after = self._rows(stream, rows)
            for head in layer.heads:
                after = after + self._head(head, stream, asking, rows)
            stream = after if layer.mlp is None else after + self._mlp(layer.mlp, after)
        self.leave = made(stream.through(network.readout.weight, network.readout.bias))

    def __call__(self, x: Tensor) -> Tensor:
        """(batch, n) ids or (batch, n, features) -> (batch, tokens read, out)."""
        done = [self.enter(x)]
        for step in self.steps:
            done.append(step(done))
        found = self.leave(done)
        return found if found.ndim == 3 else found.expand(len(x), -1, -1)

    def _step(self, step: Callable[[Done], Tensor]) -> int:
        """The number of what it computes."""
        self.steps.append(step)
        return len(self.steps)

    def _rows(self, form: Affine, rows: slice) -> Affine:
        """Of these tokens only."""
        if rows == slice(0, self.tokens):
            return form
        views = {self._step(lambda done, k=k: done[k][:, rows]): w for k, w in form.terms.items()}
        return Affine(form.constant[rows], views)

    def _head(self, head: "Head", stream: Affine, asking: Affine, rows: slice) -> Affine:
        query, key, value = (
            form.through(linear.weight, linear.bias)
            for form, linear in ((asking, head.query), (stream, head.key), (stream, head.value))
        )
        pattern, values, out = self._pattern(query, key, rows), made(value), head.out.weight
        if len(value.terms) == 1 and not value.constant.any():
            ((k, weight),) = value.terms.items()
            if weight.shape[1] <= len(weight):  # values are mixed as they stand, and weighted later
                values, out = made(Affine(value.constant[:, :0], {})), out @ weight
                mixed = self._step(lambda done: pattern(done) @ done[k])
                return Affine(torch.zeros_like(asking.constant), {mixed: out})
        mixed = self._step(lambda done: _batched(pattern(done) @ values(done), len(done[0])))
        return Affine(torch.zeros_like(asking.constant), {mixed: out})

    def _pattern(self, query: Affine, key: Affine, rows: slice) -> Callable[[Done], Tensor]:
        """(batch, rows, tokens), or (rows, tokens) where it depends on no input."""
        mask = None if self.mask is None else ~self.mask[rows]

        def softmax(logits: Tensor) -> Tensor:
            return (logits if mask is None else logits.masked_fill(mask, -torch.inf)).softmax(-1)

        if not key.terms and (not query.terms or key.constant.shape[1] >= len(key.constant)):
            logits = made(query.through(key.constant))
            if logits.terms:
                return lambda done: softmax(logits(done))
            fixed = softmax(logits.constant)
            return lambda _: fixed
        queries, keys = made(query), made(key)
        return lambda done: softmax(queries(done) @ keys(done).transpose(-1, -2))

    def _mlp(self, mlp: nn.Sequential, stream: Affine) -> Affine:
        linear = [m for m in mlp if isinstance(m, nn.Linear)]
        first, last = linear[0], linear[-1]
        if len(linear) == 1:
            return stream.through(first.weight, first.bias)
        plain = Affine(torch.zeros_like(stream.constant), {})
        neurons = stream.through(first.weight, first.bias)
        weight = last.weight
        if len(linear) == 2:
            carried, kept = _carried(neurons, weight)
            plain = neurons.at(carried).through(weight[:, carried])
            neurons, weight = neurons.at(kept), weight[:, kept]
        for m in linear[1:-1]:
            neurons = self._through_relu(neurons, m.weight, m.bias)
        return plain + self._through_relu(neurons, weight, last.bias)

    def _through_relu(self, neurons: Affine, weight: Tensor, bias: Tensor) -> Affine:
        if not neurons.terms:
            return affine(functional.linear(neurons.constant.relu(), weight, bias), {})
        numbers = made(neurons)
        k = self._step(lambda done: numbers(done).relu_())
        return affine(bias.expand(len(neurons.constant), -1), {k: weight})


def _batched(x: Tensor, batch: int) -> Tensor:
    return x if x.ndim == 3 else x.expand(batch, -1, -1)


def _entered(embedding: "Embedding", tokens: int) -> tuple[Callable[[Tensor], Tensor], Affine]:
    """x_0, a token more with a sink, and the stream as a function of it."""
    table, sink = embedding.table, embedding.sink
    places = table.any(0).nonzero()[:, 0]
    weight = torch.eye(table.shape[1]).to(table)[:, places] if embedding.ids else table.T
    rows = table[:, places]
    constant = table.new_zeros(tokens, table.shape[1])
    if embedding.position is not None:
        constant = constant + embedding.position[:tokens]
    if embedding.last is not None:
        constant[-1] += embedding.last
    if sink is not None:
        constant = torch.cat([sink[None], constant])

    def enter(x: Tensor) -> Tensor:
        found = rows[x.long()] if embedding.ids else x.to(table)
        return found if sink is None else functional.pad(found, (0, 0, 1, 0))

    return enter, Affine(constant, {0: weight})


def _carried(neurons: Affine, weight: Tensor) -> tuple[list[int], list[int]]:
    """Neurons z whose negative is another that is read with the opposite weight, and those of neither kind."""
    rows = torch.cat([neurons.constant.T, *neurons.terms.values(), weight.T], 1).cpu()
    names, opposite = ([row.numpy().tobytes() for row in r + 0.0] for r in (rows, -rows))
    alone, carried, gone = {}, [], set()
    for j, name in enumerate(names):
        other = alone.pop(opposite[j], None)
        if other is None:
            alone.setdefault(name, j)
        else:
            carried.append(other)
            gone |= {other, j}
    return carried, [j for j in range(len(names)) if j not in gone]
