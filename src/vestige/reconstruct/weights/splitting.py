"""Other data that explain a network just as well: each sample split into two (arXiv 2509.21296).

Where no ReLU changes its side between x - v and x + v, a chain of linear layers and ReLUs is affine: its gates,
and with them the backward signals, are constant, and the input of every layer is affine in v. In

    theta  =  sum_i  c_i . grad f(theta; x_i)                                                     (1)

(x, c) may therefore be replaced by (x + v, c / 2) and (x - v, c / 2): the inputs of each layer average to what they
were. With v orthogonal to the gradient of every output at x, outputs stay as they are too, and with them margins and
losses. Nothing in the weights tells the two data sets apart. How far v may go depends on how near the kinks are.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.cite import Paper, paper
from vestige.core.kkt import layer_of, weighted_gradient, working_copy
from vestige.core.multipliers import SampledChain, run_chain
from vestige.core.outcome import Outcome
from vestige.core.relu_chain import read_relu_chain
from vestige.core.rng import spawn

TOLERANCE = 1e-9  # relative change of a layer's weighted gradient that counts as none
INSIDE = 0.99  # of the way to the nearest kink
KINK = 1e-6  # of all pre-activations together: nearer ones count as so near in the choice of directions
DEPENDENT = 1e-12  # singular value, relative, below which gradients of outputs are dependent


@dataclass(frozen=True, eq=False, kw_only=True)
class SplitPoint:
    """Another solution of (1), in float64.

    Attributes:
        points: x + v of every sample, then x - v of every sample.
        coef: their cotangents, half of the given ones.
        distance: |v|, how far each sample moved; 0 where it could not.
        relative: |v| / |x|.
        layer_change: relative change of each layer's part of (1), by the layer's name.
        output_change: largest change of an output, relative to the largest output.
        outcome: converged where every sample moved and no layer changed by more than 1e-9; else stagnated.
        warnings: what is odd.
        source: the papers behind it.
    """

    points: Float[Tensor, "n2 ..."]
    coef: Float[Tensor, "n2 out"]
    distance: Float[Tensor, " n"]
    relative: Float[Tensor, " n"]
    layer_change: dict[str, float]
    output_change: float
    outcome: Outcome
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]


def split_kkt_point(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    coef: Float[Tensor, "rows out"],
    *,
    most: float = 1.0,
    directions: int = 256,
    generator: torch.Generator | None = None,
) -> SplitPoint:
    """Split every sample into two that give equation (1) the same value, layer by layer, at the same outputs.

    Along a direction u the limit is known in closed form: until the first kink all pre-activations are linear, so that
    it is min_j |z_j| / |dz_j/du|. The longest step of many random directions is taken. They are drawn where kinks are
    far, from the normal distribution of precision sum_j (dz_j/dx)(dz_j/dx)^T / z_j^2. Longer steps may exist.

    Args:
        model: an nn.Sequential of Linear and ReLU in turn, Flatten allowed.
        x: samples in model space; ranges of valid inputs are not considered.
        coef: their cotangents c_i, such as `stationarity(...).cotangent`; (1) need not hold.
        most: longest step, in units of |x|: where W of the first layer has a kernel, nothing else limits it.
        directions: how many are drawn for each sample.
        generator: they are drawn from it; None for a fixed seed.

    Returns:
        Twice as many points, and how far they are from the samples.

    Raises:
        ValueError: another kind of network, values that are not finite, a sample that is zero, coefficients that do not
            fit, no more dimensions than outputs, or numbers out of range.

    Source: arXiv 2509.21296 for splitting; the directions are ours.

    >>> net = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    >>> net[0].weight.data = torch.tensor([[1.0, 0.0]])  # the second coordinate is free
    >>> split_kkt_point(net, torch.tensor([[3.0, 0.0]]), torch.ones(1, 1)).points.abs().tolist()
    [[3.0, 3.0], [3.0, 3.0]]
    """
    net, x, coef = working_copy(model), x.detach().double(), coef.detach().double()
    _check(net, x, coef, most, directions)
    chain = run_chain(read_relu_chain(net), x)
    if x[0].numel() <= coef.shape[1]:
        raise ValueError(
            f"samples of {x[0].numel()} numbers and {coef.shape[1]} outputs; v must be orthogonal to the gradient of "
            "every output, which needs more dimensions than outputs."
        )
    draw = spawn(generator, "directions")
    flat = x.flatten(1)
    v = torch.stack([_longest(chain, flat[i], i, most, directions, draw) for i in range(len(x))]).reshape(x.shape)
    points, halves = torch.cat([x + v, x - v]), torch.cat([coef, coef]) / 2
    distance = v.flatten(1).norm(dim=1)
    change = _layer_change(weighted_gradient(net, x, coef), weighted_gradient(net, points, halves))
    with torch.no_grad():
        outputs = net(x)
        moved = (net(points) - torch.cat([outputs, outputs])).abs().max() / outputs.abs().max().clamp(min=1e-300)
    stuck = int((distance == 0).sum())
    done = stuck == 0 and max(change.values()) <= TOLERANCE
    return SplitPoint(
        points=points,
        coef=halves,
        distance=distance,
        relative=distance / flat.norm(dim=1),
        layer_change=change,
        output_change=float(moved),
        outcome=Outcome.CONVERGED if done else Outcome.STAGNATED,
        warnings=(f"{stuck} of {len(x)} samples lie on a ReLU kink and were not moved.",) if stuck else (),
        source=(paper("2509.21296"),),
    )


def _check(net: nn.Module, x: Tensor, coef: Tensor, most: float, directions: int) -> None:
    if len(x) == 0 or coef.ndim != 2 or len(coef) != len(x):
        raise ValueError(
            f"x has shape {tuple(x.shape)} and coef {tuple(coef.shape)}; one row of coefficients, one for each output, "
            "is needed for each sample, and one sample at least. One output? Then (n, 1)."
        )
    if not all(bool(torch.isfinite(t).all()) for t in (x, coef, *net.parameters())):
        raise ValueError("x, coef or the model's weights hold NaN or infinite values; did training diverge?")
    if not bool(x.flatten(1).any(1).all()):
        raise ValueError("a sample is zero; how far it moves is stated relative to its length. Leave it out.")
    if not 0 < most < torch.inf or directions < 1:
        raise ValueError(f"most={most} and directions={directions} given; a positive number and 1 or more are allowed.")
    last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1:]
    if last and last[0].out_features != coef.shape[1]:
        raise ValueError(f"coef has {coef.shape[1]} columns; the model has {last[0].out_features} outputs.")


def _longest(
    chain: SampledChain, x: Float[Tensor, " d"], index: int, most: float, directions: int, draw: torch.Generator
) -> Float[Tensor, " d"]:
    """The longest v of a batch of directions that leaves every gate and output of one sample as it is."""
    slopes, outputs = _slopes(chain, index)
    z = torch.cat([x[:0], *(part[index] for part in chain.z[:-1])]).abs()
    _, singular, right = torch.linalg.svd(outputs, full_matrices=False)
    fixed = right[singular > DEPENDENT * singular.max()]
    free = slopes - (slopes @ fixed.T) @ fixed
    limit = most * x.norm()
    scaled = free / z.clamp(min=KINK * z.norm())[:, None]
    precision = scaled.T @ scaled + torch.eye(len(x)).to(x) / limit**2
    normal = torch.randn(len(x), directions, generator=draw, dtype=x.dtype).to(x.device)
    u = torch.linalg.solve_triangular(torch.linalg.cholesky(precision).mT, normal, upper=True).T
    u = u - (u @ fixed.T) @ fixed
    u = u / u.norm(dim=1, keepdim=True)
    speed = (u @ slopes.T).abs()
    step = torch.where(speed > 0, INSIDE * z / speed, torch.inf)
    step = torch.cat([step, limit.expand(directions, 1)], 1).amin(1)
    best = int(step.argmax())
    return step[best] * u[best]


def _slopes(chain: SampledChain, index: int) -> tuple[Float[Tensor, "h d"], Float[Tensor, "out d"]]:
    """Gradients of all pre-activations at one sample, and of the outputs."""
    rows = [chain.weights[0]]
    for weight, z in zip(chain.weights[1:], chain.z[:-1], strict=True):
        rows.append(weight @ ((z[index] > 0)[:, None] * rows[-1]))
    return torch.cat([rows[0][:0], *rows[:-1]]), rows[-1]


def _layer_change(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, float]:
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, old in before.items():
        parts.setdefault(layer_of(name), []).append((after[name] - old, old))
    return {
        layer: float(
            torch.cat([d.flatten() for d, _ in pairs]).norm()
            / torch.cat([o.flatten() for _, o in pairs]).norm().clamp(min=1e-300)
        )
        for layer, pairs in parts.items()
    }
