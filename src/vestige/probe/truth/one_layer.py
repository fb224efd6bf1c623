"""One attention layer in which a truth direction emerges: with frozen one-hot vectors, or with learned ones.

The toy model of arXiv 2510.15804 has d = 4n + 3 coordinates: e_z of the 2n tokens, p_t of 3 positions, u_z of the 2n
outputs. F(z_1..z_t) = U n(e_{z_t} + p_t + (1/t) sum_s W (e_{z_s} + p_s)) with n(v) = sqrt(d) v / |v|.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vestige.core.choices import ChoiceEnum
from vestige.core.rng import spawn
from vestige.probe.truth.cooccurrence import TruthCoOccurrence

LENGTH = 3  # x y x'


class Normalization(ChoiceEnum):
    """Of the sum of stream and attention."""

    RMS = "rms"
    LAYER = "layer"
    NONE = "none"


class Norm(nn.Module):
    """sqrt(d) v / |v|, the same of v less its mean, or v."""

    def __init__(self, kind: Normalization | str):
        super().__init__()
        self.kind = Normalization(kind)

    def forward(self, v: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        if self.kind is Normalization.NONE:
            return v
        if self.kind is Normalization.LAYER:
            v = v - v.mean(-1, keepdim=True)
        return v * (math.sqrt(v.shape[-1]) / v.norm(dim=-1, keepdim=True).clamp(min=1e-12))


class ToyTruthModel(nn.Module):
    """Frozen one-hot vectors, uniform causal attention and one value matrix W = O V.

    Args:
        n: subjects.
        normalization: "rms", "layer" or "none".
        init_scale: standard deviation of O and V; with 0 both gradients are 0 for ever.
        mean: whether attention averages; else it sums, as theorem 2 does.
        generator: of the start; None for seed 0.

    >>> ToyTruthModel(4)(torch.tensor([[0, 5, 1]])).shape
    torch.Size([1, 3, 8])
    """

    def __init__(
        self,
        n: int,
        *,
        normalization: Normalization | str = Normalization.RMS,
        init_scale: float | int = 0.02,
        mean: bool = True,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.n, self.d, self.mean = n, 4 * n + LENGTH, mean
        draw = spawn(generator, "toy")
        self.value, self.output = (
            nn.Parameter(init_scale * torch.randn(self.d, self.d, generator=draw)) for _ in range(2)
        )
        self.stream, self.norm = nn.Identity(), Norm(normalization)

    @property
    def w(self) -> Float[Tensor, "d d"]:
        """The value matrix; column i is what coordinate i becomes."""
        return self.output @ self.value

    def forward(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t out"]:
        """Logits of all tokens at each position."""
        t, start = tokens.shape[1], 2 * self.n
        w = self.w
        moved = (w.T[tokens] + w.T[start : start + t]).cumsum(1)
        if self.mean:
            moved = moved / torch.arange(1, t + 1, device=w.device)[:, None]
        own = torch.zeros_like(moved).scatter(2, tokens[:, :, None], 1.0)
        own[:, torch.arange(t), start + torch.arange(t)] = 1.0
        return self.norm(self.stream(own + moved))[..., start + LENGTH :]


class LearnedTruthModel(nn.Module):
    """Learned vectors and positions, blocks x <- Norm(x + Attention(x)) of one head each, an unembedding of its own.

    Args:
        n: subjects.
        d: width.
        depth: blocks.
        normalization: "rms", "layer" or "none".
        init_scale: standard deviation of all weights; positions start at 0.
        generator: of the start; None for seed 0.

    >>> LearnedTruthModel(4, 8)(torch.tensor([[0, 5, 1]])).shape
    torch.Size([1, 3, 8])
    """

    def __init__(
        self,
        n: int,
        d: int,
        *,
        depth: int = 1,
        normalization: Normalization | str = Normalization.RMS,
        init_scale: float | int = 0.02,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        draw = spawn(generator, "learned")

        def weight(*size: int) -> nn.Parameter:
            return nn.Parameter(init_scale * torch.randn(*size, generator=draw))

        self.n, self.d, self.depth = n, d, depth
        self.embedding, self.position, self.unembedding = (
            weight(2 * n, d),
            nn.Parameter(torch.zeros(LENGTH, d)),
            weight(2 * n, d),
        )
        self.maps = nn.ParameterList([weight(4, d, d) for _ in range(depth)])
        self.stream, self.norm = nn.Identity(), Norm(normalization)

    def forward(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t out"]:
        """Logits of all tokens at each position."""
        t = tokens.shape[1]
        h = self.embedding[tokens] + self.position[:t]
        future = torch.ones(t, t, dtype=torch.bool, device=h.device).triu(1)
        for number, (query, key, value, output) in enumerate(self.maps, 1):
            scores = (h @ query) @ (h @ key).transpose(1, 2) / math.sqrt(self.d)
            moved = scores.masked_fill(future, -math.inf).softmax(-1) @ (h @ value) @ output
            h = self.norm(self.stream(h + moved) if number == self.depth else h + moved)
        return h @ self.unembedding.T


def constructed_truth_model(
    law: TruthCoOccurrence,
    *,
    alpha: float | tuple[float, float] = 1.0,
    beta: float | tuple[float, float] = 1.0,
    normalization: Normalization | str = Normalization.RMS,
    mean: bool = False,
) -> ToyTruthModel:
    """The value matrix that the paper finds in trained models, written down.

    W e_x = -a1 e_x + b1 u_g(x), W e_y = a2 e_{g^-1(y)} - b2 u_y. At y a true fact cancels out and leaves a shorter
    vector than a false one, so the norm makes what is left longer: with equal a and equal b the margin along p_2 is
    (1 - 1 / sqrt(1 + a^2 + b^2)) / (2 sqrt 2), for unit vectors and attention that sums (theorem 2).

    Args:
        law: whose facts g are written.
        alpha: a, or (a1, a2).
        beta: b, or (b1, b2).
        normalization: "rms", "layer" or "none".
        mean: whether attention averages.
    """
    n = law.n
    (a1, a2), (b1, b2) = (pair if isinstance(pair, tuple) else (pair, pair) for pair in (alpha, beta))
    model = ToyTruthModel(n, normalization=normalization, mean=mean).double()
    w, x, y = torch.zeros(model.d, model.d, dtype=torch.float64), torch.arange(n), n + law.g
    out = 2 * n + LENGTH
    w[x, x], w[out + y, x] = -a1, b1
    w[x, y], w[out + y, y] = a2, -b2
    with torch.no_grad():
        model.value.copy_(w)
        model.output.copy_(torch.eye(model.d))
    return model


def truth_margin(alpha: float, beta: float, *, mean: bool = False) -> float:
    """Theorem 2's margin of unit vectors along p_2; an average over two positions halves a and b.

    >>> [round(truth_margin(a, a), 4) for a in (0.5, 1, 2, 4)]
    [0.0649, 0.1494, 0.2357, 0.292]
    """
    squared = (alpha**2 + beta**2) / (4 if mean else 1)
    return (1 - 1 / math.sqrt(1 + squared)) / (2 * math.sqrt(2))


def value_matrix_blocks(w: Float[Tensor, "d d"], law: TruthCoOccurrence) -> dict[str, float]:
    """How much of W's map of one-hot vectors goes where the paper says, above the mean of the same block.

    Args:
        w: value matrix of a toy model, d = 4n + 3.
        law: with its facts.

    Returns:
        "x->u_g(x)" (b1), "x->x" (-a1), "y->u_y" (-b2), "y->g^-1(y)" (a2).

    Raises:
        ValueError: a matrix of another size.

    >>> law = TruthCoOccurrence(n=6, rho=0.8)
    >>> found = value_matrix_blocks(constructed_truth_model(law, alpha=2.0, beta=3.0).w.detach(), law)
    >>> [round(value, 6) for value in found.values()]
    [3.0, -2.0, -3.0, 2.0]
    """
    n = law.n
    if w.shape != (4 * n + LENGTH, 4 * n + LENGTH):
        raise ValueError(
            f"a value matrix of shape {tuple(w.shape)} given; {n} subjects need 4n + 3 = {4 * n + LENGTH}."
        )
    x, y, out = torch.arange(n), n + law.g, 2 * n + LENGTH
    places = {"x->u_g(x)": (out + y, x), "x->x": (x, x), "y->u_y": (out + y, y), "y->g^-1(y)": (x, y)}
    found = {}
    for name, (rows, columns) in places.items():
        block = w[rows][:, columns]
        other = (block.sum() - block.trace()) / (n * (n - 1))
        found[name] = float(block.trace() / n - other)
    return found
