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
STATED, NOT_DERIVED = "stated by the file", "numbers that are not derived"


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
        bounds: what theory promises of the sizes, by name: bounds that may be claimed, and their source.
        numbers: the method's numbers, as far as they follow from the file's content.
    """

    claims: tuple[Claim, ...]
    sizes: Mapping[str, float | int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    bounds: Mapping[str, tuple[tuple[float | int, ...], str]] = field(default_factory=dict)
    numbers: Mapping[str, float | int] = field(default_factory=dict)


def compare(stored: Stored, derived: Derived, *, sampled: bool = False) -> Certificate:
    """The kind's own claims, those of the file that are about something else, and whether the file is as written.

    A bound of theory is the one derived here, whatever the file says; one that nothing here derives is printed as
    stated by the file. Where only a sample of the points was looked at, what the file states of all may be larger.
    """
    measured: Mapping[str, float | int] = {**derived.sizes, **{c.name: c.measured for c in derived.claims}}
    own = {claim.name: claim for claim in derived.claims}
    written = [c for c in stored.certificate.claims if c.name not in derived.left_out]
    others = [_other(c, measured.get(c.name, math.nan), derived) for c in written if c.name not in own]
    pairs = [(c.measured, measured.get(c.name, math.nan), _scale(own.get(c.name))) for c in written]
    off = sum(not (_close(*pair) or (sampled and pair[1] < pair[0])) for pair in pairs)
    bounds = {claim.name: claim.bound for claim in (*others, *derived.claims)}
    off += sum(not (_close(c.bound, bounds[c.name], 0) or (sampled and bounds[c.name] > c.bound)) for c in written)
    shared = stored.numbers.keys() & derived.numbers.keys()
    numbers = [(stored.numbers[name], derived.numbers[name]) for name in shared]
    off += sum(not (_close(a, b, 0) or (sampled and b < a)) for a, b in numbers)
    rest = sorted(stored.numbers.keys() - shared)
    count = len(derived.left_out)
    return Certificate(
        (
            *derived.claims,
            *others,
            *([Claim(LEFT_OUT, count, count, "give target (--target)")] if count else []),
            *([Claim(NOT_DERIVED, len(rest), len(rest), f"{STATED}: {', '.join(rest)}")] if rest else []),
            Claim(CHANGED, 0, off, "measured by its maker, and here"),
            Claim(DIGEST, 0, int(not stored.intact), "SHA-256 of the content"),
        )
    )


def _other(claim: Claim, measured: float | int, derived: Derived) -> Claim:
    """A claim about a size: its bound is from theory, if theory has one."""
    if claim.name not in derived.bounds:
        return Claim(claim.name, claim.bound, measured, STATED)
    bounds, source = derived.bounds[claim.name]
    return Claim(claim.name, claim.bound if claim.bound in bounds else max(bounds), measured, source)


def _scale(claim: Claim | None) -> float | int:
    return 0 if claim is None else abs(claim.bound)


def _close(a: float | int, b: float | int, bound: float | int) -> bool:
    """Equal up to rounding, of the numbers or of the bound that this derived: small differences of floats cancel."""
    scale = max(abs(a), abs(b), bound if bound < math.inf else 0)
    return a == b or bool(abs(a - b) <= ROUNDING * scale)
