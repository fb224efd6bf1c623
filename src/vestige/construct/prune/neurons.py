"""Deleting whole neurons of a random network with one hidden layer: enough to fit points, not to follow a network.

With hidden layer relu(M1 x + c) and output weights M2 a mask z over neurons gives sum_q z_q M2_q relu(...)_q, which
is linear in z. A basic solution of the linear program 0 <= z <= 1, outputs = targets, has at most as many
fractional entries as there are numbers to fit (one for each equation), and rounding those is all that goes wrong.
Away from the points such a network is a random-feature model (arXiv 2002.00585 and 1904.00687), and nothing is
promised there.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.optimize import linprog
from torch import Tensor, nn

from vestige.construct.prune.approximation import Approximation
from vestige.construct.prune.compare import run_both
from vestige.construct.prune.gadget import Draw
from vestige.construct.prune.masked_network import MaskedNetwork, Plan
from vestige.construct.prune.pruned import Pruned, PrunedLayer, pruned
from vestige.construct.prune.random_layers import Distribution
from vestige.construct.prune.sup_error import Ball
from vestige.core.kkt import working_copy
from vestige.core.relu_chain import Affine

FRACTIONAL = 1e-7  # farther than that from 0 and 1; the solver's own tolerance
NEURONS_PER_NUMBER = 4


def prune_neurons(
    target: nn.Module,
    layers: tuple[Affine, ...],
    *,
    ball: Ball,
    x: Float[Tensor, "n features"] | None,
    neurons: int | None,
    seed: int,
) -> Pruned:
    """A mask over the hidden neurons of a random network that gives the target's outputs at the points."""
    if x is None:
        raise ValueError("granularity='neurons' given without x; pass the inputs at which to fit the target.")
    with torch.no_grad():
        wanted = working_copy(target).cpu()(x)
    hidden = NEURONS_PER_NUMBER * wanted.numel() if neurons is None else neurons
    if hidden < wanted.numel():
        raise ValueError(
            f"{hidden} random neurons for {wanted.numel()} numbers ({len(x)} inputs, {wanted.shape[1]} outputs); "
            f"rows={NEURONS_PER_NUMBER * wanted.numel()} would do."
        )
    bias = any(layer.bias is not None for layer in layers)
    share, scale = _linear_program(Draw(seed, 0, Distribution.UNIFORM, 1.0), x, wanted, hidden, bias)
    plan = Plan(
        seed=seed,
        distribution=Distribution.UNIFORM,
        features=x.shape[1],
        hidden=(hidden,),
        out=(wanted.shape[1],),
        bias=(bias,),
        scale=(scale,),
    )
    network = MaskedNetwork(plan, _over_neurons(plan, torch.from_numpy(share >= 0.5)))
    wish = Approximation(
        points=x.numpy(), values=wanted.numpy(), tolerance=ball.tolerance, source="measured in float64"
    )
    fractional = int(((share > FRACTIONAL) & (share < 1 - FRACTIONAL)).sum())
    return _result(target, network, wish, (ball, x), fractional)


def _linear_program(
    draw: Draw, points: Tensor, wanted: Tensor, hidden: int, bias: bool
) -> tuple[NDArray[np.float64], float]:
    """Shares in [0, 1] that meet every equation, and the least power of two on M2 for which there are some.

    The smaller the output weights, the less rounding costs.
    """
    inputs = torch.cat([points, points.new_ones(len(points), 1)], 1) if bias else points
    feature = (inputs @ draw.first(hidden, inputs.shape[1]).double().T).relu()
    equations = (feature[:, None, :] * draw.second(hidden, wanted.shape[1]).double().T).reshape(-1, hidden).numpy()
    goal = wanted.reshape(-1).numpy()
    # The largest t for which some shares give t times the targets: output weights may be smaller by 1/t.
    gain = linprog(
        np.append(np.zeros(hidden), -1.0),
        A_eq=np.column_stack([equations, -goal]),
        b_eq=np.zeros(goal.size),
        bounds=[(0, 1)] * hidden + [(0, 2.0**40)],
        method="highs-ds",
    )
    if gain.status == 0 and gain.x[-1] > FRACTIONAL:
        scale = 2.0 ** math.ceil(-math.log2(gain.x[-1]))
        found = linprog(np.zeros(hidden), A_eq=equations, b_eq=goal / scale, bounds=(0, 1), method="highs-ds")
        if found.status == 0:
            return np.clip(found.x, 0.0, 1.0), scale
    raise ValueError(
        f"no shares of {hidden} random neurons give the {goal.size} numbers exactly; rows={4 * hidden} would do, "
        "unless two points are equal"
    )


def _over_neurons(plan: Plan, alive: Tensor) -> dict[str, Tensor]:
    """Every weight into and out of a neuron stays or goes with it."""
    into = {"1.weight": alive[:, None].expand(-1, plan.features).clone()}
    if plan.bias[0]:
        into["1.bias"] = alive.clone()
    return {**into, "3.weight": alive.expand(plan.out[0], -1).clone()}


def _result(
    target: nn.Module, network: MaskedNetwork, wish: Approximation, where: tuple[Ball, Tensor], fractional: int
) -> Pruned:
    plan, size = network.plan, sum(p.numel() for p in target.parameters())
    report = PrunedLayer(
        features=plan.features,
        out=plan.out[0],
        target_weights=size,
        random_weights=network.random_weights,
        kept=network.kept,
        hidden=plan.hidden[0],
        scale=plan.scale[0],
        worst_weight=math.nan,
        operator_error=math.nan,
        bound=math.nan,
        retried=0,
    )
    found = {
        "target_weights": size,
        "fractional_shares": fractional,
        "certified_error": math.nan,
        "sampled_error": run_both(target, network.to_torch(), *where),
    }
    notes = ["Nothing is certified away from the points; sampled_error is what was found there."]
    (claim,) = wish.check(network)
    if not claim.holds:
        more = 16 * plan.hidden[0]
        notes.append(f"At the points the error is {claim.measured:.3g}; rows={more} may bring a quarter of it.")
    return pruned(network, wish, found, warnings=tuple(notes), layers=(report,), required=None)
