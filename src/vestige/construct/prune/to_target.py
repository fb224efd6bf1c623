"""A given network out of a random one, by deleting weights only (arXiv 2002.00585).

Two random layers stand for each layer of the target: the first keeps one weight a neuron, the second a subset of the
products after it for each target weight. By subset sums (arXiv 2006.07990) about log2(1 / tolerance) random weights
are needed for each, and they are found exactly. The error is certified on the whole ball of inputs from the weights
that stay.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.construct.prune.approximation import Approximation
from vestige.construct.prune.compare import certify, checked_inputs, on_the_sphere, run_both
from vestige.construct.prune.gadget import Draw, Gadget, approximate, open_gadget
from vestige.construct.prune.masked_network import MaskedNetwork, Plan
from vestige.construct.prune.neurons import prune_neurons
from vestige.construct.prune.pruned import Pruned, PrunedLayer, pruned
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
from vestige.core.kkt import working_copy
from vestige.core.outcome import OnStep, Step
from vestige.core.relu_chain import Affine, read_relu_chain
from vestige.core.rng import spawn

TIGHTENINGS = 6  # of the tolerance, where the errors add up to more than expected
STORED_INPUTS = 16
DERIVED = "derived, see construct/prune/sup_error.py"


class Granularity(ChoiceEnum):
    """What a mask deletes: single WEIGHTS, or whole hidden NEURONS of a random two-layer network."""

    WEIGHTS = "weights"
    NEURONS = "neurons"


def prune_to_target(
    target: nn.Module,
    x: Float[Tensor, " n *feature"] | None = None,
    *,
    tolerance: float | int,
    method: PruneMethod | str = PruneMethod.SUBSET_SUM,
    granularity: Granularity | str = Granularity.WEIGHTS,
    radius: float | int | None = None,
    nonnegative: bool = False,
    rows: int | None = None,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Pruned:
    """Masks for a random network of twice the depth that make it the target: sup |pruned(x) - target(x)| <= tolerance.

    The supremum is over |x| <= radius (and x >= 0 if `nonnegative`), norms are l_2. It is certified in real
    arithmetic from the masked float32 weights; running them in float32 adds that format's rounding.

    Args:
        target: Linear layers with ReLU between them, in any float precision.
        x: inputs at which both networks are run as well; with neurons, the inputs to fit.
        tolerance: largest error of the outputs.
        method: subset_sum, exact and with the fewest random weights; greedy, from weights of every order of magnitude;
            random, the best single product; close, two factors that are each near, as the paper argues.
        granularity: "weights", or "neurons" of a random network with one hidden layer, which fits points but not a
            ball.
        radius: of the ball of inputs around 0; None for the largest norm in x, or 1 without x.
        nonnegative: inputs are >= 0, as pixels are; the first layer needs half as many rows.
        rows: random rows for each input and sign, and no second try; None for as many as needed. With neurons: the
            hidden neurons, by default 4 for each number to fit.
        generator: its seed makes the random network; None for seed 0.
        on_step: called when a layer has its masks, with the largest error of its weights.

    Returns:
        The construction: `network` holds the random network and its masks, `to_torch()` the pruned module.

    Raises:
        ValueError: layers other than Linear and ReLU; options out of range; a random network that is too small for
            the tolerance, or a tolerance out of reach, with the number that would do.

    Example:
        >>> target = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> found = prune_to_target(target, tolerance=0.01)
        >>> found.numbers["sampled_error"] <= found.numbers["certified_error"] <= 0.01
        True
    """
    layers, rule = read_relu_chain(target).affine(), PruneMethod(method)
    seed, inputs = spawn(generator, "prune").initial_seed(), checked_inputs(layers, x)
    if radius is None:
        radius = 1.0 if inputs is None else float(inputs.norm(dim=1).max())
    ball = checked_ball(tolerance, radius, nonnegative)
    if Granularity(granularity) is Granularity.NEURONS:
        return prune_neurons(target, layers, ball=ball, x=inputs, neurons=rows, seed=seed)
    if rows is not None and not 1 <= rows <= (MOST_ROWS if rule is PruneMethod.SUBSET_SUM else 10**6):
        raise ValueError(f"rows={rows} given; allowed are 1 to {MOST_ROWS}, or None for as many as are needed.")
    gadgets = _find_masks(layers, rule, seed, ball, rows, on_step)
    needed = required_width(target, tolerance, method=method, radius=radius, nonnegative=nonnegative)
    return _put_together(target, layers, gadgets, ball, inputs, needed)


def _put_together(
    target: nn.Module,
    layers: tuple[Affine, ...],
    gadgets: list[Gadget],
    ball: Ball,
    inputs: Tensor | None,
    needed: RequiredWidth,
) -> Pruned:
    """The random network made anew from its seed, the masks, and the certificate of what they leave."""
    network = MaskedNetwork(_plan(layers, gadgets), _named_masks(layers, gadgets))
    module, wanted = network.to_torch(), _wanted(target, layers, ball)
    errors = certify(layers, module, ball)
    found = {
        "target_weights": sum(map(numbers, layers)),
        "certified_error": errors[-1].bound,
        "sampled_error": run_both(target, module, ball, inputs),
    }
    notes = ("The certificate covers inputs >= 0 only.",) if ball.nonnegative else ()
    reports = tuple(map(_report, layers, gadgets, errors))
    return pruned(network, wanted, found, warnings=notes, layers=reports, required=needed)


def _plan(layers: tuple[Affine, ...], gadgets: list[Gadget]) -> Plan:
    return Plan(
        seed=gadgets[0].draw.seed,
        distribution=gadgets[0].draw.distribution,
        features=layers[0].weight.shape[1],
        hidden=tuple(len(gadget.column) for gadget in gadgets),
        out=tuple(len(layer.weight) for layer in layers),
        bias=tuple(layer.bias is not None for layer in layers),
        scale=tuple(gadget.draw.scale for gadget in gadgets),
    )


def _wanted(target: nn.Module, layers: tuple[Affine, ...], ball: Ball) -> Approximation:
    """What the pruned network must do; a few inputs go into its file, so that it says something without the target."""
    inputs = on_the_sphere(layers[0].weight.shape[1], ball, STORED_INPUTS, "stored inputs")
    with torch.no_grad():
        outputs = working_copy(target).cpu()(inputs)
    return Approximation(
        points=inputs.numpy(),
        values=outputs.numpy(),
        tolerance=ball.tolerance,
        source=DERIVED,
        radius=ball.radius,
        nonnegative=ball.nonnegative,
        layers=layers,
    )


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
        _check_reach(method, needed, ball.tolerance)
        for index, gadget in enumerate(gadgets):
            approximate(gadget, tolerances[index], needed[index], fixed=rows is not None)
            if on_step is not None:
                on_step(Step(index + 1, len(layers), float(gadget.error.max()), f"layer {index + 1}"))
        bound = _bound(layers, gadgets, ball)
        if bound <= ball.tolerance:
            return gadgets
        tolerances = [0.7 * tolerance * ball.tolerance / bound for tolerance in tolerances]
    raise ValueError(_too_small(ball.tolerance, bound, rows, method))


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
    """Each row keeps the entry of the column that owns it, if any product with it is kept."""
    mask = torch.zeros(gadget.first.shape, dtype=torch.bool)
    rows = gadget.keep.any(1).nonzero()[:, 0]
    mask[rows, torch.from_numpy(gadget.column)[rows]] = True
    return mask


def _named_masks(layers: tuple[Affine, ...], gadgets: list[Gadget]) -> dict[str, Tensor]:
    """By the names of `random_network`: Flatten, then Linear, ReLU, Linear, ReLU for each layer of the target."""
    masks = {}
    for index, (layer, gadget) in enumerate(zip(layers, gadgets, strict=True)):
        mask, features, place = _first_mask(gadget), layer.weight.shape[1], 1 + 4 * index
        masks[f"{place}.weight"] = mask[:, :features].clone()
        if layer.bias is not None:
            masks[f"{place}.bias"] = mask[:, features].clone()
        masks[f"{place + 2}.weight"] = gadget.keep.T.contiguous()
    return masks


def _report(layer: Affine, gadget: Gadget, error: LayerError) -> PrunedLayer:
    out, features = layer.weight.shape
    return PrunedLayer(
        features=features,
        out=out,
        target_weights=numbers(layer),
        hidden=len(gadget.column),
        random_weights=gadget.first.numel() + gadget.second.numel(),
        kept=int(_first_mask(gadget).sum()) + int(gadget.keep.sum()),
        scale=gadget.draw.scale,
        worst_weight=error.weight,
        operator_error=error.operator,
        bound=error.bound,
        retried=gadget.retried,
    )


def _check_reach(method: PruneMethod, needed: list[int], tolerance: float) -> None:
    if method is PruneMethod.SUBSET_SUM and max(needed) > MOST_ROWS:
        raise ValueError(
            f"tolerance={tolerance:g} asks for weights right to one part in 2^{max(needed) - 1}; the exact search goes "
            f"to 2^{MOST_ROWS - 1}. tolerance={tolerance * 2.0 ** (max(needed) - MOST_ROWS + 2):.2g} would do."
        )


def _too_small(tolerance: float, bound: float, rows: int | None, method: PruneMethod) -> str:
    enough = f"{1.01 * bound:.3g}"
    if rows is None:
        return f"the certified error stays at {bound:.3g}; tolerance={enough} would do, or method='subset_sum'."
    exact = method is PruneMethod.SUBSET_SUM
    more = rows + math.ceil(math.log2(bound / tolerance)) + 4 if exact else math.ceil(2 * rows * bound / tolerance)
    return (
        f"a random network of {rows} rows for each input and sign is too small: it certifies {bound:.3g}, not "
        f"tolerance={tolerance:g}. rows={more} or tolerance={enough} would do; rows=None takes as many as are needed."
    )
