"""Which samples a network was trained on, by the stationarity equation of its weights.

Training adds multiples of its samples' gradients to the weights, so that W, as a regression on the gradients of all
candidates, has large coefficients at those that it was trained on. That multipliers tell membership is in arXiv
2510.10625 (non-negative least squares); the direction of cross-entropy, the Gram form and the studentized ridge
coefficients are this library's.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from vestige.core.cite import Paper, paper
from vestige.core.margins import Loss
from vestige.core.outcome import OnStep, Outcome, Step
from vestige.membership.blind import blind_auc
from vestige.membership.calibration import conformal_p_values, q_values
from vestige.membership.choice import Choice, choose, default_layers
from vestige.membership.coefficients import Coefficients, coefficients
from vestige.membership.cost import expected_seconds
from vestige.membership.notes import notes
from vestige.membership.outputs import output_scores
from vestige.membership.pool import Pool, pool_of
from vestige.membership.rows import Rows, Samples, Views, rows_of
from vestige.membership.taps import Layer, evaluation_copy, read_layers

SOURCE = (paper("2510.10625"), paper("1906.05890"))
CALIBRATED = (*SOURCE, paper("2208.06685"))
RIDGE = 0.03  # of a row's square; 0.1 to 0.01 differ little, and which is better depends on the network


@dataclass(frozen=True, eq=False, kw_only=True)
class Membership:
    """Scores of candidates, and what they are worth beside samples that the network never saw.

    Attributes:
        scores: of each candidate; larger speaks for a member.
        per_layer: studentized coefficients of each layer that was looked at.
        weights: what each layer counts for in `scores`, in standard deviations of its own.
        p_values: share of the reference that scores as high; None without reference.
        q_values: the smallest false discovery rate at which a candidate is named; None without reference.
        reference_scores: of the reference samples that p-values come from, those that choose layers left out; None
            without reference.
        blind_auc: AUC with which candidates and reference differ without the network; 1/2 is what p-values assume.
        blind_errors: by how many standard errors it is above 1/2.
        outcome: whether every layer's equation was solved.
        warnings: what the reader should know.
        source: the papers.
    """

    scores: Float[Tensor, " n"]
    per_layer: dict[str, Float[Tensor, " n"]]
    weights: dict[str, float]
    p_values: Float[Tensor, " n"] | None
    q_values: Float[Tensor, " n"] | None
    reference_scores: Float[Tensor, " m"] | None
    blind_auc: float | None
    blind_errors: float | None
    outcome: Outcome
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]

    def held(self, rate: float = 0.05) -> Int[Tensor, " k"]:
        """Candidates that are named at this false discovery rate, the surest first.

        Raises:
            ValueError: scores without a reference.
        """
        if self.q_values is None:
            raise ValueError("these scores have no reference, so none has an error rate; give reference to the scores.")
        order = self.scores.argsort(descending=True)
        return order[self.q_values[order] <= rate]


def membership_scores(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, "n ..."],
    *,
    loss: Loss | str,
    reference: tuple[Float[Tensor, "m ..."], Shaped[Tensor, "m ..."]] | None = None,
    layers: Iterable[str] | str = "auto",
    base: nn.Module | None = None,
    augment: Views | None = None,
    ridge: float | int = RIDGE,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Membership:
    """Score candidates by how much of the weights their gradients explain.

    With unit rows g_i = d <c_i, f(x_i)> / dW, c_i the direction that the loss sends back, the score of sample i is
    lambda_i / sqrt([(G G^T + r I)^-1]_ii), where lambda = (G G^T + r I)^-1 G w.

    Args:
        model: the trained network; it is evaluated in evaluation mode, and a BatchNorm is folded into the layer before.
        x: candidates, model space.
        y: their labels, or targets of a squared loss.
        loss: of the training.
        reference: samples of the same distribution that the network never saw, with labels. They make p-values, and
            choose among layers. None: scores alone.
        layers: names of layers; "auto": the dense ones and the last convolution, without reference the first of them.
            "auto" weighs what the outputs say too, as "loss" and for images "shifts", where it can: with a reference,
            and where no dense layer is hidden.
        base: the network before fine-tuning; W is measured from its weights.
        augment: gives the copies of a batch that training drew from, as one list; a candidate's gradient is their sum.
        ridge: r > 0; 1 is the square of a row.
        batch_size: samples that are run together; memory only.
        generator: deals the reference out; None for seed 0.
        on_step: called before each layer with the seconds that it will take, measured on a few of its rows.

    Returns:
        Scores, with p-values and q-values where there is a reference.

    Raises:
        ValueError: data that do not fit the model or hold NaN, a reference that holds candidates, unknown or frozen
            layers, a base that is another network or equal to the model, options out of range.

    Example:
        >>> linear = nn.Linear(3, 1, bias=False).double()
        >>> _ = linear.weight.data.copy_(torch.tensor([[2.0, 0.0, -1.0]]))
        >>> found = membership_scores(linear, torch.eye(3).double(), torch.tensor([1, 1, 0]), loss="logistic", ridge=1)
        >>> [round(s, 6) for s in found.per_layer[""].tolist()]  # lambda = (1, 0, 1/2), each variance 1/2
        [1.414214, 0.0, 0.707107]
    """
    if not (ridge > 0 and batch_size >= 1):
        raise ValueError(f"ridge={ridge} and batch_size={batch_size} given; a ridge is positive, a batch at least 1.")
    pool, loss = pool_of(x, y, reference), Loss(loss)
    net, start = evaluation_copy(model), None if base is None else _base(model, base)
    present, several = read_layers(net, _like(net, pool.x[:1])), reference is not None
    chosen = default_layers(present, layers, several=several, samples=len(pool.x))
    samples = Samples(net, pool.x, pool.y, loss, batch_size, augment)
    rows = rows_of(samples, chosen, start)
    found = _solved(rows, chosen, float(ridge), generator, on_step)
    views = {name: c.scores for name, c in found.items()}
    if layers == "auto" and (several or (loss.is_margin and chosen[0].kind != "dense")):
        views |= output_scores(net, pool.x, pool.y, loss, batch_size)
    choice = choose(views, pool, generator)
    blind = None if reference is None else blind_auc(x, y, *reference)
    remarks = notes(model, samples, pool, {k: each for k, each in rows.items() if choice.weights.get(k)}, blind)
    return _result(pool, found, choice, (None, None) if blind is None else blind, remarks)


def _base(model: nn.Module, base: nn.Module) -> nn.Module:
    """A copy of the base, once it is the same network with other weights."""
    ours, theirs = model.state_dict(), base.state_dict()
    if {k: t.shape for k, t in ours.items()} != {k: t.shape for k, t in theirs.items()}:
        raise ValueError("base has weights of other names or shapes; give the network that fine-tuning started from.")
    if all(torch.equal(ours[k], theirs[k].to(ours[k])) for k in ours):
        raise ValueError("base and model have the same weights: nothing was learned since. Is base the tuned network?")
    return evaluation_copy(base)


def _like(net: nn.Module, x: Tensor) -> Tensor:
    parameter = next(net.parameters(), None)
    if parameter is None:
        raise ValueError("the model has no parameters: there is nothing to explain.")
    return x.to(parameter.device, parameter.dtype)


def _solved(
    rows: dict[str, Rows], layers: list[Layer], ridge: float, generator: torch.Generator | None, on_step: OnStep | None
) -> dict[str, Coefficients]:
    found = {}
    for k, layer in enumerate(layers):
        each = rows[layer.name]
        if on_step is not None:
            seconds = expected_seconds(each)
            said = f"layer {layer.name}: {len(each):,} gradients, about {max(1, round(seconds)):,} s"
            on_step(Step(k + 1, len(layers), seconds, said))
        found[layer.name] = coefficients(each, ridge, generator=generator)
    return found


def _result(
    pool: Pool,
    found: dict[str, Coefficients],
    choice: Choice,
    blind: tuple[float | None, float | None],
    remarks: tuple[str, ...],
) -> Membership:
    outcomes = {c.outcome for c in found.values()}
    worst = next(o for o in (Outcome.NOT_FINITE, Outcome.BUDGET_SPENT, Outcome.CONVERGED) if o in outcomes)
    p = q = unseen = None
    scores = choice.scores[pool.of_candidate]
    if pool.unseen:
        unseen = choice.scores[choice.calibrating]
        each = conformal_p_values(choice.scores[: pool.candidates], unseen)
        p, q = each[pool.of_candidate], q_values(each)[pool.of_candidate]
    return Membership(
        scores=scores,
        per_layer={name: c.scores[pool.of_candidate] for name, c in found.items()},
        weights=choice.weights,
        p_values=p,
        q_values=q,
        reference_scores=unseen,
        blind_auc=blind[0],
        blind_errors=blind[1],
        outcome=worst,
        warnings=remarks,
        source=SOURCE if unseen is None else CALIBRATED,
    )
