"""The claims of a file that specifies points and targets, derived again in exact arithmetic."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from vestige.construct.file.check import STATED, Derived, Question
from vestige.construct.file.recompute import sizes_of, upwards, values_at
from vestige.construct.file.stored import Stored
from vestige.core.claims import Claim
from vestige.core.outcome import OnStep

THEOREM = "arXiv 2110.03187, Theorem 3.1"


def derive_interpolation(stored: Stored, question: Question) -> Derived:
    """The points that are off target, the largest error, and the network's sizes."""
    fields: Mapping[str, Any] = stored.fields
    index = chosen(len(fields["points"]), question.points)
    errors = _errors(stored, fields["points"][index], fields["targets"][index], question.on_step)
    tolerance = Fraction(fields["tolerance"])
    if tolerance < 0:
        raise ValueError(f"a tolerance of {float(tolerance):g}")
    promise = THEOREM if fields["source"] == THEOREM else STATED
    source = f"{promise}; {len(index):,} of {len(fields['points']):,} points"
    claims = (
        Claim("points off target", 0, sum(error > tolerance for error in errors), source),
        Claim("largest error", float(tolerance), upwards(max(errors)), source),
    )
    narrow = any(c.name == "width" and c.source == THEOREM for c in stored.certificate.claims)
    return Derived(claims, sizes_of(stored.layers), bounds={"width": ((12,), THEOREM)} if narrow else {})


def chosen(count: int, wanted: int | None) -> np.ndarray:
    """Positions of `wanted` of `count` points, spread evenly."""
    if wanted is None or wanted >= count:
        return np.arange(count)
    return np.linspace(0, count - 1, wanted).round().astype(int)


def _errors(stored: Stored, points: np.ndarray, targets: np.ndarray, on_step: OnStep | None) -> list[Fraction]:
    """Largest |output - target| at each point."""
    if targets.shape != (len(points), len(stored.layers[-1].neurons)):
        raise ValueError(f"targets of shape {targets.shape} for {len(points)} points")
    values = values_at(stored.layers, points, on_step)
    return [
        max(abs(v - Fraction(t)) for v, t in zip(row, wanted, strict=True))
        for row, wanted in zip(values, targets.tolist(), strict=True)
    ]
