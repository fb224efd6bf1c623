"""Heads that find the nearest or the farthest point, and the majority vote of heads of rank one (arXiv 2407.16153)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.construct.construction import Construction
from vestige.construct.transformer.blocks import Embedding, Head, Layer, Mask, Transformer, attention_head
from vestige.construct.transformer.computes import Computes, constructed
from vestige.construct.transformer.gadgets import lookup_temperature
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.tasks import Task
from vestige.construct.transformer.wires import total
from vestige.core.cite import paper
from vestige.core.rng import spawn

PAPER, CHECKED, NO_ERROR = "2407.16153", 256, 1e-6


def sphere_points(
    dim: int,
    n: int,
    samples: int,
    *,
    orthogonal: bool = False,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "{samples} tokens {dim}"]:
    """n uniform points of the unit sphere, or a uniform orthonormal frame, and a uniform query behind them.

    Args:
        dim: of the points.
        n: points of each sample.
        samples: how many.
        orthogonal: whether the n points are orthonormal, at most dim.
        generator: None for seed 0.

    Raises:
        ValueError: more orthonormal points than dimensions.
    """
    if orthogonal and n > dim:
        raise ValueError(f"n={n} orthonormal points in {dim} dimensions given; at most {dim} there are.")
    draw = spawn(generator, "sphere points")
    x = torch.randn(samples, n + 1, dim, generator=draw, dtype=torch.float64)
    if orthogonal:
        x[:, :n] = torch.linalg.qr(x[:, :n].transpose(1, 2))[0].transpose(1, 2)
    return x / x.norm(dim=2, keepdim=True)


def build_nearest_neighbor(
    dim: int,
    n: int,
    *,
    gap: float | int = 0.01,
    tolerance: float | int = 1e-3,
    farthest: bool = False,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> Construction:
    """One head of full rank whose output is the point nearest to the last, or farthest from each.

    softmax(beta <x_i, y>) x_i with beta = ln((n - 1) 2 / tolerance) / gap: where the best inner product is `gap` above
    the next, the output is off by at most `tolerance`, in any dimension and at any n.

    Args:
        dim: of the points, at least 2; they have length 1.
        n: points at most, at least 2.
        gap: between the best inner product and the next, above 0.
        tolerance: largest error of the output, l_2, above 0.
        farthest: every token is answered with the token farthest from it, instead of the last with the nearest.
        dtype: in which the outputs must be right.
        generator: of the points that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(x)` for (batch, n + 1, dim), the query last, is (batch, dim); with `farthest` x is
        (batch, n, dim), and so is the output.

    Raises:
        ValueError: a size below 2, or a gap or tolerance that is not above 0.

    Source: arXiv 2407.16153, Fact 1.

    >>> built = build_nearest_neighbor(4, 3)
    >>> points = torch.cat([torch.eye(4)[:3], torch.tensor([[0.0, 0.6, 0.0, 0.8]])])
    >>> built.network(points[None]).round(decimals=3).tolist()
    [[0.0, 1.0, 0.0, 0.0]]
    """
    if dim < 2 or n < 2:
        raise ValueError(f"dim={dim}, n={n} given; both must be at least 2.")
    beta = lookup_temperature(gap, n, tolerance / 2)
    network = _nearest(dim, n, -beta if farthest else beta)
    x = sphere_points(dim, n, 4 * CHECKED, generator=generator)
    x = x[:, :n] if farthest else x
    specification = Computes(
        task=Task.FARTHEST if farthest else Task.NEAREST,
        points=(x[_gaps(x, farthest) >= gap][:CHECKED].numpy(),),
        tolerance=tolerance,
        rounded=False,
        dtype=str(dtype).removeprefix("torch."),
        source=f"arXiv {PAPER}, Fact 1, gaps of {gap:g}",
    )
    if not len(specification.points[0]):
        raise ValueError(f"gap={gap} given; no random points have it at n={n}: give a smaller one.")
    bounds = {"layers": 1, "heads in a layer": 1, "rank of a head": dim}
    return constructed(network, specification, bounds=bounds, numbers={"beta": beta}, source=(paper(PAPER),))


def _nearest(dim: int, n: int, beta: float) -> Transformer:
    """One head; a negative beta looks for the farthest from each."""
    stream, farthest = Stream({"point": dim, "answer": dim}), beta < 0
    point = stream.wires("point")
    query = [beta * w for w in point]
    head = attention_head(stream, query=query, key=point, value=point, to=list(stream.places("answer")))
    table = torch.eye(dim, stream.width, dtype=torch.float64)
    embedding = Embedding(table, (2 if farthest else 3, n + (not farthest)), ids=False)
    read, mask = (None, Mask.NONE) if farthest else (-1, Mask.OTHERS)
    return Transformer(stream, embedding, [Layer([head])], stream.wires("answer"), read=read, mask=mask)


def _gaps(x: Tensor, farthest: bool) -> Tensor:
    """The least distance of best and second inner product of each sample's queries."""
    products = -(x @ x.transpose(1, 2)) if farthest else x[:, -1:] @ x[:, :-1].transpose(1, 2)
    best = products.topk(2, dim=2).values
    return (best[..., 0] - best[..., 1]).amin(1)


def build_rank_one_majority(
    dim: int,
    heads: int,
    *,
    gap: float | int = 1e-4,
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator | None = None,
) -> Construction:
    """Two layers of heads of rank one that vote on which of two points is nearer to a third.

    Each of the first layer's heads compares (q y) (q x_1) with (q y) (q x_2) for a random q and votes for the position
    that it chooses; the one head of the second layer outputs the point with more votes. Its accuracy against the
    nearest point grows with the heads, and falls with the dimension; a head of full rank needs no vote.

    Args:
        dim: of the points, at least 2.
        heads: of the first layer; an odd number, so that no vote ties.
        gap: at which a head's choice counts as made: |(q y) q (x_1 - x_2)|, above 0.
        dtype: in which the votes must be right.
        generator: of the heads and of the points that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(x)` for (batch, 3, dim), the query last, is (batch, dim), the majority's choice.

    Raises:
        ValueError: an even number of heads.

    Source: arXiv 2407.16153, Theorem 5, with positions in coordinates of their own; the weights are ours.
    """
    if heads < 1 or heads % 2 == 0 or dim < 2:
        raise ValueError(f"heads={heads}, dim={dim} given; an odd number of heads and dim >= 2 are needed.")
    q = torch.randn(heads, dim, generator=spawn(generator, "heads"), dtype=torch.float64)
    q = q / q.norm(dim=1, keepdim=True)
    sharp = lookup_temperature(gap, 2, NO_ERROR / 2)
    network = _majority(q, sharp)
    x = sphere_points(dim, 2, 4 * CHECKED, orthogonal=True, generator=generator)
    clear = ((x[:, 2] @ q.T) * ((x[:, 0] - x[:, 1]) @ q.T)).abs().amin(1) >= gap
    specification = Computes(
        task=Task.MAJORITY,
        points=(x[clear][:CHECKED].numpy(),),
        given=q.numpy(),
        tolerance=1e-3,
        rounded=False,
        dtype=str(dtype).removeprefix("torch."),
        source=f"arXiv {PAPER}, Theorem 5, gaps of {gap:g}",
    )
    if not clear.any():
        raise ValueError(f"gap={gap} given; at {heads} heads no random points have it: give a smaller one.")
    bounds = {"layers": 2, "heads in a layer": heads, "rank of a head": 1}
    return constructed(network, specification, bounds=bounds, numbers={"sharp": sharp}, source=(paper(PAPER),))


def _majority(q: Tensor, sharp: float) -> Transformer:
    heads, dim = q.shape
    stream = Stream({"point": dim, "position": 3, "vote": 3, "answer": dim})
    point, position, vote = (stream.wires(name) for name in ("point", "position", "vote"))

    def voter(row: Tensor) -> Head:
        seen = total(float(f) * w for f, w in zip(row, point, strict=True))
        share = [w * (1 / heads) for w in position]
        return attention_head(stream, query=[sharp * seen], key=[seen], value=share, to=list(stream.places("vote")))

    decide = attention_head(
        stream,
        query=[heads * math.log(4 / NO_ERROR) * (vote[0] - vote[1])],
        key=[position[0] - position[1]],
        value=point,
        to=list(stream.places("answer")),
    )
    table = torch.eye(dim, stream.width, dtype=torch.float64)
    places = torch.zeros(3, stream.width, dtype=torch.float64)
    places[:, list(stream.places("position"))] = torch.eye(3).double()
    embedding = Embedding(table, (3, 3), ids=False, position=places)
    layers = [Layer([voter(row) for row in q]), Layer([decide])]
    return Transformer(stream, embedding, layers, stream.wires("answer"), mask=Mask.OTHERS)


def nearest_accuracy(model: nn.Module, x: Float[Tensor, "batch tokens dim"], *, batch_size: int = 1024) -> float:
    """Share of samples whose output is the point nearest to the last, up to half of the distance of two points.

    Args:
        model: from (batch, n + 1, dim) to (batch, dim), such as a constructed transformer.
        x: points of length 1, the query last.
        batch_size: samples handled together.
    """
    right = 0
    for part in x.split(batch_size):
        nearest = (part[:, :-1] @ part[:, -1:].transpose(1, 2)).argmax(1)[:, 0]
        with torch.no_grad():
            answer = model(part)
        right += int(((answer[:, None] - part[:, :-1]).norm(dim=2).argmin(1) == nearest).sum())
    return right / len(x)
