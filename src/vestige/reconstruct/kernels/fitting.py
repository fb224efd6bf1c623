"""Points of any kernel machine, fitted to its scores by the published descent (arXiv 2505.19019)."""

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.cite import paper
from vestige.reconstruct.fingerprint import fingerprint
from vestige.reconstruct.kernels.deflation import HELD_OUT
from vestige.reconstruct.kernels.descent import fit_machine, local_misfit
from vestige.reconstruct.kernels.functions import Gaussian
from vestige.reconstruct.kernels.probing import PROBES
from vestige.reconstruct.kernels.result import QueryReconstruction
from vestige.reconstruct.kernels.task import Task

MANY = 8  # times the least number of queries
CHECKS = 4  # held-out queries close to each fitted point
NO_DISTANCE = "The error of a fitted point is what scores close to it leave unexplained, not a distance."


def fit_points(
    task: Task, *, pool: Float[Tensor, "m d"] | None, steps: int, bounds: tuple[Tensor, Tensor] | None
) -> QueryReconstruction:
    """Ask about many inputs, fit points and coefficients, and check them at held-out queries.

    Args:
        task: with n.
        pool: inputs to ask about; None draws normal ones around the center.
        steps: of the descent.
        bounds: least and greatest value of each entry, for the penalty.

    Raises:
        ValueError: no n, a Gaussian without its gamma, or too few queries.
    """
    box, kernel, n = task.box, task.kernel, _known_number(task)
    bounds = None if bounds is None else (bounds[0].flatten(), bounds[1].flatten())
    queries = _queries(task, n, pool)
    box.phase = "queries of the fit"
    z, unseen = queries[:-HELD_OUT], queries[-HELD_OUT:]
    scores = box(z)
    box.journal.save()
    part = box.journal.part(f"fit {fingerprint([kernel, z, scores, n, steps, bounds])}")
    found = fit_machine(
        kernel, z, scores, n, steps=steps, bounds=bounds, draw=task.generator, on_step=box.on_step, checkpoint=part
    )
    error = local_misfit(box, kernel, found, task.generator, tries=CHECKS)
    right = box(unseen)
    rest = right - kernel(unseen, found.points) @ found.coefficients
    order = error.argsort()
    return QueryReconstruction(
        points=found.points[order],
        coefficients=found.coefficients[order],
        error=error[order],
        validated=error[order] <= task.tolerance,
        misfit=float(rest.norm() / right.norm()),
        rank=0,
        singular_values=error.new_empty(0),
        queries=box.used,
        kernel=kernel,
        center=task.center,
        offset=task.offset,
        method="optimization",
        outcome=found.outcome,
        warnings=(*task.warnings, NO_DISTANCE),
        source=(paper("2505.19019"),),
    )


def _known_number(task: Task) -> int:
    if task.n is None:
        raise ValueError(f"n is not given; for {type(task.kernel).__name__} it cannot be read off the scores. Give n.")
    if isinstance(task.kernel, Gaussian) and task.kernel.gamma is None:
        raise ValueError("gamma is not given; the published solver needs it. Give rbf:gamma=..., or leave solver out.")
    return task.n


def _queries(task: Task, n: int, pool: Tensor | None) -> Tensor:
    """Inputs for the fit, and HELD_OUT more."""
    least = -(-n * (task.d + task.outputs) // task.outputs)
    count = int(min(MANY * least, task.box.most - task.box.used - (PROBES + CHECKS * n + HELD_OUT)))
    if pool is not None:
        count = min(count, len(pool) - HELD_OUT)
    if count < least:
        raise ValueError(
            f"{max(0, count)} queries to fit {n} points of {task.d} numbers with {task.outputs} outputs; fewer than "
            f"n (d + C) / C = {least} do not determine them, and {MANY} times as many help. Raise max_queries or give "
            "a larger pool."
        )
    unit = torch.randn(count + HELD_OUT, task.d, generator=task.generator, dtype=torch.float64)
    every = task.center + unit if pool is None else pool.detach().cpu().double()
    return torch.cat([every[:count], every[-HELD_OUT:]])
