"""Any ReLU network as a narrow deep one: equal everywhere, or near it at far less depth (arXiv 2202.03841)."""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from vestige.construct.exact.exact_construction import ExactConstruction
from vestige.construct.narrowing.agreement import flat_points
from vestige.construct.narrowing.equal import narrow_equal
from vestige.construct.narrowing.equal_layers import ExactWidth
from vestige.construct.narrowing.near import narrow_near
from vestige.construct.narrowing.near_layers import NearWidth
from vestige.construct.narrowing.promise import read_promise
from vestige.core.outcome import OnStep
from vestige.core.relu_chain import read_relu_chain


def narrow(
    model: nn.Module,
    x: Float[Tensor, "n ..."] | None = None,
    *,
    exact: bool = True,
    width: ExactWidth | NearWidth | str | None = None,
    tolerance: float | int | None = None,
    delta: float | int | None = None,
    radius: float | int | None = None,
    density: float | int | None = None,
    weight_bound: int | None = None,
    max_depth: int = 20_000,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> ExactConstruction:
    """Rewrite a chain of linear layers and ReLUs, of d inputs, L layers and hidden width n >= d, as a narrow one.

    exact=True gives the same function on all of R^d (with width="2d+2" up to the rounding of its weights), of width
    2 (d + L - 1) and depth 1 + n (1 + n (... (1 + n))), less than (2n)^(L-1) + 2. exact=False gives one within
    tolerance, except on inputs of probability delta, of width max(5d, 10) or max(d + 2, 10) and a depth that grows with
    n^2 L log(1 / tolerance) in place of n^(L-1).

    Args:
        model: nn.Sequential of nn.Linear and nn.ReLU; left as it is.
        x: inputs at which the result is checked: all safe ones exactly; with exact=True all in float64 and 64 exactly.
            Default: drawn at four sizes, or uniformly from the box.
        exact: equal everywhere, or near.
        width: "2d+2" (default) or "2d+3" if exact. The first has quotients of the model's weights, rounded to float64:
            outputs are off by about 1e-12 of the largest one on inputs of one scale, and by more where a bias is far
            larger than the weights. The second is one wider and divides nowhere: its weights are the model's, not one
            is rounded, and the two functions are equal. Else "5d" (default) or "d+2".
        tolerance: largest error on safe inputs, > 0; default 0.01. Only for exact=False, as are the next four.
        delta: probability of inputs that are not safe, in (0, 1); default 0.01.
        radius: inputs have coordinates in [-radius, radius]; default: the largest in x.
        density: the inputs' density is nowhere larger; default: that of the uniform distribution on the box.
        weight_bound: no weight exceeds it, a power of two from 2 on; the outputs stay the same, bit for bit.
        max_depth: refuse a network with more layers of weights.
        generator: of the inputs that are drawn.
        on_step: called while the result is checked.

    Returns:
        The network in exact arithmetic. `specification.is_safe(x)` says which inputs are safe, and
        `to_torch(exact=False)` gives a module; in float64 that is accurate for exact=True only. Among the `numbers` are
        its sizes; c0, c and the errors for exact=False.

    Raises:
        ValueError: a model that is not such a chain, d > n, an option that does not belong or is out of range, inputs
            outside the box, or a network deeper than max_depth; each names what would work.

    >>> from vestige.nets.fully_connected import mlp
    >>> built = narrow(mlp([2, 5, 1]))
    >>> built.network.width, built.network.depth, built.certificate.holds
    (6, 6, True)
    """
    chain = read_relu_chain(model)
    if chain.depth < 2:
        raise ValueError("the network has 1 linear layer; at least 2 are needed. One layer has no width to reduce.")
    if chain.inputs > max(chain.hidden):
        raise ValueError(
            f"the network has {chain.inputs} inputs and hidden width {max(chain.hidden)}; inputs up to the width are "
            f"allowed, since it is narrow already. A hidden width of {chain.inputs} would work."
        )
    points = None if x is None else _checked(x, chain.inputs)
    given = {"tolerance": tolerance, "delta": delta, "radius": radius, "density": density, "weight_bound": weight_bound}
    if exact:
        named = ", ".join(name for name, value in given.items() if value is not None)
        if named:
            raise ValueError(f"{named} given with exact=True, which needs none of it; did you mean exact=False?")
        return narrow_equal(chain, points, ExactWidth(width or ExactWidth.ROTATING), max_depth, generator, on_step)
    wanted = read_promise(chain.inputs, points, **given)
    kind = NearWidth(width or NearWidth.SIDE_BY_SIDE)
    return narrow_near(chain, points, wanted, kind, max_depth, generator, on_step)


def _checked(x: Tensor, inputs: int) -> NDArray[np.float64]:
    points = flat_points(x, inputs)
    bad = int((~np.isfinite(points)).sum())
    if bad:
        raise ValueError(f"x holds {bad} NaN or infinite coordinates; look for missing values in the data.")
    return points
