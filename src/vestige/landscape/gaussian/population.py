"""The population loss of a student network, `E (student - teacher)^2 / 2` over Gaussian inputs, without a sample.

With kappa(s, t) = E act(s) act(t) for x ~ N(0, I), in closed form for each activation, and output weights a and beta,

    F = 1/2 sum a_i a_j kappa(w_i, w_j) - sum a_i beta_j kappa(w_i, v_j) + 1/2 sum beta_i beta_j kappa(v_i, v_j).

Inputs x ~ N(mean, A A^T) are the same problem for the neurons (A^T w, b + w . mean). Label noise of variance s^2 adds
s^2 / 2 to the loss and nothing to its derivatives.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.choices import ChoiceEnum
from vestige.landscape.gaussian.biased import biased_relu_blocks, biased_relu_pair
from vestige.landscape.gaussian.pair import Blocks, Pair, relu_blocks, relu_pair
from vestige.landscape.gaussian.smooth import cosine_kernel, erf_kernel, smooth_blocks, smooth_pair
from vestige.landscape.neurons import Neurons


class Activation(ChoiceEnum):
    """Activations whose Gaussian expectations have a closed form here."""

    RELU = "relu"
    LEAKY_RELU = "leaky_relu"
    ERF = "erf"
    COS = "cos"


@dataclass(frozen=True)
class Population:
    """A normal law of the inputs and an activation.

    Attributes:
        activation: "relu" (biases allowed), "leaky_relu", "erf" or "cos" (without biases).
        slope: of leaky ReLU below 0.
        mean: of the inputs; None for 0. Anything else gives the neurons biases.
        covariance: of the inputs; None for the identity.
        noise: variance of the labels.
    """

    activation: Activation | str = Activation.RELU
    slope: float = 0.01
    mean: Float[Tensor, " d"] | None = None
    covariance: Float[Tensor, "d d"] | None = None
    noise: float = 0.0

    def root(self) -> Tensor | None:
        """A with A A^T the covariance.

        Raises:
            ValueError: it is not symmetric or has a negative eigenvalue.
        """
        if self.covariance is None:
            return None
        covariance = self.covariance.double()
        values, vectors = torch.linalg.eigh(covariance)
        scale = float(values.abs().max())
        if not (torch.allclose(covariance, covariance.mT) and float(values.min()) >= -1e-12 * scale):
            raise ValueError(
                f"A covariance with smallest eigenvalue {float(values.min()):.3g} given; a symmetric matrix without "
                "negative eigenvalues is needed. Was it estimated from few samples?"
            )
        return vectors * values.clamp_min(0).sqrt()

    def standardized(self, neurons: Neurons) -> Neurons:
        """The neurons that do the same on N(0, I), in float64."""
        neurons, root = neurons.double(), self.root()
        bias = neurons.bias
        if self.mean is not None:
            shift = neurons.weight @ self.mean.double()
            bias = shift if bias is None else bias + shift
        weight = neurons.weight if root is None else neurons.weight @ root
        return replace(neurons, weight=weight, bias=bias)


STANDARD = Population()


def population_loss(student: Neurons, teacher: Neurons, population: Population = STANDARD) -> Float[Tensor, "*batch"]:
    """Exact `E (student - teacher)^2 / 2` of each student, in float64.

    Args:
        student: the network, or a batch of them.
        teacher: the network to match.
        population: law of the inputs, activation, label noise.

    Returns:
        Half the mean squared error, plus half the variance of the noise.

    Raises:
        ValueError: a ReLU neuron with weight 0, sizes that do not fit, values that are not finite, a covariance that
            is none, or a bias where the activation has no closed form with one.

    >>> one = Neurons(torch.eye(2)[:1])
    >>> float(population_loss(Neurons(-torch.eye(2)[:1]), one))  # they are never active together
    0.5
    """
    student, teacher = _checked(student, teacher, population)
    pairs, _ = _closed_forms(population)
    a, beta = student.outputs, teacher.outputs

    def total(first: Neurons, second: Neurons, left: Tensor, right: Tensor) -> Tensor:
        return torch.einsum("...i,...ij,...j->...", left, pairs(first, second).value, right)

    own, shared = total(student, student, a, a), total(student, teacher, a, beta)
    return (own + total(teacher, teacher, beta, beta)) / 2 - shared + population.noise / 2


def pair_values(first: Neurons, second: Neurons, population: Population = STANDARD) -> Float[Tensor, "n k"]:
    """E act(s_i) act(t_j) of the neurons of two layers, checked and in float64; output weights are not used."""
    first, second = _checked(first, second, population)
    pairs, _ = _closed_forms(population)
    return pairs(first, second).value


def population_gradient(student: Neurons, teacher: Neurons, population: Population = STANDARD) -> Neurons:
    """Exact gradient of `population_loss` in the weights, biases and output weights of the student.

    Args:
        student: as in `population_loss`.
        teacher: likewise.
        population: likewise.

    Returns:
        Derivatives by weight, by bias (None where the student has none) and by output weight, always.

    Raises:
        ValueError: as `population_loss`.

    >>> one = Neurons(torch.eye(2)[:1])
    >>> population_gradient(Neurons(3 * torch.eye(2)[:1]), one).weight  # (3 - 1) / 2 along the neuron
    tensor([[1., 0.]], dtype=torch.float64)
    """
    given, had_bias = student, student.bias is not None
    student, teacher = _checked(student, teacher, population)
    (pairs, _), a, beta = _closed_forms(population), student.outputs, teacher.outputs
    weight, bias, output = torch.zeros_like(student.weight), torch.zeros_like(a), torch.zeros_like(a)
    for other, factor in ((student, a), (teacher, -beta)):
        pair = pairs(student, other)
        factor = factor[..., None, :]
        weight = weight + (factor * pair.along_first).sum(-1, keepdim=True) * student.weight
        weight = weight + (factor * pair.along_second) @ other.weight
        output = output + (factor * pair.value).sum(-1)
        if pair.bias is not None:
            bias = bias + (factor * pair.bias).sum(-1)
    weight, bias, root = a[..., None] * weight, a * bias, population.root()
    if root is not None:
        weight = weight @ root.mT
    if population.mean is not None:
        weight = weight + bias[..., None] * population.mean.double()
    return Neurons(weight.expand(given.weight.shape), bias if had_bias else None, output)


def population_hessian(
    student: Neurons, teacher: Neurons, population: Population = STANDARD
) -> Float[Tensor, "*batch p p"]:
    """Exact second derivatives of `population_loss` in weights and biases, for fixed output weights.

    Args:
        student: as in `population_loss`.
        teacher: likewise.
        population: likewise.

    Returns:
        Rows and columns neuron by neuron: its d weights, then its bias where it has one.

    Raises:
        ValueError: as `population_loss`.

    >>> V = Neurons(torch.eye(3))
    >>> float(torch.linalg.eigvalsh(population_hessian(V, V))[0])  # 1/4 - 1/(2 pi)
    0.0908450...
    """
    had_bias = student.bias is not None
    student, teacher = _checked(student, teacher, population)
    own, others = neuron_blocks(student, teacher, population)
    n = own.shape[-3]
    blocks = others.clone()
    blocks[..., range(n), range(n), :, :] += own
    move = _moved_back(population, student, had_bias)
    if move is not None:
        blocks = move.mT @ blocks @ move
    return blocks.transpose(-3, -2).reshape(*blocks.shape[:-4], n * blocks.shape[-1], n * blocks.shape[-1])


def neuron_blocks(student: Neurons, teacher: Neurons, population: Population) -> tuple[Tensor, Tensor]:
    """What bends a neuron beside its own square, (..., n, p, p), and the mixed blocks, (..., n, n, p, p).

    The first is H'_ii = sum_{j != i} a_j h1(w_i, w_j) - sum_j beta_j h1(w_i, v_j), times a_i.
    """
    _, blocks = _closed_forms(population)
    among, towards = blocks(student, student), blocks(student, teacher)
    a, beta = student.outputs, teacher.outputs
    first = torch.einsum("...j,...ijpq->...ipq", a, among.first)
    first = first - torch.einsum("...j,...ijpq->...ipq", beta, towards.first)
    return a[..., None, None] * first, (a[..., :, None] * a[..., None, :])[..., None, None] * among.mixed


def _moved_back(population: Population, student: Neurons, had_bias: bool) -> Tensor | None:
    """The matrix from a neuron's weights (and bias) to those of the standardized one; None where they are the same."""
    root = population.root()
    if root is None and population.mean is None:
        return None
    d = student.weight.shape[-1]
    move = torch.eye(d, dtype=torch.float64) if root is None else root.mT
    if student.bias is None:
        return move
    mean = torch.zeros(d, dtype=torch.float64) if population.mean is None else population.mean.double()
    full = torch.zeros(d + 1, d + had_bias, dtype=torch.float64)
    full[:d, :d], full[d, :d] = move, mean
    if had_bias:
        full[d, d] = 1
    return full


def _checked(student: Neurons, teacher: Neurons, population: Population) -> tuple[Neurons, Neurons]:
    activation = Activation(population.activation)
    d = student.weight.shape[-1]
    if teacher.weight.shape[-1] != d:
        raise ValueError(f"A student of {d} inputs and a teacher of {teacher.weight.shape[-1]} given; they must agree.")
    student, teacher = population.standardized(student), population.standardized(teacher)
    for name, neurons in (("student", student), ("teacher", teacher)):
        if not all(bool(p.isfinite().all()) for p in (neurons.weight, neurons.bias, neurons.output) if p is not None):
            raise ValueError(f"The {name} has weights that are NaN or infinite.")
        if "relu" in activation and not bool((neurons.weight.abs().amax(-1) > 0).all()):
            raise ValueError(
                f"The {name} has a neuron with weight 0, where a ReLU has no derivative; remove it, or put its "
                "constant into the labels."
            )
    if student.bias is None and teacher.bias is None:
        return student, teacher
    if activation is not Activation.RELU:
        raise ValueError(f"Biases (or a mean of the inputs) given with {activation}; only relu has closed forms there.")
    return _with_bias(student), _with_bias(teacher)


def _with_bias(neurons: Neurons) -> Neurons:
    return replace(neurons, bias=torch.zeros_like(neurons.weight[..., 0])) if neurons.bias is None else neurons


def _relu(s: Neurons, t: Neurons) -> Pair:
    if s.bias is None or t.bias is None:
        return relu_pair(s.weight, t.weight)
    return biased_relu_pair(s.weight, s.bias, t.weight, t.bias)


def _relu_blocks(s: Neurons, t: Neurons) -> Blocks:
    if s.bias is None or t.bias is None:
        return relu_blocks(s.weight, t.weight)
    return biased_relu_blocks(s.weight, s.bias, t.weight, t.bias)


def _leaky(slope: float, s: Neurons, t: Neurons) -> Pair:
    """(1 - slope)^2 kappa + slope w.v"""
    pair, share = relu_pair(s.weight, t.weight), (1 - slope) ** 2
    value = share * pair.value + slope * s.weight @ t.weight.mT
    return Pair(value, share * pair.along_first, share * pair.along_second + slope)


def _leaky_blocks(slope: float, s: Neurons, t: Neurons) -> Blocks:
    found, share = relu_blocks(s.weight, t.weight), (1 - slope) ** 2
    eye = torch.eye(s.weight.shape[-1], dtype=s.weight.dtype, device=s.weight.device)
    return Blocks(share * found.first, share * found.mixed + slope * eye)


def _closed_forms(
    population: Population,
) -> tuple[Callable[[Neurons, Neurons], Pair], Callable[[Neurons, Neurons], Blocks]]:
    """The expectation of a pair of neurons with its gradients, and its second derivatives."""
    match Activation(population.activation):
        case Activation.RELU:
            return _relu, _relu_blocks
        case Activation.LEAKY_RELU:
            return partial(_leaky, population.slope), partial(_leaky_blocks, population.slope)
        case chosen:
            kernel = erf_kernel if chosen is Activation.ERF else cosine_kernel
            return (
                lambda s, t: smooth_pair(kernel, s.weight, t.weight),
                lambda s, t: smooth_blocks(kernel, s.weight, t.weight),
            )
