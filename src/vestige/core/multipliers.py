"""The best multipliers of the stationarity equation, in closed form or by a convex solver, so nobody tunes a rate.

With the Gram matrix K and the products t of `kkt.GramSystem` the squared distance is <lam, K lam> - 2 <t, lam> +
|theta|^2. At ReLU kinks autograd's 0/1 derivative is one element of the Clarke subdifferential, and the wrong one:
trained networks hold 20 to 40 % of (sample, neuron) pairs there. `clarke` finds the best derivatives in [0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.optimize import minimize, nnls
from torch import Tensor

from vestige.core.relu_chain import ReluChain

Vector = Float[Tensor, " m"]
Matrix = Float[Tensor, "m m"]


def ridge(gram: Matrix, target: Vector, alpha: float = 1e-10) -> Vector:
    """Free signs: minimizes the distance plus alpha * mean(diag K) * |lam|^2.

    >>> ridge(torch.eye(2).double(), torch.tensor([3.0, -1.0]).double(), 1.0).tolist()
    [1.5, -0.5]
    """
    values, vectors = _spectrum(gram, target)
    shift = alpha * gram.diagonal().mean()
    weight = torch.where(values + shift > values[-1] * 1e-14, 1 / (values + shift), 0)
    return vectors @ (weight * (vectors.T @ target))


def nonnegative(gram: Matrix, target: Vector) -> Vector:
    """lam >= 0: non-negative least squares (Lawson-Hanson) on a square root of K.

    >>> nonnegative(torch.eye(2).double(), torch.tensor([3.0, -1.0]).double()).tolist()
    [3.0, 0.0]
    """
    values, vectors = _spectrum(gram, target)
    kept = values > values[-1] * 1e-13
    if not bool(kept.any()):
        return torch.zeros_like(target)
    root, basis = values[kept].sqrt(), vectors[:, kept]
    factor, right = (basis * root).T.cpu().numpy(), ((basis.T @ target) / root).cpu().numpy()
    solution, _ = nnls(factor, right, maxiter=30 * len(target) + 100)
    return torch.as_tensor(solution).to(target)


@dataclass(frozen=True)
class SampledChain:
    """A chain Linear (ReLU Linear)* seen at n inputs: what its stationarity equation consists of, for any gates.

    The gates enter only the backward signals delta, so with the layers' input Gram matrices A_l = <a_i, a_j> (+1 with a
    bias) and pre-activations z_l the squared distance is sum_l |theta_l|^2 - 2 <delta_l, z_l> + <delta_l, A_l delta_l>.

    Attributes:
        names: of the layers in the network.
        weights: W_l.
        a: inputs of the layers, one row a sample.
        z: their outputs, before the ReLU.
        grams: A_l.
        theta_sq: |theta_l|^2, with the bias.
    """

    names: tuple[str, ...]
    weights: tuple[Tensor, ...]
    a: tuple[Tensor, ...]
    z: tuple[Tensor, ...]
    grams: tuple[Tensor, ...]
    theta_sq: tuple[Tensor, ...]

    def kinks(self, tolerance: float) -> list[Bool[Tensor, "n _"]]:
        """Pairs whose |pre-activation| is at most `tolerance` times the layer's largest."""
        return [z.abs() <= tolerance * z.abs().max() for z in self.z[:-1]]

    def backward(self, cotangent: Float[Tensor, "n out"], gates: Sequence[Tensor]) -> list[Tensor]:
        """delta of each layer."""
        deltas = [cotangent]
        for weight, gate in zip(self.weights[:0:-1], reversed(gates), strict=True):
            deltas.insert(0, (deltas[0] @ weight) * gate)
        return deltas

    def gradient(self, deltas: Sequence[Tensor]) -> dict[str, Tensor]:
        """sum_i c_i . grad f(x_i) by parameter, from the signals of c; a layer without a bias has an entry for one."""
        weights = {f"{name}.weight".lstrip("."): d.T @ a for name, d, a in zip(self.names, deltas, self.a, strict=True)}
        return weights | {f"{name}.bias".lstrip("."): d.sum(0) for name, d in zip(self.names, deltas, strict=True)}

    def residuals(self, deltas: Sequence[Tensor]) -> Float[Tensor, " layers"]:
        """Squared distance of each layer."""
        parts = zip(self.theta_sq, self.z, self.grams, deltas, strict=True)
        return torch.stack([sq - 2 * (d * z).sum() + (d * (gram @ d)).sum() for sq, z, gram, d in parts])

    def gram(self, deltas: Sequence[Tensor], index: Tensor, use: Sequence[bool]) -> tuple[Tensor, Tensor]:
        """K and t of rows whose signals are `deltas`; row k belongs to sample index[k]."""
        parts = [p for p, used in zip(zip(deltas, self.z, self.grams, strict=True), use, strict=True) if used]
        gram = torch.stack([(d @ d.T) * a[index][:, index] for d, _, a in parts]).sum(0)
        return gram, torch.stack([(d * z[index]).sum(1) for d, z, _ in parts]).sum(0)

    def multipliers(
        self, rows: Tensor, index: Tensor, gates: Sequence[Tensor], use: Sequence[bool]
    ) -> Float[Tensor, " rows"]:
        """The best lam >= 0 of rows of cotangents, row k being sample index[k]'s, with these gates."""
        deltas = self.backward(rows, [g[index] for g in gates])
        return nonnegative(*self.gram(deltas, index, use))


@torch.no_grad()
def run_chain(chain: ReluChain, x: Float[Tensor, "n ..."]) -> SampledChain:
    """Run a chain layer by layer, in its own precision."""
    a, inputs, zs = x.flatten(1), [], []
    for layer in chain.layers:
        inputs.append(a)
        zs.append(layer(a))
        a = zs[-1].relu()
    return SampledChain(
        chain.names,
        tuple(layer.weight.detach() for layer in chain.layers),
        tuple(inputs),
        tuple(zs),
        tuple(a @ a.T + (layer.bias is not None) for a, layer in zip(inputs, chain.layers, strict=True)),
        tuple(torch.stack([p.square().sum() for p in layer.parameters()]).sum() for layer in chain.layers),
    )


@dataclass(frozen=True)
class ClarkePoint:
    """Multipliers of the rows, and for each hidden layer the derivative of every (sample, neuron) in [0, 1]."""

    multipliers: Float[Tensor, " rows"]
    gates: tuple[Float[Tensor, "n _"], ...]
    kinks: tuple[Bool[Tensor, "n _"], ...]


def clarke(
    chain: SampledChain,
    rows: Float[Tensor, "rows out"],
    index: Tensor,
    *,
    multipliers: Tensor | None = None,
    use: Sequence[bool] | None = None,
    tolerance: float = 1e-3,
    steps: int = 500,
) -> ClarkePoint:
    """Best multipliers lam >= 0 and derivatives in [0, 1] at the kinks, together, by L-BFGS-B: all of them are bounded.

    For two layers, in the variables (lam, lam * gate), the problem is convex (stationarity of arXiv 2510.14844); deeper
    gates enter as products, so there it is a local optimum. It starts at the plain derivative and is never worse.

    Args:
        chain: the network at its samples, from `run_chain`.
        rows: cotangent directions.
        index: sample of each row.
        multipliers: keep these instead of solving for them.
        use: layers that count; None is all.
        tolerance: `SampledChain.kinks`; results barely change from 1e-3 to 5e-2.
        steps: iterations of L-BFGS-B.
    """
    use = [True] * len(chain.z) if use is None else list(use)
    gates = [(z > 0).to(z) for z in chain.z[:-1]]
    known = chain.multipliers(rows, index, gates, use) if multipliers is None else multipliers
    problem = _Clarke(chain, rows, index, use, gates, chain.kinks(tolerance), known, multipliers is None)
    start, bounds = problem.start()
    if not len(start):
        return ClarkePoint(known, tuple(gates), tuple(problem.kinks))
    options = {"maxiter": steps, "maxcor": 20, "ftol": 1e-12, "gtol": 1e-10}
    found = minimize(problem.value, start.cpu().numpy(), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    _, gates = problem.unpack(torch.as_tensor(found.x).to(rows))
    lam = chain.multipliers(rows, index, gates, use) if multipliers is None else multipliers
    return ClarkePoint(lam, tuple(gates), tuple(problem.kinks))


@dataclass(frozen=True)
class _Clarke:
    """The relative distance as a function of one vector: the multipliers over their mean if they are free, then the
    derivatives at the kinks, from those of autograd."""

    chain: SampledChain
    rows: Tensor
    index: Tensor
    use: list[bool]
    gates: list[Tensor]
    kinks: list[Tensor]
    lam: Tensor
    free: bool

    @property
    def scale(self) -> Tensor | float:
        return self.lam.mean().clamp(min=1e-300) if self.free else 1.0

    def start(self) -> tuple[Tensor, np.ndarray]:
        """The first vector, and the least and largest value of each entry."""
        first = self.lam / self.scale if self.free else self.lam[:0]
        start = torch.cat([first, *(g[k] for g, k in zip(self.gates, self.kinks, strict=True))])
        upper = torch.ones_like(start)
        upper[: len(first)] = torch.inf
        return start, torch.stack([torch.zeros_like(start), upper], 1).cpu().numpy()

    def unpack(self, v: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Multipliers and gates."""
        sizes = [len(self.lam) if self.free else 0, *(int(k.sum()) for k in self.kinks)]
        first, *rest = v.split(sizes)
        filled = [g.masked_scatter(k, r) for g, k, r in zip(self.gates, self.kinks, rest, strict=True)]
        return (first * self.scale if self.free else self.lam), filled

    def value(self, v: np.ndarray) -> tuple[float, np.ndarray]:
        """The distance and its gradient."""
        at, chain, rows = torch.as_tensor(v).to(self.rows).requires_grad_(), self.chain, self.rows
        lam, gates = self.unpack(at)
        cotangent = rows.new_zeros(len(chain.z[0]), rows.shape[1]).index_add(0, self.index, lam[:, None] * rows)
        distances = chain.residuals(chain.backward(cotangent, gates))[torch.tensor(self.use)]
        loss = distances.sum() / sum(chain.theta_sq)
        return loss.item(), torch.autograd.grad(loss, at, materialize_grads=True, allow_unused=True)[0].cpu().numpy()


def _spectrum(gram: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if not bool(torch.isfinite(gram).all() & torch.isfinite(target).all()):
        raise ValueError("the Gram system holds NaN or infinite values; are the weights or the inputs damaged?")
    return torch.linalg.eigh((gram + gram.T) / 2)
