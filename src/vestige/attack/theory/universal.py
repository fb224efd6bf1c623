"""One direction that fools a trained network on every sample (arXiv 2202.04347).

At a KKT point of the max-margin problem the weights of a two-layer ReLU network are sums of samples,
w_j = v_j sum_i lambda_i y_i s_ij x_i, s_ij being the derivative at the ReLU. Along

    z  =  sum over the margin set of  y_i x_i

every unit that votes for +1 grows and every unit that votes for -1 shrinks, so that x_i - y_i c z / |z| changes class
for all i at one small c. For orthogonal samples of norm R in equal classes, c = R / sqrt(n) up to the biases: that is
sqrt(d / n) where R = sqrt(d). A network of the same width that is robust up to R / 2 exists, see
`construct.robust_two_layer`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vestige.attack.theory.decision_margin import DecisionMargin, Pair, random_flips, read_margin, smallest_radius
from vestige.core.cite import Paper, paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import Outcome
from vestige.core.residual import Subgradient, stationarity
from vestige.core.theory import check_theory

PAPER, KKT = paper("2202.04347"), paper("1906.05890")
FARTHEST = 4  # times the largest norm: where the search for a flip ends
NULL_DIRECTIONS = 50
STATIONARY = 1e-2  # share of |theta|^2 that a network near a KKT point may leave unexplained
LARGEST_CHECK = 500  # samples up to which the KKT residual is computed


@dataclass(frozen=True, eq=False, kw_only=True)
class UniversalPerturbation:
    """The direction, how far along it the samples change class, and what it is compared with.

    Attributes:
        direction: u of unit l_2 norm; samples of class +1 move along -u, those of -1 along u.
        radius: smallest c at which all samples of the margin set have changed class; inf for none.
        sample_radius: the same for each sample alone.
        on_margin: samples that make up the direction.
        margins: y_i f(x_i), before any scaling.
        scale: R / sqrt(n), R the smallest norm; sqrt(d / n) for samples of norm sqrt(d).
        gradient_radius: common radius along the mean gradient instead, which needs no formula for the direction.
        null_flips: changes of class at `radius` along random directions, out of `null_trials`.
        null_trials: random directions times samples of the margin set.
        coherence: n max |<x_i, x_j>| / R^2: the theory is about samples for which this is small.
        kkt_residual: share of |theta|^2 that the KKT conditions leave unexplained; None where they do not apply.
        certificate: that all flip, and the KKT residual, as claims.
        outcome: BUDGET_SPENT where no common radius was found.
        warnings: what a reader must know.
        source: the papers.
    """

    direction: Float[Tensor, "*feature"]
    radius: float
    sample_radius: Float[Tensor, " n"]
    on_margin: Bool[Tensor, " n"]
    margins: Float[Tensor, " n"]
    scale: float
    gradient_radius: float
    null_flips: int
    null_trials: int
    coherence: float
    kkt_residual: float | None
    certificate: Certificate
    outcome: Outcome
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]

    @property
    def ratio(self) -> float:
        """radius / scale: 1 for orthogonal samples, between 1 and about 2 where the theory describes the network."""
        return self.radius / self.scale


def universal_margin_perturbation(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Int[Tensor, " labels"],
    *,
    margin_tol: float = 0.1,
    pair: Pair | None = None,
    generator: torch.Generator | None = None,
) -> UniversalPerturbation:
    """Find the common perturbation that theory predicts for a network at a large margin, and measure it.

    Args:
        model: any network with one output, or with several and a pair of classes; left as it is.
        x: its training samples, in model space.
        y: labels {0, 1} or {-1, 1}; or the two classes of the pair.
        margin_tol: a sample is on the margin up to (1 + margin_tol) times the smallest margin.
        pair: (a, b): the network is read as z_a - z_b, a being +1.
        generator: of the random directions; None for seed 0.

    Raises:
        ValueError: misclassified samples, one class only, labels that do not fit, a negative margin_tol.

    >>> linear = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.constant_(linear.weight, 1.0)  # f = x_1 + x_2, at a KKT point of these two samples
    >>> found = universal_margin_perturbation(linear, torch.tensor([[1.0, 0.0], [0.0, -1.0]]), torch.tensor([1, 0]))
    >>> round(found.radius, 6), round(found.scale, 6)  # 1 / sqrt(2) twice
    (0.707107, 0.707107)
    """
    if not 0 <= margin_tol < math.inf:
        raise ValueError(f"margin_tol={margin_tol} given; it must be at least 0 and finite; 0.1 is usual.")
    margin = read_margin(model, x, pair=pair, y=y)
    margins, gradients = margin.gradient(margin.x)
    _refuse_misclassified(margins, margin)
    on_margin = margins <= (1 + margin_tol) * margins.min()
    flat = margin.x.flatten(1)
    norms, n = flat.norm(dim=1), len(flat)
    direction, mean_gradient = _directions(margin, gradients, on_margin)
    limit = FARTHEST * norms.max()
    radius = _common_radius(margin, direction, on_margin, limit)
    flips, trials = random_flips(margin, torch.where(on_margin, radius, torch.inf), NULL_DIRECTIONS, generator)
    reasons, residual = _kkt(model, margin)
    coherence = _coherence(flat)
    return UniversalPerturbation(
        direction=direction.reshape(margin.x.shape[1:]),
        radius=radius,
        sample_radius=smallest_radius(lambda r: _moved(margin, direction, r) < 0, limit.expand(n)),
        on_margin=on_margin,
        margins=margins,
        scale=float(norms.min()) / math.sqrt(n),
        gradient_radius=_common_radius(margin, mean_gradient, on_margin, limit),
        null_flips=flips,
        null_trials=trials,
        coherence=coherence,
        kkt_residual=residual,
        certificate=_certificate(margin, direction, radius, on_margin, residual),
        outcome=Outcome.CONVERGED if radius < math.inf else Outcome.BUDGET_SPENT,
        warnings=(*reasons, *_notes(norms, coherence, radius, residual)),
        source=(PAPER, KKT),
    )


def _directions(margin: DecisionMargin, gradients: Tensor, on_margin: Tensor) -> tuple[Tensor, Tensor]:
    """The direction of theory, sum y_i x_i over the margin set, and the mean gradient there; both of unit norm."""
    signed = [(margin.label[:, None] * each.flatten(1))[on_margin] for each in (margin.x, gradients)]
    return _unit(signed[0].sum(0)), _unit(signed[1].mean(0))


def _coherence(flat: Tensor) -> float:
    """n max |<x_i, x_j>| / R^2."""
    products = (flat @ flat.T).fill_diagonal_(0).abs()
    return len(flat) * float(products.max() / flat.norm(dim=1).min() ** 2)


def _unit(vector: Tensor) -> Tensor:
    """The vector over its norm; 0 stays 0, and no radius is found along it."""
    return vector / vector.norm().clamp(min=1e-300)


def _moved(margin: DecisionMargin, direction: Tensor, radius: Tensor) -> Tensor:
    """Margin of every sample after a step against its own class, of its own radius."""
    step = margin.label[:, None] * radius[:, None] * direction
    return margin.value(margin.x - step.reshape(margin.x.shape))


def _common_radius(margin: DecisionMargin, direction: Tensor, on_margin: Tensor, limit: Tensor) -> float:
    """Smallest radius at which all samples of the margin set have changed class."""

    def all_flipped(radius: Tensor) -> Tensor:
        return (_moved(margin, direction, radius.expand(len(margin.x)))[on_margin] < 0).all()[None]

    return float(smallest_radius(all_flipped, limit[None]))


def _refuse_misclassified(margins: Tensor, margin: DecisionMargin) -> None:
    wrong = int((margins <= 0).sum())
    if not wrong:
        return
    flat, plus = margin.x.flatten(1), margin.label > 0
    twins = (torch.cdist(flat[plus], flat[~plus]) == 0).any()
    cause = (
        "equal samples have different labels, so that no network can separate them; remove them"
        if bool(twins)
        else "is training not finished, or are these not its training samples? Keep the correctly classified ones"
    )
    raise ValueError(f"{wrong} of {len(margins)} samples are misclassified, and such samples have no margin: {cause}.")


def _kkt(model: nn.Module, margin: DecisionMargin) -> tuple[tuple[str, ...], float | None]:
    """Reasons why the theory does not cover this network, and the KKT residual where it does."""
    if margin.multiclass:
        return (
            "The KKT conditions are not checked for a pair of logits: they are stated for networks of one output.",
        ), None
    theory = check_theory(model, margin.x)
    if not theory.homogeneous:
        return theory.warnings, None
    if len(margin.x) > LARGEST_CHECK:
        return (f"The KKT residual was not computed: more than {LARGEST_CHECK} samples.",), None
    y = (margin.label > 0).long()
    try:
        best = stationarity(model, margin.x, y, loss="logistic", subgradient=Subgradient.CLARKE)
    except ValueError:  # not a chain of linear layers and ReLUs
        best = stationarity(model, margin.x, y, loss="logistic")
    return (), best.residual


def _certificate(
    margin: DecisionMargin, direction: Tensor, radius: float, on_margin: Tensor, residual: float | None
) -> Certificate:
    left = math.nan
    if radius < math.inf:
        step = torch.full((len(margin.x),), radius).to(margin.x)
        left = float(_moved(margin, direction, step)[on_margin].max())
    claims = [Claim("largest margin left when all samples move by the common radius", 0.0, left, "measured")]
    if residual is not None:
        claims.append(
            Claim("share of the weights that the KKT conditions leave unexplained", STATIONARY, residual, KKT.arxiv)
        )
    return Certificate(tuple(claims))


def _notes(norms: Tensor, coherence: float, radius: float, residual: float | None) -> Iterator[str]:
    if float(norms.max()) > 1.05 * float(norms.min()):
        yield (
            f"The samples' norms range from {float(norms.min()):.3g} to {float(norms.max()):.3g}; the theory assumes "
            "equal norms, and the scale was computed from the smallest."
        )
    if coherence > 1:
        yield (
            f"n max |<x_i, x_j>| / R^2 is {coherence:.3g}: the samples are not nearly orthogonal, so the theory does "
            "not guarantee a short common perturbation. The radius was measured all the same."
        )
    if math.isinf(radius):
        yield f"No common change of class within {FARTHEST} times the largest norm."
    if residual is not None and not residual <= STATIONARY:
        yield (
            f"{residual:.1%} of the weights are not explained by the KKT conditions: training is not near a KKT point, "
            "so the direction is a diagnostic here, not a prediction."
        )
