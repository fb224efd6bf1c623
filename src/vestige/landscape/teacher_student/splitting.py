"""What one neuron more does: a minimum that is not global becomes a saddle, if the right neuron is split.

Replacing w_i by a w_i and (1 - a) w_i leaves the network as it is. Moved apart by +e u and -e u, the loss changes by

    e^2 u^T H'_ii u / (2 a (1 - a)),      H'_ii = sum_{j != i} h1(w_i, w_j) - sum_j h1(w_i, v_j),

so that the split point is a strict saddle in that plane exactly where H'_ii has a negative eigenvalue (2006.01005).
It is the splitting matrix of arXiv 1910.02366.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.cite import Paper
from vestige.core.outcome import OnStep
from vestige.landscape.gaussian.population import STANDARD, neuron_blocks, population_loss
from vestige.landscape.neurons import Neurons
from vestige.landscape.teacher_student.certify import PAPERS
from vestige.landscape.teacher_student.descent import Descent, descend


@dataclass(frozen=True, eq=False, kw_only=True)
class SplitSpectrum:
    """How the loss bends when one neuron is split.

    Attributes:
        curvature: smallest eigenvalue of H'_ii for each neuron; below 0 where splitting it makes a saddle.
        directions: its eigenvectors, orthogonal to the neurons.
        averages: (sum_j |w_j| sin - sum_j |v_j| sin) / (2 pi |w_i|), cheap, and negative only if `curvature` is.
        norm_sum: sum of the neurons' lengths; at a critical point where it is at most that of the teacher's, one of
            the averages is negative.
        teacher_norm_sum: that of the teacher.
        source: the papers.
    """

    curvature: Float[Tensor, " n"]
    directions: Float[Tensor, "n d"]
    averages: Float[Tensor, " n"]
    norm_sum: float
    teacher_norm_sum: float
    source: tuple[Paper, ...] = PAPERS

    @property
    def best(self) -> int:
        """The neuron whose split bends the loss down most."""
        return int(self.curvature.argmin())


def split_spectrum(student: Neurons, teacher: Neurons) -> SplitSpectrum:
    """Smallest eigenvalue of the splitting matrix of every neuron.

    Args:
        student: ReLU neurons (n, d) without biases.
        teacher: (k, d), likewise.

    Raises:
        ValueError: biases, output weights, a batch, a neuron of weight 0, or one input only, where nothing can move.

    >>> V = Neurons(torch.eye(3, dtype=torch.float64))
    >>> bool((split_spectrum(V, V).curvature.abs() < 1e-12).all())  # nothing to gain at the global minimum
    True
    """
    _check(student, teacher)
    population_loss(student, teacher)  # refuses what has no derivative
    student, teacher = student.double(), teacher.double()
    own, _ = neuron_blocks(student, teacher, STANDARD)
    unit = student.weight / student.weight.norm(dim=1, keepdim=True)
    # the neuron's own direction has eigenvalue 0 and only scales it: leave it out
    away = own + 2 * own.shape[-1] * own.abs().amax() * unit[:, :, None] * unit[:, None, :]
    values, vectors = torch.linalg.eigh(away)
    d = student.weight.shape[1]
    return SplitSpectrum(
        curvature=values[:, 0],
        directions=vectors[:, :, 0],
        averages=torch.einsum("npp->n", own) / d,
        norm_sum=float(student.weight.norm(dim=1).sum()),
        teacher_norm_sum=float(teacher.weight.norm(dim=1).sum()),
    )


def split_neuron(
    student: Neurons,
    neuron: int,
    *,
    share: float = 0.5,
    distance: float = 0.0,
    direction: Float[Tensor, " d"] | None = None,
) -> Neurons:
    """Replace one neuron by two that do the same together, or nearly.

    Args:
        student: ReLU neurons (n, d) without biases or output weights.
        neuron: its position.
        share: a, of the first of the two; the other has 1 - a.
        distance: e, by which they are moved apart along the direction.
        direction: a unit vector; needed where the distance is not 0.

    Returns:
        n + 1 neurons; the two stand at the end.

    Raises:
        ValueError: a position or share out of range, or a distance without direction.

    >>> one = Neurons(torch.tensor([[2.0, 0.0]], dtype=torch.float64))
    >>> split_neuron(one, 0, share=0.25).weight
    tensor([[0.5000, 0.0000],
            [1.5000, 0.0000]], dtype=torch.float64)
    """
    _check(student, student)
    if not (0 <= neuron < len(student.weight) and 0 < share < 1):
        raise ValueError(
            f"neuron={neuron}, share={share} given; allowed are 0 to {len(student.weight) - 1}, and shares in (0, 1)."
        )
    if direction is None and distance != 0:
        raise ValueError(f"distance={distance} given without a direction; take one from split_spectrum.")
    weight = student.double().weight
    move = torch.zeros_like(weight[neuron]) if direction is None else distance * direction.double()
    pair = torch.stack([share * weight[neuron] + move, (1 - share) * weight[neuron] - move])
    return Neurons(torch.cat([weight[:neuron], weight[neuron + 1 :], pair]))


def grow(
    student: Neurons,
    teacher: Neurons,
    *,
    neuron: int | None = None,
    distance: float = 1e-2,
    steps: int = 20_000,
    on_step: OnStep | None = None,
) -> Descent:
    """Split one neuron at a minimum, move the halves apart to both sides, and descend.

    Args:
        student: a minimum, such as one of `find_spurious_minima`.
        teacher: what it imitates.
        neuron: its position; None for the one that bends the loss down most. Another choice may end in a minimum of the
            larger network that is not global either.
        distance: by which the halves are moved apart.
        steps: of gradient descent at most.
        on_step: called after every round.

    Returns:
        Two runs, one for each sign of the direction, in one batch.

    Raises:
        ValueError: as `split_spectrum` and `split_neuron`.
    """
    spectrum = split_spectrum(student, teacher)
    neuron = spectrum.best if neuron is None else neuron
    split_neuron(student, neuron)  # refuses a position that is none
    starts = [
        split_neuron(student, neuron, distance=sign * distance, direction=spectrum.directions[neuron]).weight
        for sign in (1, -1)
    ]
    return descend(Neurons(torch.stack(starts)), teacher, steps=steps, on_step=on_step)


def _check(student: Neurons, teacher: Neurons) -> None:
    if student.weight.ndim != 2 or any(p is not None for s in (student, teacher) for p in (s.bias, s.output)):
        raise ValueError("One network (n, d) of ReLU neurons without biases and output weights is needed.")
    if student.weight.shape[1] < 2:
        raise ValueError("Neurons with one input given; two are needed, or the halves cannot move apart.")
