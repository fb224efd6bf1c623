"""An independent look at a construction's file: every claim is derived again from the file alone.

Nothing here trusts, or shares code with, what made the network: `recompute` evaluates it a second way, and each kind of
specification has a function that derives its claims from the layers and the specification. A claim that cannot be
derived again fails.
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vestige.construct.file.check_balls import ball_claims_again
from vestige.construct.file.check_narrow import narrow_claims
from vestige.construct.file.recompute import sizes_of, upwards, values_at
from vestige.construct.file.stored import Stored, read_stored
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import OnStep
from vestige.nets.weights_file import CheckpointError

ROUNDING = 1e-9  # relative: floats in a certificate are rounded to the safe side
DIGEST, CHANGED = "digests that differ", "claims that the file states otherwise"


def verify_construction(path: Path | str, *, points: int | None = None, on_step: OnStep | None = None) -> Certificate:
    """Derive every claim of a construction's file again, in exact arithmetic.

    Args:
        path: a file that `save_construction` wrote.
        points: look at so many points at most, spread evenly; None for all. The claims say how many.
        on_step: told the number of points done.

    Returns:
        What the specification demands, the file's own claims measured anew (NaN where this cannot derive one, so that
        it fails), and that the file is as it was written.

    Raises:
        CheckpointError: the file is damaged, or of a kind that this vestige does not know.
    """
    if points is not None and points < 1:
        raise ValueError(f"points={points} given; at least one must be looked at. None looks at all.")
    stored = read_stored(path)
    if stored.kind not in DERIVE:
        raise CheckpointError(
            f"{path} specifies {stored.kind[:80]!r}; claims of {', '.join(DERIVE)} can be derived. Is vestige too old?"
        )
    try:
        demanded = DERIVE[stored.kind](stored, points, on_step)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
        raise CheckpointError(f"{path}: its specification is not one of {stored.kind!r}: {error}") from error
    return Certificate((*_all(stored, demanded), Claim(DIGEST, 0, int(not stored.intact), "SHA-256 of the content")))


def _all(stored: Stored, demanded: tuple[Claim, ...]) -> tuple[Claim, ...]:
    """The kind's own claims, then those of the file that are about something else."""
    measured: Mapping[str, float | int] = {**sizes_of(stored.layers), **{c.name: c.measured for c in demanded}}
    own = {claim.name for claim in demanded}
    written = stored.certificate.claims
    others = [Claim(c.name, c.bound, measured.get(c.name, math.nan), c.source) for c in written if c.name not in own]
    off = sum(not _close(c.measured, measured.get(c.name, math.nan)) for c in written)
    return (*demanded, *others, Claim(CHANGED, 0, off, "measured by its maker, and here"))


def _close(a: float | int, b: float | int) -> bool:
    return a == b or bool(abs(a - b) <= ROUNDING * max(abs(a), abs(b)))


def chosen(count: int, wanted: int | None) -> np.ndarray:
    """Positions of `wanted` of `count` points, spread evenly."""
    if wanted is None or wanted >= count:
        return np.arange(count)
    return np.linspace(0, count - 1, wanted).round().astype(int)


def errors_at(stored: Stored, points: np.ndarray, targets: np.ndarray, on_step: OnStep | None = None) -> list[Fraction]:
    """Largest |output - target| at each point."""
    if targets.shape != (len(points), len(stored.layers[-1].neurons)):
        raise ValueError(f"targets of shape {targets.shape} for {len(points)} points")
    values = values_at(stored.layers, points, on_step)
    return [
        max(abs(v - Fraction(t)) for v, t in zip(row, wanted, strict=True))
        for row, wanted in zip(values, targets.tolist(), strict=True)
    ]


def _interpolation(stored: Stored, points: int | None, on_step: OnStep | None) -> tuple[Claim, ...]:
    fields: Mapping[str, Any] = stored.fields
    index = chosen(len(fields["points"]), points)
    errors = errors_at(stored, fields["points"][index], fields["targets"][index], on_step)
    tolerance = Fraction(fields["tolerance"])
    source = f"{fields['source']}; {len(index):,} of {len(fields['points']):,} points"
    return (
        Claim("points off target", 0, sum(error > tolerance for error in errors), source),
        Claim("largest error", float(tolerance), upwards(max(errors)), source),
    )


DERIVE: Mapping[str, Callable[[Stored, int | None, OnStep | None], tuple[Claim, ...]]] = {
    "interpolation": _interpolation,
    "balls": ball_claims_again,
    "narrow": narrow_claims,
}
