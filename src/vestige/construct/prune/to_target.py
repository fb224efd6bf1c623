"""A given network out of a random one, by deleting weights only (arXiv 2002.00585).

Two random layers stand for each layer of the target: the first keeps one weight a neuron, the second a subset of the
products behind it for each target weight. By subset sums (arXiv 2006.07990) about log2(1 / tolerance) random weights
are needed for each, and they are found exactly. The error is certified on the whole ball of inputs from the weights
that stay.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.construct.prune.compare import certify, checked_points, run_both
from vestige.construct.prune.gadget import Draw, Gadget, approximate, open_gadget
from vestige.construct.prune.neurons import prune_neurons
from vestige.construct.prune.pruned import Plan, Pruned, PrunedLayer, linears, masked, random_network
from vestige.construct.prune.random_layers import Distribution
from vestige.construct.prune.subset_sum import PruneMethod
from vestige.construct.prune.sup_error import Ball, LayerError, checked_ball, stand_in, sup_error
from vestige.construct.prune.width import (
    MOST_ROWS,
    RequiredWidth,
    numbers,
    required_width,
    rows_for,
    scale_of,
    weight_tolerances,
)
from vestige.core.choices import ChoiceEnum
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import OnStep, Outcome, Step
from vestige.core.relu_chain import Affine, read_relu_chain
from vestige.core.rng import spawn

TIGHTENINGS = 6  # of the tolerance, where the errors add up to more than expected
DERIVED = "derived, see construct/prune/sup_error.py"


class Granularity(ChoiceEnum):
    """What a mask deletes: single WEIGHTS, or whole hidden NEURONS of a random two-layer network."""

    WEIGHTS = "weights"
    NEURONS = "neurons"


def prune_to_target(
    target: nn.Module,
    *,
    epsilon: float | int,
    method: str = "subset_sum",
    granularity: str = "weights",
    radius: float | int = 1.0,
    nonnegative: bool = False,
    rows: int | None = None,
    points: Float[Tensor, " n *feature"] | None = None,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Pruned:
    """Masks for a random network of twice the depth that make it the target: sup |pruned(x) - target(x)| <= epsilon.

    The supremum is over |x| <= radius (and x >= 0 if `nonnegative`), norms are l_2. It is certified in real
    arithmetic from the masked float32 weights; running them in float32 adds that format's rounding.

    Args:
        target: Linear layers with ReLU between them, in any float precision.
        epsilon: the error asked for.
        method: subset_sum, exact and with the fewest random weights; greedy, from weights of every order of magnitude;
            random, the best single product; close, two factors that are each near, as the paper argues.
        granularity: "weights", or "neurons" of a random network with one hidden layer, which fits points but not a
            ball.
        radius: of the ball of inputs around 0; the largest norm of the data.
        nonnegative: inputs are >= 0, as pixels are; the first layer needs half as many rows.
        rows: random rows for each input and sign, and no second try; None for as many as needed. With neurons: the
            hidden neurons, by default 4 for each number to fit.
        points: inputs at which both networks are run as well; with neurons, the inputs to fit.
        generator: its seed makes the random network; None for seed 0.
        on_step: called when a layer has its masks, with the largest error of its weights.

    Returns:
        Pruned, with the random network, its masks and the certificate.

    Raises:
        ValueError: layers other than Linear and ReLU; options out of range; a random network that is too small for
            epsilon, or an epsilon out of reach, with the number that would do.

    Example:
        >>> target = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> found = prune_to_target(target, epsilon=0.01)
        >>> found.sampled_error <= found.certified_error <= 0.01
        True
    """
    layers, rule = read_relu_chain(target).affine(), PruneMethod(method)
    ball = checked_ball(epsilon, radius, nonnegative)
    seed, probes = spawn(generator, "prune").initial_seed(), checked_points(layers, points)
    if Granularity(granularity) is Granularity.NEURONS:
        return prune_neurons(target, layers, ball=ball, points=probes, neurons=rows, seed=seed)
    if rows is not None and not 1 <= rows <= (MOST_ROWS if rule is PruneMethod.SUBSET_SUM else 10**6):
        raise ValueError(f"rows={rows} given; allowed are 1 to {MOST_ROWS}, or None for as many as are needed")
    gadgets = _find_masks(layers, rule, seed, ball, rows, on_step)
    needed = required_width(target, epsilon, method=method, radius=radius, nonnegative=nonnegative)
    return _put_together(target, layers, gadgets, (ball, probes, needed))


def _put_together(
    target: nn.Module,
    layers: tuple[Affine, ...],
    gadgets: list[Gadget],
    asked: tuple[Ball, Tensor | None, RequiredWidth],
) -> Pruned:
    """The random network made anew from its seed, the masks, and the certificate of what they leave."""
    ball, probes, needed = asked
    plan = Plan(
        gadgets[0].draw.seed,
        gadgets[0].draw.distribution,
        layers[0].weight.shape[1],
        tuple(len(gadget.column) for gadget in gadgets),
        tuple(len(layer.weight) for layer in layers),
        tuple(layer.bias is not None for layer in layers),
        tuple(gadget.draw.scale for gadget in gadgets),
    )
    network = random_network(plan)
    masks = _named_masks(network, gadgets)
    module = masked(network, masks)
    errors, sampled = certify(layers, module, ball), run_both(target, module, ball, probes)
    bound = errors[-1].bound
    claims = (
        Claim("error anywhere in the ball, l_2", ball.epsilon, bound, DERIVED),
        Claim("error found by running both networks", bound, sampled, "measured in float64"),
    )
    reports = tuple(map(_report, layers, gadgets, errors))
    warnings = ("The certificate speaks for inputs >= 0 only.",) if ball.nonnegative else ()
    certificate, done = Certificate(claims), Outcome.CONVERGED
    return Pruned(network, masks, plan, ball, bound, sampled, reports, needed, certificate, done, warnings)


def _find_masks(
    layers: tuple[Affine, ...],
    method: PruneMethod,
    seed: int,
    ball: Ball,
    rows: int | None,
    on_step: OnStep | None,
) -> list[Gadget]:
    """Subsets for every weight, with tighter tolerances until their errors together are certified."""
    distribution = Distribution.HYPERBOLIC if method is PruneMethod.GREEDY else Distribution.UNIFORM
    gadgets = [
        open_gadget(
            layer,
            Draw(seed, index, distribution, scale_of(layer, method)),
            method,
            signed=index == 0 and not ball.nonnegative,
        )
        for index, layer in enumerate(layers)
    ]
    tolerances, count, bound = weight_tolerances(layers, ball), sum(map(numbers, layers)), math.inf
    for _ in range(TIGHTENINGS if rows is None else 1):
        needed = [rows or rows_for(method, t / g.draw.scale, count) for t, g in zip(tolerances, gadgets, strict=True)]
        _check_reach(method, needed, ball.epsilon)
        for index, gadget in enumerate(gadgets):
            approximate(gadget, tolerances[index], needed[index], fixed=rows is not None)
            if on_step is not None:
                on_step(Step(index + 1, len(layers), float(gadget.error.max()), f"layer {index + 1}"))
        bound = _bound(layers, gadgets, ball)
        if bound <= ball.epsilon:
            return gadgets
        tolerances = [0.7 * tolerance * ball.epsilon / bound for tolerance in tolerances]
    raise ValueError(_too_small(ball.epsilon, bound, rows, method))


def _bound(layers: tuple[Affine, ...], gadgets: list[Gadget], ball: Ball) -> float:
    """The certificate before the network is put together."""
    found = []
    for layer, gadget in zip(layers, gadgets, strict=True):
        features = layer.weight.shape[1]
        first = gadget.first * _first_mask(gadget)
        constant = None if layer.bias is None else first[:, features]
        found.append(stand_in(first[:, :features], constant, (gadget.second * gadget.keep).T))
    return sup_error(layers, tuple(found), ball)[-1].bound


def _first_mask(gadget: Gadget) -> Tensor:
    """Each row keeps the entry of the column that owns it, if any product behind it is kept."""
    mask = torch.zeros(gadget.first.shape, dtype=torch.bool)
    rows = gadget.keep.any(1).nonzero()[:, 0]
    mask[rows, torch.from_numpy(gadget.column)[rows]] = True
    return mask


def _named_masks(network: nn.Sequential, gadgets: list[Gadget]) -> dict[str, Tensor]:
    masks = {}
    for (first_name, first, second_name, _), gadget in zip(linears(network), gadgets, strict=True):
        mask = _first_mask(gadget)
        masks[f"{first_name}.weight"] = mask[:, : first.in_features].clone()
        if first.bias is not None:
            masks[f"{first_name}.bias"] = mask[:, first.in_features].clone()
        masks[f"{second_name}.weight"] = gadget.keep.T.contiguous()
    return masks


def _report(layer: Affine, gadget: Gadget, error: LayerError) -> PrunedLayer:
    out, features = layer.weight.shape
    return PrunedLayer(
        features,
        out,
        numbers(layer),
        len(gadget.column),
        gadget.first.numel() + gadget.second.numel(),
        int(_first_mask(gadget).sum()) + int(gadget.keep.sum()),
        gadget.draw.scale,
        error.weight,
        error.operator,
        error.bound,
        gadget.retried,
    )


def _check_reach(method: PruneMethod, needed: list[int], epsilon: float) -> None:
    if method is PruneMethod.SUBSET_SUM and max(needed) > MOST_ROWS:
        raise ValueError(
            f"epsilon={epsilon:g} asks for weights right to one part in 2^{max(needed) - 1}; the exact search goes to "
            f"2^{MOST_ROWS - 1}. epsilon={epsilon * 2.0 ** (max(needed) - MOST_ROWS + 2):.2g} would do"
        )


def _too_small(epsilon: float, bound: float, rows: int | None, method: PruneMethod) -> str:
    enough = f"{1.01 * bound:.3g}"
    if rows is None:
        return f"the certified error stays at {bound:.3g}; epsilon={enough} would do, or method='subset_sum'"
    exact = method is PruneMethod.SUBSET_SUM
    more = rows + math.ceil(math.log2(bound / epsilon)) + 4 if exact else math.ceil(2 * rows * bound / epsilon)
    return (
        f"a random network of {rows} rows for each input and sign is too small: it certifies {bound:.3g}, not "
        f"epsilon={epsilon:g}. rows={more} or epsilon={enough} would do; rows=None takes as many as are needed"
    )
