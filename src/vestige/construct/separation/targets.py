"""Functions that separate deep from shallow networks, or the learnable from the merely expressible (arXiv 2102.00434).

Each target comes with its distribution and, where there is one, a small network that computes it with weights written
down. All values have mean square at most 1, so that 1 is the loss of a constant where the mean is 0.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from scipy.stats import chi2
from torch import Tensor, nn

from vestige.construct.separation import KINDS
from vestige.core.cite import Paper, paper
from vestige.core.relu_chain import linear_layer, relu_between
from vestige.core.rng import spawn

LARGEST_PARITY = 64  # bits of a hand-set network: one unit each


@dataclass(frozen=True, eq=False, kw_only=True)
class SeparatedTarget:
    """A function with its distribution.

    Attributes:
        name: with its parameters, such as "sawtooth 8".
        dimension: of an input.
        draw: that many inputs from a generator, in float64.
        label: the values at inputs.
        network: weights written down that compute the same, None where that takes more than a few units.
        on_cube: inputs are uniform on {-1, 1}^dimension.
        source: the paper.
    """

    name: str
    dimension: int
    draw: Callable[[int, torch.Generator], Float[Tensor, "n dimension"]]
    label: Callable[[Float[Tensor, "n dimension"]], Float[Tensor, " n"]]
    network: nn.Module | None = None
    on_cube: bool = False
    source: tuple[Paper, ...] = field(default=(paper("2102.00434"),), repr=False)

    def sample(
        self, n: int, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "n dimension"], Float[Tensor, " n"]]:
        """Inputs and their values.

        Args:
            n: how many.
            generator: is advanced, so that a stream of samples is fresh; None for the same samples every time.
        """
        x = self.draw(n, spawn(None, "separation", self.name) if generator is None else generator)
        return x, self.label(x)


def sawtooth_target(depth: int) -> SeparatedTarget:
    """The tent map composed `depth` times, scaled to [-1, 1]: 2^(depth - 1) teeth from two units a layer.

    t(x) = 2x on [0, 1/2], 2 - 2x on [1/2, 1]; the target is 2 t(t(...t(x))) - 1 for x uniform on [0, 1]. It changes
    sign under x -> x + 2^-depth, so that |E f g| <= Lip(g) 2^-depth / 4 for every g.

    >>> tooth = sawtooth_target(3)
    >>> x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    >>> tooth.label(x).tolist() == tooth.network(x)[:, 0].tolist() == [-1.0, 1.0] * 4 + [-1.0]
    True
    """
    _at_least("depth", depth, 1)
    return SeparatedTarget(
        name=f"sawtooth {depth}",
        dimension=1,
        draw=_unit_interval,
        label=lambda x: _teeth(x[:, 0], depth),
        network=_tents(depth),
    )


def square_wave_target(power: int) -> SeparatedTarget:
    """(-1)^floor(2^power x) for x uniform on [0, 1]: |E f g| <= Lip(g) 2^-power / 2, with equality for g(x) = x.

    The half-periods pair x with x + 2^-power, where f has opposite signs and g differs by Lip(g) 2^-power at most.
    """
    _at_least("power", power, 1)
    return SeparatedTarget(
        name=f"square wave {power}",
        dimension=1,
        draw=_unit_interval,
        label=lambda x: 1 - 2 * (torch.floor(2**power * x[:, 0]) % 2),
    )


def parity_target(n: int, subset: Sequence[int] | None = None) -> SeparatedTarget:
    """The product of all coordinates of x in {-1, 1}^n, or of those in `subset`: a sparse parity.

    The network counts s, the number of -1s, with one unit for each value and joins the points (s, (-1)^s).

    >>> target = parity_target(3)
    >>> x, y = target.sample(5)
    >>> y.tolist() == x.prod(1).tolist() == target.network(x)[:, 0].tolist()
    True
    """
    _at_least("n", n, 1)
    members = list(range(n)) if subset is None else sorted(set(subset))
    if not members or members[0] < 0 or members[-1] >= n:
        raise ValueError(f"subset={subset} given; at least one of the coordinates 0 to {n - 1} is needed.")
    name = f"parity {n}" if len(members) == n else f"parity of {len(members)} in {n}"
    return SeparatedTarget(
        name=name,
        dimension=n,
        draw=_cube(n),
        label=lambda x: x[:, members].prod(1),
        network=_counter(n, [(members, 1.0)]),
        on_cube=True,
    )


def staircase_target(n: int, steps: int) -> SeparatedTarget:
    """(x_1 + x_1 x_2 + ... + x_1 ... x_steps) / sqrt(steps) on {-1, 1}^n: each term leads to the next."""
    _at_least("steps", steps, 1)
    if steps > n:
        raise ValueError(f"steps={steps} with n={n} given; steps must be at most n.")
    terms = [(list(range(k)), steps**-0.5) for k in range(1, steps + 1)]
    return SeparatedTarget(
        name=f"staircase of {steps} in {n}",
        dimension=n,
        draw=_cube(n),
        label=lambda x: x[:, :steps].cumprod(1).sum(1) / math.sqrt(steps),
        network=_counter(n, terms),
        on_cube=True,
    )


def inner_product_target(dimension: int, *, frequency: float | int | None = None) -> SeparatedTarget:
    """sin(pi frequency <u, v>) for u, v uniform on the sphere of R^dimension, an input of 2 dimension numbers.

    The default frequency, dimension^3, is that of Daniely's (2017) separation of two hidden layers from one.
    """
    _at_least("dimension", dimension, 2)
    rate = float(dimension**3 if frequency is None else frequency)
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"frequency={frequency} given; frequency must be positive and finite.")

    def draw(n: int, generator: torch.Generator) -> Tensor:
        pair = torch.randn(n, 2, dimension, generator=generator, dtype=torch.float64)
        return (pair / pair.norm(dim=2, keepdim=True)).flatten(1)

    def label(x: Tensor) -> Tensor:
        return torch.sin(math.pi * rate * (x[:, :dimension] * x[:, dimension:]).sum(1))

    return SeparatedTarget(
        name=f"inner product {dimension} at {rate:g}", dimension=2 * dimension, draw=draw, label=label
    )


def ball_indicator_target(dimension: int) -> SeparatedTarget:
    """1 inside the ball that holds half of N(0, I), -1 outside: hard for one hidden layer to match, easy to learn."""
    _at_least("dimension", dimension, 1)
    square = float(chi2.median(dimension))
    return SeparatedTarget(
        name=f"ball {dimension}",
        dimension=dimension,
        draw=_gaussian(dimension),
        label=lambda x: torch.where(x.square().sum(1) <= square, 1.0, -1.0).to(x),
    )


def single_neuron_target(dimension: int, *, generator: torch.Generator | None = None) -> SeparatedTarget:
    """sqrt(2) relu(<w, x>) for a random unit vector w and x ~ N(0, I): what every network learns."""
    _at_least("dimension", dimension, 1)
    w = torch.randn(dimension, generator=spawn(generator, "separation", "neuron"), dtype=torch.float64)
    w = w / w.norm()
    out = torch.tensor([[math.sqrt(2)]], dtype=torch.float64)
    return SeparatedTarget(
        name=f"neuron {dimension}",
        dimension=dimension,
        draw=_gaussian(dimension),
        label=lambda x: math.sqrt(2) * (x @ w.to(x)).relu(),
        network=_chain((w[None], torch.zeros(1)), (out, torch.zeros(1))),
    )


def parse_target(text: str) -> SeparatedTarget:
    """A target from its name and numbers, such as parity:6:2; KINDS lists them.

    Raises:
        ValueError: other text, or numbers out of range.

    >>> parse_target("parity:6:2").name
    'parity of 2 in 6'
    """
    make: dict[tuple[str, int], Callable[..., SeparatedTarget]] = {
        ("sawtooth", 1): sawtooth_target,
        ("wave", 1): square_wave_target,
        ("parity", 1): parity_target,
        ("parity", 2): lambda n, k: parity_target(n, range(k)),
        ("staircase", 2): staircase_target,
        ("inner", 1): inner_product_target,
        ("inner", 2): lambda dimension, rate: inner_product_target(dimension, frequency=rate),
        ("ball", 1): ball_indicator_target,
        ("neuron", 1): single_neuron_target,
    }
    kind, *numbers = text.split(":")
    if (kind, len(numbers)) not in make or not all(n.isascii() and n.isdecimal() and len(n) < 7 for n in numbers):
        raise ValueError(f"target {text!r} given; allowed are {KINDS}, with whole numbers.")
    return make[kind, len(numbers)](*map(int, numbers))


def _unit_interval(n: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, 1, generator=generator, dtype=torch.float64)


def _cube(dimension: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda n, generator: 2.0 * torch.randint(2, (n, dimension), generator=generator).double() - 1


def _gaussian(dimension: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda n, generator: torch.randn(n, dimension, generator=generator, dtype=torch.float64)


def _teeth(x: Tensor, depth: int) -> Tensor:
    for _ in range(depth):
        x = 1 - (2 * x - 1).abs()
    return 2 * x - 1


def _tents(depth: int) -> nn.Sequential:
    """t = 2 relu(x) - 4 relu(x - 1/2) for x in [0, 1], one after another."""
    kinks, tent = torch.tensor([0.0, -0.5]), torch.tensor([[2.0, -4.0]])
    between = [(tent.expand(2, 2), kinks)] * (depth - 1)
    return _chain((torch.ones(2, 1), kinks), *between, (2 * tent, torch.tensor([-1.0])))


def _counter(n: int, terms: list[tuple[list[int], float]]) -> nn.Sequential | None:
    """sum of factor (-1)^s over the terms, s the number of -1s among the members: 1 - 2s + 4 relu(s - 1) - ..."""
    units = sum(len(members) for members, _ in terms)
    if units > LARGEST_PARITY:
        return None
    weight, bias, out = (torch.zeros(*size, dtype=torch.float64) for size in ((units, n), (units,), (1, units)))
    row = 0
    for members, factor in terms:
        for j in range(len(members)):
            weight[row, members] = -0.5
            bias[row] = len(members) / 2 - j
            out[0, row] = factor * (-2.0 if j == 0 else 4.0 * (-1) ** (j + 1))
            row += 1
    constant = torch.tensor([sum(factor for _, factor in terms)], dtype=torch.float64)
    return _chain((weight, bias), (out, constant))


def _chain(*layers: tuple[Tensor, Tensor]) -> nn.Sequential:
    return relu_between([linear_layer(w.double().numpy(), b.double().numpy()) for w, b in layers]).requires_grad_(False)


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name}={value} given; {name} must be at least {least}.")
