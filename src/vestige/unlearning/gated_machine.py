"""What samples alone make of the changed layers: the kernel machine of the gates at hand, and the minimum with decay.

Hold the other layers and take f as linear in the first one. Margin row r, of a sample x_r, has for neuron j the slope
a_rj, and its margin is sum_j a_rj relu(<w_j, x_r>). Where a_rj > 0, relu(z) >= g z with g the gate at hand; where
a_rj < 0, -relu(z) = min over h in [0, 1] of -h z. With g in place the margin problem is convex, and its dual is

    max over lambda >= 0, h in [0, 1] of  sum_r lambda_r - |W|^2 / 2,   w_j = sum_r lambda_r a_rj (g or h)_rj x_r,   (1)

of which every solution has all margins at least 1 in the network itself, for two layers: one round of the
convex-concave procedure. Without a ReLU it is the hard-margin classifier. Of networks that are no chain of Linear and
ReLU the derivatives are held as they are.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import Bounds, minimize
from torch import Tensor, nn
from torch.func import functional_call

from vestige.core.kkt import gram_system, layer_of, weighted_gradient
from vestige.core.margins import Loss, as_rows, loss_value, margin_directions
from vestige.core.multipliers import nonnegative, run_chain
from vestige.core.relu_chain import find_relu_chain
from vestige.unlearning.gates import changed_layers

DUAL_STEPS = 60  # of L-BFGS-B on (1): theta_S - theta_R to 1 % on 200 images of MNIST, to 6 to 20 % on 200 8x8 digits
STEPS = 100  # of L-BFGS with weight decay
MEMORY = 10  # pairs that both keep
HELD = 0.99  # a margin that counts as 1
FLAT = 1e-3  # curvature of the flattest variable over the mean of the multipliers', square roots

Weights = dict[str, Tensor]


def gated_machine(net: nn.Module, x: Float[Tensor, "n ..."], y: Tensor, layers: list[str]) -> Weights:
    """Parameters of these layers at the largest margin on (x, y), with the gates of `net` at x.

    Args:
        net: in float64 and evaluation mode.
        x: samples in model space.
        y: their labels.
        layers: names of the layers that may change.
    """
    rows, index = margin_directions(as_rows(net(x)).detach(), y, "all")
    chain = find_relu_chain(net)
    if chain is None or layers != list(chain.names[:1]):
        gram = gram_system(net, x[index], rows, layers=layers).gram
        found = weighted_gradient(net, x[index], largest_margin(gram)[:, None] * rows)
        return {name: value for name, value in found.items() if layer_of(name) in layers}
    seen = run_chain(chain, x)
    gram = seen.grams[0]
    if chain.depth == 1:
        signal = largest_margin((rows @ rows.T) * gram[index][:, index])[:, None] * rows
    else:
        gates = [(z > 0).to(z)[index] for z in seen.z[:-1]]
        slopes = seen.backward(rows, gates)[1] @ seen.weights[1]
        signal = _Dual(gram, index, slopes, gates[0], slopes < 0).solved()
    weight, bias = signal.T @ x.flatten(1)[index], signal.sum(0)
    name = chain.names[0]
    found = {f"{name}.weight".lstrip("."): weight, f"{name}.bias".lstrip("."): bias}
    return {key: value for key, value in found.items() if key in dict(net.named_parameters())}


def telling_layers(net: nn.Module, x: Float[Tensor, "n ..."], y: Tensor, kept: Tensor) -> list[str]:
    """The layer to solve again: the first one of a chain of Linear and ReLU, else the one that holds the samples.

    A first convolution has few weights, in which all samples look alike: nearly nothing leaves it with a sample, while
    the output layer holds it. Of the layers that can give the retained samples a margin of 1, it is the one in which
    the others have the smallest then. Where no layer can, the first one.

    Args:
        net: in float64 and evaluation mode.
        x: samples in model space.
        y: their labels.
        kept: positions of the retained samples.
    """
    first, found = changed_layers(net, None), {}
    if find_relu_chain(net) is not None:
        return first
    rows, _ = margin_directions(as_rows(net(x)).detach(), y, "max")
    for name, layer in gram_system(net, x, rows).per_layer.items():
        margins = layer.gram[:, kept] @ largest_margin(layer.gram[kept][:, kept])
        if margins[kept].min() >= HELD:
            found[name] = float(margins.sum() - margins[kept].sum())
    return [min(found, key=found.__getitem__)] if found else first


def largest_margin(gram: Float[Tensor, "r r"]) -> Float[Tensor, " r"]:
    """Multipliers of min |w|^2 / 2 with <a_r, w> >= 1 from gram = <a_r, a_s>, by non-negative least squares.

    As Lawson and Hanson's least distance program: u >= 0 minimizes |sum_r u_r a_r|^2 + (sum u - 1)^2, and lambda is
    u / (1 - sum u). Rows that no w satisfies leave sum u = 1; then the direction alone means something.

    >>> largest_margin(torch.diag(torch.tensor([1.0, 4.0]).double())).numpy().round(9).tolist()
    [1.0, 0.25]
    """
    unit = gram.diagonal().mean().clamp(min=1e-300) / len(gram)  # both parts of the sum are then of one size
    u = nonnegative(gram / unit + 1, torch.ones_like(gram[0]))
    return u / ((1 - u.sum()).clamp(min=1e-12) * unit)


@dataclass(frozen=True)
class _Dual:
    """(1) as a function of one vector: multipliers over their mean and the free gates, times `_roots`."""

    gram: Float[Tensor, "n n"]
    sample: Int[Tensor, " r"]
    slopes: Float[Tensor, "r m"]
    gates: Float[Tensor, "r m"]
    free: Bool[Tensor, "r m"]

    def solved(self) -> Float[Tensor, "r m"]:
        """lambda_r a_rj (g or h)_rj."""
        first = self.slopes * self.gates
        lam = largest_margin((first @ first.T) * self.gram[self.sample][:, self.sample])
        scale = lam.mean().clamp(min=1e-300)
        roots = self._roots(lam / scale)
        start = torch.cat([lam / scale, self.gates[self.free]]) * roots
        upper = torch.cat([torch.full_like(lam, math.inf), roots[len(lam) :]])
        found = minimize(
            self.value,
            start.cpu().numpy(),
            args=(scale, roots),
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(0.0, upper.cpu().numpy()),  # pyright: ignore[reportArgumentType]
            options={"maxiter": DUAL_STEPS, "maxcor": MEMORY, "ftol": 1e-15, "gtol": 1e-9},
        )
        lam, gated = self._unpacked(torch.as_tensor(found.x).to(start) / roots, scale)
        return lam[:, None] * gated

    def value(self, v: np.ndarray, scale: Tensor, roots: Tensor) -> tuple[float, np.ndarray]:
        """|W|^2 / 2 - sum lambda, divided by its size, and the gradient."""
        lam, gated = self._unpacked(torch.as_tensor(v).to(self.gram) / roots, scale)
        signal, size = lam[:, None] * gated, len(lam) * scale
        pull = (self.gram @ torch.zeros_like(signal[: len(self.gram)]).index_add(0, self.sample, signal))[self.sample]
        value = (signal * pull).sum() / 2 - lam.sum()
        by_lam = scale * ((gated * pull).sum(1) - 1)
        by_gate = (lam[:, None] * self.slopes * pull)[self.free]
        return (value / size).item(), (torch.cat([by_lam, by_gate]) / size / roots).cpu().numpy()

    def _roots(self, lam: Float[Tensor, " r"]) -> Float[Tensor, " v"]:
        """Square roots of the diagonal curvature at the start over their mean, with no multiplier below its mean."""
        norms = self.gram.diagonal().sqrt()[self.sample]
        by_lam = (self.slopes * self.gates).norm(dim=1) * norms
        by_gate = (lam.clamp(min=1.0) * norms)[:, None] * -self.slopes
        roots = torch.cat([by_lam, by_gate[self.free]])
        return (roots / by_lam.mean().clamp(min=1e-300)).clamp(min=FLAT)

    def _unpacked(self, v: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        lam, free = v[: len(self.sample)] * scale, v[len(self.sample) :]
        return lam, self.slopes * self.gates.masked_scatter(self.free, free)


def decayed_minimum(
    net: nn.Module, x: Float[Tensor, "n ..."], y: Tensor, layers: list[str], loss: Loss, weight_decay: float
) -> Weights:
    """Parameters of these layers at the minimum of mean loss + wd/2 |theta|^2 that L-BFGS reaches from the network's.

    Args:
        net: in float64 and evaluation mode.
        x: samples in model space.
        y: their labels.
        layers: names of the layers that may change.
        loss: of the training.
        weight_decay: of the training, positive.
    """
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    moved = [name for name, p in net.named_parameters() if p.requires_grad and layer_of(name) in layers]
    sizes = [parameters[name].numel() for name in moved]

    def unpacked(v: Tensor) -> Weights:
        return {k: part.view_as(parameters[k]) for k, part in zip(moved, v.split(sizes), strict=True)}

    def value(v: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.as_tensor(v).to(x).requires_grad_()
        outputs = functional_call(net, parameters | unpacked(at), (x,))
        objective = loss_value(outputs, y, loss) + weight_decay / 2 * at.square().sum()
        return objective.item(), torch.autograd.grad(objective, at)[0].cpu().numpy()

    start = torch.cat([parameters[name].reshape(-1) for name in moved])
    options = {"maxiter": STEPS, "maxcor": MEMORY, "ftol": 1e-15, "gtol": 1e-9}
    found = minimize(value, start.cpu().numpy(), jac=True, method="L-BFGS-B", options=options)
    return unpacked(torch.as_tensor(found.x).to(x))


def resolved(
    net: nn.Module, x: Tensor, y: Tensor, kept: Tensor, layers: list[str], loss: Loss, weight_decay: float
) -> tuple[Weights, Weights]:
    """What leaves the weights with the forgotten samples, and the solution of the retained ones alone.

    The first is the solution of all samples less that of the retained; for the margin it is scaled so that the solution
    of all samples is as near as possible to the weights. Where the other multipliers stay as they are this is the sum
    of the forgotten terms; where retained samples resemble the forgotten ones, their multipliers grow and keep what is
    shared. What training left unfinished is in both solutions and does not count.
    """
    parts, theta = ((x, y), (x[kept], y[kept])), dict(net.named_parameters())
    if weight_decay:
        whole, alone = (decayed_minimum(net, *part, layers, loss, weight_decay) for part in parts)
        return {name: whole[name] - alone[name] for name in whole}, alone
    whole, alone = (gated_machine(net, *part, layers) for part in parts)
    size = sum(float(value.square().sum()) for value in whole.values())
    scale = sum(float((theta[name].detach() * value).sum()) for name, value in whole.items()) / max(size, 1e-300)
    return {name: scale * (whole[name] - alone[name]) for name in whole}, alone
