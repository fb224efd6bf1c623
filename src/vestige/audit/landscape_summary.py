"""What a landscape's run keeps: plain numbers for its page, and tensors beside them."""

from typing import Any

import torch
from torch import Tensor

from vestige.audit.job import Tensors
from vestige.audit.learners import Learner
from vestige.audit.summary import number, numbers
from vestige.landscape.neuron.certificate import Fate
from vestige.landscape.neuron.descent import NeuronDescent, NeuronStatus
from vestige.landscape.neuron.laws import InputLaw
from vestige.landscape.neurons import Neurons
from vestige.landscape.overfitting.sweep import OverfittingProfile
from vestige.landscape.teacher_student.search import MinimaSearch
from vestige.landscape.teacher_student.splitting import grow, split_spectrum
from vestige.report.study import POINTS

GRID, GROWN = 41, 4  # points of a map in each direction; minima to which a neuron is added


def neuron_results(found: NeuronDescent, law: InputLaw, teacher: Neurons, w: Tensor) -> tuple[dict[str, Any], Tensors]:
    runs = len(found.status)
    pairs = list(zip(found.fate, found.status, strict=True))
    rows = [[str(fate), *(pairs.count((fate, status)) for status in NeuronStatus)] for fate in Fate]
    verdict = (
        f"{found.count('converged')} of {runs} starts learn the neuron, {found.count('doomed')} provably never will; "
        f"{found.count('dead')} are dead up to rounding and {found.count('slow')} on their way, which is no verdict."
    )
    bias = "without bias" if teacher.bias is None else f"with bias {float(teacher.bias):g}"
    tensors, note = _neuron_map(law, teacher, w)
    tensors |= {"student": found.student.weight, "distance": found.distance}
    return {
        "title": f"one neuron {bias} in {law.dimension} dimensions",
        "verdict": verdict,
        "facts": [
            ["starts", runs],
            ["proved to learn", found.fate.count(Fate.LEARNS)],
            ["proved to fail", found.count("doomed")],
        ],
        "tables": [
            {
                "title": "What was proved at the start, and what happened",
                "note": "One row for what the certificate says of the start. A run that was proved to learn and ended "
                "doomed would be a mistake of ours.",
                "columns": ["proved", *map(str, NeuronStatus)],
                "rows": rows,
            },
            _guarantees(found),
        ],
        "curves": [],
        "map": {"title": "The loss", "xlabel": "along the teacher", "ylabel": "across", "note": note},
        "warnings": [],
    }, tensors  # fmt: skip


def _guarantees(found: NeuronDescent) -> dict[str, Any]:
    return {
        "title": "Guarantees, checked on the way",
        "note": "The largest rise between two looks, over all runs.",
        "columns": ["claim", "bound", "measured", "holds"],
        "rows": [
            [claim.name, claim.bound, number(claim.measured), "yes" if claim.holds else "no"]
            for claim in found.certificate.claims
        ],
    }


def _neuron_map(law: InputLaw, teacher: Neurons, w: Tensor) -> tuple[Tensors, str]:
    """The loss in the plane of start and teacher, for the teacher's own bias."""
    reach = 1.6
    x, y = torch.linspace(-reach, reach, GRID).double(), torch.linspace(0.02, reach, GRID).double()
    grid = torch.zeros(GRID * GRID, 1, law.dimension, dtype=torch.float64)
    grid[:, 0, 0] = x.repeat(GRID) + 1e-9  # no weight is exactly 0
    if law.dimension > 1:
        grid[:, 0, 1] = y.repeat_interleave(GRID)
    bias = None if teacher.bias is None else teacher.bias.expand(GRID * GRID, 1).clone()
    values = torch.cat([
        law.loss(Neurons(part, None if bias is None else bias[: len(part)]), teacher) for part in grid.split(200)
    ])  # fmt: skip
    starts = torch.stack([w[:, 0], (w.norm(dim=1).square() - w[:, 0].square()).clamp_min(0).sqrt()], 1)
    tensors = {
        "map_x": x,
        "map_y": y,
        "map": values.reshape(GRID, GRID),
        f"{POINTS}teacher": torch.tensor([[1.0, 0.0]], dtype=torch.float64),
        f"{POINTS}starts": starts,
    }
    return tensors, "Level lines of the population loss in the plane of a start and the teacher, at the teacher's bias."


def minima_results(found: MinimaSearch, k: int, n: int, steps: int) -> tuple[dict[str, Any], Tensors]:
    teacher = Neurons(torch.eye(k, dtype=torch.float64))
    rows, losses, after = [], [], []
    for place, minimum in enumerate(found.minima):
        grown = number(grow(minimum.student, teacher, steps=steps).loss.min()) if place < GROWN else None
        bent = float(split_spectrum(minimum.student, teacher).curvature.min())
        blocks = "+".join(map(str, minimum.blocks))
        proof = minimum.certificate
        rows.append([blocks, minimum.loss, minimum.hits, proof.curvature, proof.distance, bent, grown])
        losses.append(minimum.loss)
        after.append(grown)
    return {
        "title": f"{n} neurons imitate {k} orthonormal ones",
        "verdict": f"{found.spurious} of {found.restarts} runs end in {_minima(len(found.minima))} proved not to be "
        f"global; {found.solved} reach the teacher, {found.unfinished} did not finish.",
        "facts": [
            ["runs", found.restarts],
            ["in a minimum that is not global", found.spurious],
            ["different ones", len(rows)],
        ],
        "tables": [
            {
                "title": "Minima that are not global",
                "note": "Neurons of equal length; loss; runs; proved: a lower bound on the curvature around, and the "
                "distance from the stored weights, at most. Then the curvature for splitting the best neuron (below 0: "
                "a saddle) and the loss that this leads to.",
                "columns": ["neurons", "loss", "runs", "curvature", "distance", "split", "then"],
                "rows": rows,
            }
        ],
        "curves": [_with_one_more(losses, after)] if rows else [],
        "map": None,
        "warnings": list(found.warnings),
    }, {"teacher": teacher.weight, **{f"minimum_{i}": found.minima[i].weight for i in range(len(rows))}}  # fmt: skip


def _minima(count: int) -> str:
    return "a minimum that is" if count < 2 else f"{count} minima that are"


def _with_one_more(losses: list[float], after: list[float | None]) -> dict[str, Any]:
    return {
        "title": "A neuron more",
        "x": list(range(1, len(losses) + 1)),
        "series": {"minimum": losses, "with one neuron more": after},
        "xlabel": "minimum",
        "ylabel": "loss",
        "note": "The best neuron is split, its halves moved apart, and gradient descent goes on until a loss of 0.001.",
    }


def profile_results(found: OverfittingProfile, chosen: Learner) -> tuple[dict[str, Any], Tensors]:
    mean, rows = found.error.mean(-1), []
    for i, d in enumerate(found.dims):
        for j, m in enumerate(found.sizes):
            fitted = found.exponents[i][j]
            low, high = map(number, fitted.interval)
            rows.append([d, m, *numbers(mean[i, j]), number(fitted.exponent), low, high])
    last = found.sizes.index(max(found.sizes))
    series = {f"d = {d}": numbers(mean[i, last]) for i, d in enumerate(found.dims)}
    verdicts = ", ".join(f"{verdict} at d = {d}" for d, verdict in zip(found.dims, found.verdicts, strict=True))
    return {
        "title": f"overfitting of {str(chosen).replace('_', ' ')}",
        "verdict": f"{verdicts[0].upper()}{verdicts[1:]}.",
        "facts": [["fits, all labels right", found.error.numel()], ["smallest margin", number(found.margin.min())]],
        "tables": [
            {
                "title": "Error on new inputs",
                "note": "Share of new inputs whose true label is lost, mean over the repeats; then the exponent of the "
                "noise and its 95 % interval.",
                "columns": ["d", "samples", *(f"noise {p:g}" for p in found.noise_levels), "exponent", "low", "high"],
                "rows": rows,
            }
        ],
        "curves": [
            {
                "title": "Error against noise",
                "x": list(found.noise_levels),
                "series": {"noise itself": list(found.noise_levels), **series},
                "xlabel": "share of labels flipped",
                "ylabel": "error",
                "note": "Largest number of samples. Benign: far below the noise; tempered: falls with it.",
            }
        ],
        "map": None,
        "warnings": list(found.warnings),
    }, {"error": found.error, "flipped": found.flipped, "margin": found.margin}  # fmt: skip
