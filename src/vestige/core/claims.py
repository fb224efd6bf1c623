"""What a theorem promises beside what was measured; a certificate is a list of such claims."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """`measured` is promised to be at most `bound`, by `source` (paper and theorem)."""

    name: str
    bound: float | int
    measured: float | int
    source: str

    @property
    def holds(self) -> bool:
        """NaN compares false, so a broken measurement never holds.

        >>> Claim("width", 2, 2, "Theorem 3.1").holds, Claim("error", 1.0, float("nan"), "").holds
        (True, False)
        """
        return bool(self.measured <= self.bound)


@dataclass(frozen=True)
class Certificate:
    """Claims that are checked together."""

    claims: tuple[Claim, ...]

    @property
    def holds(self) -> bool:
        """Every claim holds, and there is one."""
        return bool(self.claims) and all(claim.holds for claim in self.claims)

    def table(self) -> str:
        """Plain text, one claim a line: verdict, name, measured, bound, source."""
        rows = [
            ("holds" if c.holds else "FAILS", c.name, f"{c.measured:.6g} <=", f"{c.bound:.6g}", c.source)
            for c in self.claims
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
