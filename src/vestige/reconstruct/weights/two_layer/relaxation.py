"""Gates of rough candidates made consistent with the first layer, by a convex program for each.

Where samples are many for the neurons, the gates of a candidate from the joint search are too wrong to find its column
from (`two_layer.columns`). But given V^T l every column obeys linear bounds, since gates lie in [0, 1]:

    s in the column space of [W b],      0 <= s_j / (V^T l)_j <= 1   at every neuron j.                            (1)

n of h dimensions and h bounds on both sides leave little room: the s of (1) that agrees best with a candidate,
max sum_j u_j s_j / sign((V^T l)_j) with u its pre-activations, has most wrong gates corrected. This is a linear
program; all candidates are solved at once by the alternating direction method of multipliers, whose two projections,
on a subspace and on a box, are a matrix product and a clamp.

Of l cross-entropy says l ~ onehot(y) - sum over the others of q_k onehot(k), with q the predicted probabilities of the
other classes, which a rough candidate gives roughly; they are fitted again to every solution.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.two_layer.columns import Columns, ColumnSpace, distinct, measured

TEMPERATURE = 3.0  # softens the predictions of candidates, which are surer of the other classes than samples are
ROUNDS = 7  # programs, each with the gates of the last for an objective and q fitted to them
STEPS = 400  # of the alternating directions, each program
PULL = 0.05  # weight of the objective against the two projections, in units of the typical |V^T l|
SLACK = 0.02  # of the typical |V^T l|: the upper bound of (1) is met so far by a network that is still moving
FAINT = 0.1  # share of neurons with the smallest |V^T l|: their sign is not trusted, nor their gates
CLOSED = 0.45  # gates below this count as closed
RIDGE = 1.0  # of the fit of q towards its last value


@dataclass(frozen=True)
class Competitors:
    """V^T l of labeled candidates as a function of q: at[y] @ q, q in the simplex over the other classes."""

    at: Float[Tensor, "out h others"]
    others: Int[Tensor, "out others"]

    @staticmethod
    def of(rows: Float[Tensor, "out h"]) -> "Competitors":
        """From the rows of the last layer, at the neurons that are alive."""
        count = len(rows)
        others = torch.tensor([[k for k in range(count) if k != y] for y in range(count)], device=rows.device)
        return Competitors((rows[:, None] - rows[others]).mT, others)

    def full(self, q: Float[Tensor, "m others"], label: Int[Tensor, " m"]) -> Float[Tensor, "m h"]:
        """V^T l, at the scale l_y = 1."""
        return torch.einsum("mhq,mq->mh", self.at[label], q)

    def fitted(
        self, s: Float[Tensor, "m h"], q: Float[Tensor, "m others"], label: Int[Tensor, " m"]
    ) -> Float[Tensor, "m others"]:
        """Least squares of s on the open neurons, held near the last q, back in the simplex."""
        parts = self.at[label]
        opened = (s / self.full(q, label) > 0.5).to(s)
        gram = torch.einsum("mhq,mh,mhp->mqp", parts, opened, parts)
        ridge = RIDGE * parts.square().sum(1).mean(1) / 2  # as half of the gates give, should none be open
        right = torch.einsum("mhq,mh->mq", parts, opened * s) + ridge[:, None] * q
        free = torch.linalg.solve(gram + ridge[:, None, None] * torch.eye(q.shape[1]).to(gram), right)
        return in_simplex(free / free.sum(1, keepdim=True))


def in_simplex(v: Float[Tensor, "m k"]) -> Float[Tensor, "m k"]:
    """Nearest points of the probability simplex."""
    ordered = v.sort(dim=1, descending=True).values
    excess = ordered.cumsum(1) - 1
    count = torch.arange(1, v.shape[1] + 1, dtype=v.dtype, device=v.device)
    last = (ordered > excess / count).sum(1, keepdim=True)
    return (v - excess.gather(1, last - 1) / last).clamp(min=0)


def relaxed_columns(chain: Chain, space: ColumnSpace, z: Float[Tensor, "m r"], label: Int[Tensor, " m"]) -> Columns:
    """A column for every candidate, near copies dropped, those first that leave the least of themselves unexplained.

    What |s| sums to at neurons where s is neither 0 nor V^T l, in the nearer sense, tells which candidates are near a
    sample: among 700 candidates for 500 CIFAR-10 images the 150 best hold 45 samples above a cosine of .93, the 150
    longest candidates 21.

    Args:
        chain: of two layers, trained with cross-entropy.
        space: its column space.
        z: candidates in span coordinates.
        label: their classes.
    """
    basis = space.first.to(z)
    competitors, q, u = predicted(chain, space, z, label)
    wish = 0.5 * u / u.std(1, keepdim=True)
    s = full = competitors.full(q, label)
    for _ in range(ROUNDS):
        s = _program(basis, wish, full)
        q = competitors.fitted(s, q, label)
        full = competitors.full(q, label)
        wish = 2 * ((s / full).clamp(-0.5, 1.5) - CLOSED)
    unexplained = torch.minimum(s.abs(), (s - full).abs()).sum(1) / s.abs().sum(1)
    columns = measured(s, full)
    return columns[distinct(columns, merit=-unexplained)]


def predicted(
    chain: Chain, space: ColumnSpace, z: Float[Tensor, "m r"], label: Int[Tensor, " m"]
) -> tuple[Competitors, Float[Tensor, "m others"], Float[Tensor, "m h"]]:
    """V^T l as a function of q, the q that the network predicts for candidates, and their pre-activations."""
    u = z @ chain.weights[0].T + chain.biases[0]
    competitors = Competitors.of(chain.weights[1][:, space.alive] / chain.weights[1].abs().mean())
    logits = (u.relu() @ chain.weights[1].T + chain.biases[1]) / TEMPERATURE
    return competitors, logits.gather(1, competitors.others[label]).softmax(1), u[:, space.alive]


def opened(columns: Columns) -> Float[Tensor, "m h"]:
    """How far each gate is open: positive where it is, negative where not, 0 where V^T l is too faint to tell."""
    return torch.where(_clear(columns.full), (columns.s / columns.full).clamp(-1, 2) - CLOSED, 0.0)


def _clear(full: Tensor) -> Tensor:
    return full.abs() >= full.abs().quantile(FAINT, dim=1, keepdim=True)


def _program(basis: Float[Tensor, "h n"], wish: Float[Tensor, "m h"], full: Float[Tensor, "m h"]) -> Tensor:
    """The s of (1) that is furthest along `wish`."""
    sign, clear = full.sign(), _clear(full)
    typical = full.abs().mean()
    bound = torch.where(clear, full.abs() + SLACK * typical, full.abs().amax(1, keepdim=True).clamp(max=typical / 4))
    low = torch.where(clear & (sign > 0), 0.0, -bound)
    high = torch.where(clear & (sign < 0), 0.0, bound)
    pull = torch.where(clear, PULL * typical * sign * wish, 0.0)
    s = boxed = torch.zeros_like(full)
    dual = torch.zeros_like(full)
    for _ in range(STEPS):
        s = ((boxed - dual + pull) @ basis) @ basis.T
        boxed = torch.maximum(torch.minimum(s + dual, high), low)
        dual = dual + s - boxed
    return s
