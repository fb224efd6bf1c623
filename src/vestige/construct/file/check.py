"""An independent look at a construction's file: every claim is derived again from the file alone.

Nothing here trusts, or shares code with, what made the network: each kind has a checker, which derives its claims from
what the file stores. A claim that cannot be derived again fails.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from vestige.construct.file.stored import Stored
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import OnStep

ROUNDING = 1e-9  # relative: floats in a certificate are rounded to the safe side
DIGEST, CHANGED = "digests that differ", "claims that the file states otherwise"
LEFT_OUT = "claims left out, since they need the target"


class TargetError(ValueError):
    """A target that does not belong to the file."""


@dataclass(frozen=True, eq=False)
class Question:
    """What a user wants to know about a file.

    Attributes:
        points: how many points to check, at most; None for all.
        target: what the network stands for, where the file does not hold it.
        on_step: called with the number of points done.
    """

    points: int | None = None
    target: nn.Module | None = None
    on_step: OnStep | None = None


@dataclass(frozen=True, eq=False)
class Derived:
    """What a checker derived from a file.

    Attributes:
        claims: those that the kind demands, measured; whatever the file's own certificate says.
        sizes: further quantities that a certificate may claim something about, by name.
        left_out: names of claims that need a target, where none was given.
    """

    claims: tuple[Claim, ...]
    sizes: Mapping[str, float | int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def compare(stored: Stored, derived: Derived, *, sampled: bool = False) -> Certificate:
    """The kind's own claims, those of the file that are about something else, and whether the file is as written.

    Where only a sample of the points was looked at, what the file states of all may be larger.
    """
    measured: Mapping[str, float | int] = {**derived.sizes, **{c.name: c.measured for c in derived.claims}}
    own = {claim.name: abs(claim.bound) for claim in derived.claims}
    written = [c for c in stored.certificate.claims if c.name not in derived.left_out]
    others = [Claim(c.name, c.bound, measured.get(c.name, math.nan), c.source) for c in written if c.name not in own]
    pairs = [(c.measured, measured.get(c.name, math.nan), own.get(c.name, 0)) for c in written]
    off = sum(not (_close(*pair) or (sampled and pair[1] < pair[0])) for pair in pairs)
    count = len(derived.left_out)
    return Certificate(
        (
            *derived.claims,
            *others,
            *([Claim(LEFT_OUT, count, count, "give target=")] if count else []),
            Claim(CHANGED, 0, off, "measured by its maker, and here"),
            Claim(DIGEST, 0, int(not stored.intact), "SHA-256 of the content"),
        )
    )


def _close(a: float | int, b: float | int, bound: float | int) -> bool:
    """Equal up to rounding, of the numbers or of the bound that this derived: small differences of floats cancel."""
    scale = max(abs(a), abs(b), bound if bound < math.inf else 0)
    return a == b or bool(abs(a - b) <= ROUNDING * scale)
