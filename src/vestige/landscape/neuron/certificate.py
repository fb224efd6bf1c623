"""Does gradient flow from this start learn the teacher neuron? A proof that it does, that it never will, or neither.

For one ReLU neuron u = (w, b) that imitates u* = (v, c), with s = w.x + b and t = v.x + c,

    <grad F(u), u - u*>  =  E 1{s > 0, t > 0} (s - t)^2  +  E 1{s > 0, t <= 0} s (s - t)  >=  0,

so that the distance to u* never grows, and where the inputs have a density a point without gradient is u* or dead:
P(s > 0) = 0, with the loss F(0) of a neuron that is 0. Hence (arXiv 2001.05205, 2106.01101)

    learns    if F(u) < F(0); without biases, for spherically symmetric inputs, at every angle below pi;
    doomed    if it is dead; at angle pi without biases; or, for spherically symmetric inputs of radius r, if b <= 0 and
              the two active caps are disjoint:  angle(w, v) >= arccos(-b / r|w|) + arccos(-c / r|v|).

In the last case only -E s+ x acts: the direction stays, |w| and b fall, and the cap shrinks for ever. A doomed flow may
come arbitrarily near to a point without gradient and never reach it, which no budget of steps tells from a slow one.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.stats import ncx2
from scipy.stats import t as student_t
from torch import Tensor

from vestige.core.choices import ChoiceEnum
from vestige.core.cite import Paper, paper
from vestige.core.claims import Certificate, Claim
from vestige.landscape.gaussian.pair import angles
from vestige.landscape.neuron.laws import InputLaw, RadialInputs, SampledInputs, as_runs
from vestige.landscape.neurons import Neurons

PAPERS = (paper("2001.05205"), paper("2106.01101"))


class Fate(ChoiceEnum):
    """What is proved of gradient flow from a point."""

    LEARNS = "learns"
    DOOMED = "doomed"
    UNDECIDED = "undecided"


@dataclass(frozen=True, eq=False, kw_only=True)
class NeuronCertificate:
    """What is proved of gradient flow from one point.

    Attributes:
        fate: "learns", "doomed" or "undecided".
        loss: F at the point.
        zero_loss: F(0), of a neuron that is always 0.
        angle: between the weights, in [0, pi].
        reason: in words.
        certificate: the inequality that decided.
        source: the papers.
    """

    fate: Fate
    loss: float
    zero_loss: float
    angle: float
    reason: str
    certificate: Certificate
    source: tuple[Paper, ...] = PAPERS


def neuron_certificate(student: Neurons, teacher: Neurons, law: InputLaw) -> NeuronCertificate:
    """Decide the fate of gradient flow on the population loss of one ReLU neuron.

    Args:
        student: one neuron, weights (1, d), with a bias or without.
        teacher: the neuron to learn, likewise; if only one has a bias, the other's is 0 at the start.
        law: of the inputs.

    Returns:
        The fate with its proof; "undecided" is no verdict about what happens.

    Raises:
        ValueError: more than one neuron, sizes that do not fit the law, a zero weight, or a teacher that is 0 on all
            inputs, which everything dead has learned.

    >>> import torch
    >>> from vestige.landscape import GaussianInputs
    >>> v = Neurons(torch.eye(3, dtype=torch.float64)[:1])
    >>> w = Neurons(torch.tensor([[-1.0, 0.1, 0.0]], dtype=torch.float64))
    >>> [str(neuron_certificate(s, v, GaussianInputs(3)).fate) for s in (w, Neurons(-v.weight))]
    ['learns', 'doomed']
    """
    student, teacher = check_neurons(student, teacher, law)
    if len(student.weight) != 1:
        raise ValueError(f"{len(student.weight)} neurons given; certify one student at a time.")
    (found,) = certificates(student, teacher, law)
    return found


def certificates(student: Neurons, teacher: Neurons, law: InputLaw) -> list[NeuronCertificate]:
    """One for each of many starts that `check_neurons` has seen."""
    losses, zero = law.loss(student, teacher).tolist(), zero_loss(teacher, law)
    at = angles(student.weight, teacher.weight)
    opening = at.rest.flatten()  # pi - angle
    found = []
    for run, loss in enumerate(losses):
        claim, reason, fate = _decide(student, teacher, law, run, float(opening[run]), loss, zero)
        found.append(
            NeuronCertificate(
                fate=fate,
                loss=loss,
                zero_loss=zero,
                angle=math.pi - float(opening[run]),
                reason=reason,
                certificate=Certificate(() if claim is None else (claim,)),
            )
        )
    return found


def _decide(
    student: Neurons, teacher: Neurons, law: InputLaw, run: int, opening: float, loss: float, zero: float
) -> tuple[Claim | None, str, Fate]:
    bias = 0.0 if student.bias is None else float(student.bias[run])
    top = bias + _largest_product(student.weight[run, 0], law)
    if top <= 0:
        claim = Claim("largest pre-activation on the inputs", 0.0, top, "dead")
        return claim, "the neuron is 0 on all inputs, and has no gradient", Fate.DOOMED
    if student.bias is None and teacher.bias is None and law.symmetric:
        source = "arXiv 2001.05205, spherically symmetric inputs"
        if opening > 0:
            claim = Claim("minus (pi - angle)", -math.ulp(0.0), -opening, source)
            return claim, "the angle to the teacher falls from any value below pi", Fate.LEARNS
        claim = Claim("pi - angle", 0.0, opening, source)
        return claim, "it points away from the teacher exactly: the flow stays on that line and ends in 0", Fate.DOOMED
    caps = _caps(student, teacher, law, run)
    if law.symmetric and caps is not None and bias <= 0 and math.pi - opening >= caps:
        claim = Claim("minus the angle, against minus both caps", -caps, opening - math.pi, "disjoint caps")
        return claim, "its active inputs and the teacher's are disjoint: it is only driven farther away", Fate.DOOMED
    if not isinstance(law, SampledInputs) and loss < zero * (1 - law.slack):
        claim = Claim("F at the start, below F(0)", zero * (1 - law.slack), loss, "arXiv 2106.01101")
        return claim, "its loss is below that of every dead point, and only the teacher is below", Fate.LEARNS
    return None, "neither its loss nor its active inputs decide", Fate.UNDECIDED


def _caps(student: Neurons, teacher: Neurons, law: InputLaw, run: int) -> float | None:
    """The sum of the angles that the two active caps subtend; None where inputs are not bounded."""
    if not math.isfinite(law.reach):
        return None
    both = ((student.weight[run], student.bias, run), (teacher.weight, teacher.bias, 0))
    total = 0.0
    for weight, bias, index in both:
        offset = 0.0 if bias is None else float(bias[index])
        total += math.acos(max(-1.0, min(1.0, -offset / (law.reach * float(weight.norm())))))
    return total


def _largest_product(weight: Tensor, law: InputLaw) -> float:
    """The largest w.x on the inputs."""
    return float((law.x.double() @ weight).max() if isinstance(law, SampledInputs) else law.reach * weight.norm())


def zero_loss(teacher: Neurons, law: InputLaw) -> float:
    """F(0) = E t+^2 / 2, as the loss of a student that is active nowhere.

    Raises:
        ValueError: it is 0: the teacher is 0 on all inputs.
    """
    top = _largest_product(teacher.weight[0], law) + (0.0 if teacher.bias is None else float(teacher.bias))
    far = 40.0 if math.isinf(law.reach) else law.reach + 1.0
    first = torch.eye(1, teacher.weight.shape[-1], dtype=torch.float64)[None]
    loss = float(law.loss(Neurons(first, torch.full((1, 1), -far, dtype=torch.float64)), teacher))
    if not (top > 0 and (loss > 0 or isinstance(law, RadialInputs))):  # nodes of a quadrature may miss a small cap
        raise ValueError(
            "The teacher is 0 on all inputs (up to rounding): every dead neuron has learned it. Give it a larger bias."
        )
    return loss


def check_neurons(student: Neurons, teacher: Neurons, law: InputLaw) -> tuple[Neurons, Neurons]:
    """Starts as (runs, 1, d) and the teacher as (1, d), both with biases or both without.

    Raises:
        ValueError: sizes that do not fit, output weights, values that are not finite, or a weight of 0.
    """
    student, teacher, d = as_runs(student), as_runs(teacher), law.dimension
    if teacher.weight.shape != (1, 1, d) or student.weight.shape[1:] != (1, d):
        raise ValueError(
            f"Neurons of shape {tuple(student.weight.shape)} and {tuple(teacher.weight.shape)} given for inputs of "
            f"dimension {d}; starts (runs, {d}) and one teacher (1, {d}) are needed."
        )
    for name, s in (("student", student), ("teacher", teacher)):
        if not all(bool(p.isfinite().all()) for p in (s.weight, s.bias) if p is not None):
            raise ValueError(f"The {name} has values that are NaN or infinite.")
        if not bool((s.weight.norm(dim=-1) > 0).all()):
            raise ValueError(f"The {name} has weight 0, where the loss of a ReLU has no gradient.")
    if (student.bias is None) != (teacher.bias is None):
        student, teacher = _with_bias(student), _with_bias(teacher)
    return student, Neurons(teacher.weight[0], None if teacher.bias is None else teacher.bias[0])


def _with_bias(neurons: Neurons) -> Neurons:
    if neurons.bias is not None:
        return neurons
    return Neurons(neurons.weight, torch.zeros_like(neurons.weight[..., 0]))


def one_point_terms(
    student: Neurons, teacher: Neurons, x: Float[Tensor, "m d"]
) -> tuple[Float[Tensor, " runs"], Float[Tensor, " runs"]]:
    """The two terms of <grad F(u), u - u*> on a sample, neither of them negative; see above.

    Args:
        student: neurons (runs, d).
        teacher: one neuron (1, d).
        x: the inputs.

    Raises:
        ValueError: what `neuron_certificate` refuses.
    """
    law = SampledInputs(x)
    student, teacher = check_neurons(student, teacher, law)
    s, t = law._activations(student, teacher)
    both = ((s > 0) & (t > 0)) * (s - t).square()
    wrong = ((s > 0) & (t <= 0)) * s * (s - t)
    return both.mean(-1), wrong.mean(-1)


def start_within_reach_probability(dimension: int, init_scale: float) -> float:
    """P(|w - v| < |v|) for w ~ N(0, init_scale^2 I) and |v| = 1: from there the neuron without bias is learned.

    A noncentral chi-squared probability, exact.

    Raises:
        ValueError: a dimension below 1 or a scale that is not positive.

    >>> round(start_within_reach_probability(10, 0.07071), 4)
    0.3751
    """
    if not (dimension >= 1 and init_scale > 0):
        raise ValueError(f"dimension={dimension}, init_scale={init_scale} given; both must be positive.")
    return float(ncx2.cdf(init_scale**-2, dimension, init_scale**-2))


def dead_start_probability(dimension: int, radius: float) -> float:
    """P(b <= -radius |w|) for standard normal (w, b): dead from the start on inputs in that ball.

    b sqrt(d) / |w| has Student's t distribution with d degrees of freedom.

    Raises:
        ValueError: a dimension below 1 or a negative radius.

    >>> round(dead_start_probability(10, 0.01), 3)
    0.488
    """
    if not (dimension >= 1 and radius >= 0):
        raise ValueError(f"dimension={dimension}, radius={radius} given; at least 1 and at least 0 are needed.")
    return float(student_t.cdf(-radius * math.sqrt(dimension), dimension))
