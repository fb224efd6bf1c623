"""In which floating-point types a constructed transformer still gives the right answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Num
from torch import Tensor

from vestige.construct.construction import Construction
from vestige.construct.transformer.computes import Computes
from vestige.core.outcome import OnStep

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, eq=False)
class PrecisionSweep:
    """How often the outputs were right, in each dtype.

    Attributes:
        dtypes: that were tried.
        exact_rates: share of inputs whose output is right.
        largest_errors: of an output; NaN or infinite where the dtype overflows.
        counterexamples: the first input whose output is wrong, None where there is none.
    """

    dtypes: tuple[torch.dtype, ...]
    exact_rates: tuple[float, ...]
    largest_errors: tuple[float, ...]
    counterexamples: tuple[Tensor | None, ...]


def precision_sweep(
    construction: Construction,
    x: Num[Tensor, "batch n ..."] | None = None,
    *,
    dtypes: Sequence[torch.dtype] = DTYPES,
    on_step: OnStep | None = None,
) -> PrecisionSweep:
    """Run a constructed transformer in several dtypes, weights and arithmetic, and compare with the right answers.

    Args:
        construction: of a transformer.
        x: inputs, ids or a vector for each token; None for those that its specification stores.
        dtypes: of torch; bfloat16 and float16 have 8 and 11 bits of mantissa.
        on_step: told the number of inputs done, for each dtype anew.

    Raises:
        ValueError: a construction that is no transformer, or no dtype.

    >>> from vestige.construct.transformer.counting.counter import build_counter
    >>> sweep = precision_sweep(build_counter(200, 256), dtypes=[torch.float32, torch.bfloat16])
    >>> sweep.exact_rates[0], sweep.exact_rates[1] < 0.9
    (1.0, True)
    """
    specification = construction.specification
    if not isinstance(specification, Computes) or not dtypes:
        raise ValueError(
            f"kind {specification.kind!r}, {len(dtypes)} dtypes given; a transformer and a dtype are needed."
        )
    if x is not None:
        specification = replace(specification, points=(x.detach().cpu().numpy(),))
    inputs = [torch.from_numpy(row) for group in specification.points for row in group]
    rates, errors, wrong = [], [], []
    for dtype in dtypes:
        found = specification.errors(construction.network, dtype, on_step)
        off = [k for k, error in enumerate(found) if specification.off(error[None])]
        rates.append(1 - len(off) / len(found))
        errors.append(float(found.max()))
        wrong.append(inputs[off[0]] if off else None)
    return PrecisionSweep(tuple(dtypes), tuple(rates), tuple(errors), tuple(wrong))
