"""Does anything of a target show at the start of training? A verdict in one direction only (arXiv 2102.00434).

The part of the gradient that knows the target f is E f grad N. Its square, relative to E f^2 E |grad N|^2, is
estimated without bias over pairs of different samples; how large the estimate is by chance, for values dealt out to
other inputs, is the noise floor. Where nothing rises above it at any start, and no kernel sees anything, descent with
gradients as noisy as those of that many samples does not begin to learn f. That something shows promises nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.construct.separation.learning_curve import HELD_OUT, learning_run
from vestige.construct.separation.targets import SeparatedTarget
from vestige.construct.separation.walsh import boolean_cube, degree_profile
from vestige.construct.separation.weak_learning import (
    KernelAdvantage,
    arc_cosine_kernel,
    gradient_variance,
    kernel_advantage,
    per_sample_gradients,
    sq_dimension_lower_bound,
)
from vestige.core.choices import ChoiceEnum
from vestige.core.cite import Paper, paper
from vestige.core.outcome import OnStep, Step
from vestige.core.rng import spawn
from vestige.nets.fully_connected import mlp

SHUFFLES, DEVIATIONS = 40, 5.0
KERNEL_SAMPLES = 2000
PROFILED = 12  # bits of a cube that is listed in full for the degree profile


class LearnabilityVerdict(ChoiceEnum):
    """SIGNAL: something shows at the start, which promises nothing. NO_SIGNAL: nothing does, at this noise."""

    SIGNAL = "signal"
    NO_SIGNAL = "no_signal"


@dataclass(frozen=True, eq=False, kw_only=True)
class WeakLearnability:
    """What shows of a target before training.

    Attributes:
        target: its name.
        trivial_loss: its variance, the loss of the best constant.
        gradient_signal: the largest |E f grad N|^2 / (E f^2 E |grad N|^2) over the starts, f without its mean.
        noise_floor: what that must exceed to be more than chance, five standard deviations, at the same start.
        samples_needed: about how many would lift the signal over the floor; infinite where none was seen.
        kernel: what the kernel of random ReLU features sees.
        shallow_advantage: correlation of a trained network with one hidden layer, on fresh samples; NaN if not trained.
        gradient_profile: share of E |grad N|^2 at each degree, for targets on a cube of few bits; else None.
        sq_lower_bound: nearly orthogonal functions in `family`, None without one.
        predicted_steps: of noisy descent, at the noise floor, before it can tell the functions of `family` apart.
        verdict: in one direction only, see `LearnabilityVerdict`.
    """

    target: str
    trivial_loss: float
    gradient_signal: float
    noise_floor: float
    samples_needed: float
    kernel: KernelAdvantage
    shallow_advantage: float
    gradient_profile: tuple[float, ...] | None
    sq_lower_bound: int | None
    predicted_steps: float | None
    verdict: LearnabilityVerdict
    warnings: tuple[str, ...] = ()
    source: tuple[Paper, ...] = field(default=(paper("2102.00434"),), repr=False)

    @property
    def message(self) -> str:
        """The verdict in a sentence."""
        if self.verdict is LearnabilityVerdict.SIGNAL:
            return f"{self.target}: something shows at the start of training. That it is learned does not follow."
        return (
            f"{self.target}: no weak signal at these starts. Gradient descent whose gradients may be off by "
            f"{self.noise_floor**0.5:.2g} of their size, at every step and in the worst way, does not begin to learn."
        )


def weak_learnability_report(
    target: SeparatedTarget,
    *,
    hidden: Sequence[int] = (64,),
    restarts: int = 3,
    samples: int = 4096,
    shallow_steps: int = 1000,
    family: Sequence[SeparatedTarget] | None = None,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> WeakLearnability:
    """Measure what of a target shows in gradients at random starts, to a kernel, and to a small trained network.

    Args:
        target: see `vestige.construct.separation.targets`.
        hidden: widths of the network whose start is judged; ReLU, with biases, U(+-1/sqrt(fan_in)).
        restarts: random initializations.
        samples: of the target; the noise falls as 1 / samples.
        shallow_steps: of training a network with one hidden layer; 0 for none.
        family: the class that the target is one of, for the bounds on it; on the same inputs.
        generator: None for seed 0.
        on_step: called after each start.

    Raises:
        ValueError: too few samples or starts, a target that is constant.
    """
    if restarts < 1:
        raise ValueError(f"restarts={restarts} given; restarts must be at least 1.")
    x, f = _samples(target, samples, generator)
    found = []
    for start in range(restarts):
        net = mlp([target.dimension, *hidden, 1], bias="all", generator=spawn(generator, "start", str(start)))
        rows = per_sample_gradients(net, x)
        found.append(_signal(rows, f, spawn(generator, "shuffle", str(start))))
        if on_step is not None:
            on_step(Step(start + 1, restarts, found[-1][0], "gradient signal"))
    signal, floor = max(found, key=lambda pair: pair[0] / pair[1])
    kernel = kernel_advantage(arc_cosine_kernel, x[:KERNEL_SAMPLES], f[:KERNEL_SAMPLES], generator=generator)
    seen = signal > floor or kernel.correlation > DEVIATIONS * kernel.standard_error
    verdict = LearnabilityVerdict.SIGNAL if seen else LearnabilityVerdict.NO_SIGNAL
    (orthogonal, steps), shallow = _class_bounds(family, net, x, floor), _shallow(target, shallow_steps, generator)
    return WeakLearnability(
        target=target.name,
        trivial_loss=float(f.square().mean()),
        gradient_signal=signal,
        noise_floor=floor,
        samples_needed=samples * floor / signal if signal > 0 else float("inf"),
        kernel=kernel,
        shallow_advantage=shallow,
        gradient_profile=_profile(net, target),
        sq_lower_bound=orthogonal,
        predicted_steps=steps,
        verdict=verdict,
        warnings=_warnings(verdict, shallow, target),
    )


def _samples(
    target: SeparatedTarget, samples: int, generator: torch.Generator | None
) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
    """Inputs, and the target there without its mean."""
    if samples < 16:
        raise ValueError(f"samples={samples} given; samples must be at least 16.")
    x, f = target.sample(samples, spawn(generator, "report", target.name))
    f = f - f.mean()
    if not bool(f.any()):
        raise ValueError(f"{target.name} is constant on {samples} samples; there is nothing to learn.")
    return x, f


def _warnings(verdict: LearnabilityVerdict, shallow: float, target: SeparatedTarget) -> tuple[str, ...]:
    if verdict is LearnabilityVerdict.SIGNAL or not shallow > DEVIATIONS * HELD_OUT**-0.5:
        return ()
    inputs = f", and there are {2**target.dimension:,} inputs only" if target.on_cube else ""
    return (
        f"A trained network with one hidden layer reached a correlation of {shallow:.2f} nevertheless: the noise of "
        f"batches averages out over many steps{inputs}. The verdict is about gradients that stay off.",
    )


def _signal(rows: Float[Tensor, "n p"], f: Float[Tensor, " n"], draw: torch.Generator) -> tuple[float, float]:
    """The unbiased estimate over pairs, and five standard deviations of it for values dealt out to other inputs."""
    n = len(f)
    dealt = torch.stack([f, *(f[torch.randperm(n, generator=draw)] for _ in range(SHUFFLES))])
    energy = rows.square().sum(1)
    same = dealt.square() @ energy
    apart = ((dealt @ rows).square().sum(1) - same) / (n * (n - 1)) / (f.square().mean() * energy.mean())
    return float(apart[0]), DEVIATIONS * float(apart[1:].square().mean().sqrt())


def _class_bounds(
    family: Sequence[SeparatedTarget] | None, net: torch.nn.Module, x: Tensor, floor: float
) -> tuple[int | None, float | None]:
    if family is None:
        return None, None
    values = torch.stack([member.label(x) for member in family])
    variance = gradient_variance(net, x, values)
    return len(sq_dimension_lower_bound(values)), variance.steps((floor * variance.energy) ** 0.5)


def _shallow(target: SeparatedTarget, steps: int, generator: torch.Generator | None) -> float:
    if not steps:
        return float("nan")
    net = mlp([target.dimension, 64, 1], bias="all", dtype=torch.float32, generator=spawn(generator, "shallow"))
    return learning_run(target, net, steps=steps, generator=generator).correlation


def _profile(net: torch.nn.Module, target: SeparatedTarget) -> tuple[float, ...] | None:
    if not target.on_cube or target.dimension > PROFILED:
        return None
    profile = degree_profile(per_sample_gradients(net, boolean_cube(target.dimension)))
    return tuple((profile / profile.sum()).tolist())
