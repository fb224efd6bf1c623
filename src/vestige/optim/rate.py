"""From noisy slopes and curvatures to a step size: averaged apart, divided once, and kept from jumping.

Along x - s v the loss is about f - s n + s^2 c / 2, with slope n = <grad f, v> and curvature c = <v, H v>; it is least
at s = n / c. Where the average slope is not positive the step shrinks, where only the curvature is not it grows: there
is no division by what may be zero.
"""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Probe:
    """One look along the direction of the next step.

    Attributes:
        step: steps taken before it.
        slope: of the loss against the direction, n over |v|^2; positive where the step descends.
        curvature: along the direction, c over |v|^2.
        rate: step size that came of it.
    """

    step: int
    slope: float
    curvature: float
    rate: float


PATIENCE = 10  # probes in a row that are not finite
RAMP = 10  # probes: from there on the past weighs more than half; curvature changes fast in the first steps


@dataclass
class Rate:
    """A step size and the averages that it comes from.

    Attributes:
        value: the step size.
        average: weight of the past in the averages, in [0, 1); less at first.
        growth: largest factor up between two probes, and the factor down where the loss rises along the step.
        low: smallest value.
        high: largest value.
        slope: running sum of slopes.
        curvature: likewise.
        found: whether a probe had positive slope and curvature; before that the growth has no limit.
        failures: probes in a row that were not finite.
        history: of all probes.
    """

    value: float
    average: float
    growth: float
    low: float
    high: float
    slope: float = 0.0
    curvature: float = 0.0
    found: bool = False
    failures: int = 0
    history: list[Probe] = field(default_factory=list)

    def __post_init__(self):
        if not (0 <= self.average < 1 and self.growth > 1 and 0 < self.low <= self.high < math.inf):
            raise ValueError(
                f"average={self.average}, growth={self.growth}, bounds ({self.low}, {self.high}) given; needed are "
                "0 <= average < 1, growth > 1 and 0 < low <= high."
            )

    def update(self, step: int, slope: float, curvature: float) -> None:
        """Take a probe in; one that is not finite is recorded and changes nothing.

        Raises:
            ValueError: ten in a row were not finite.
        """
        if math.isfinite(slope) and math.isfinite(curvature):
            self.failures = 0
            seen = len(self.history)
            past = min(self.average, (1 + seen) / (RAMP + seen))
            self.slope = past * self.slope + (1 - past) * slope
            self.curvature = past * self.curvature + (1 - past) * curvature
            self.value = self._next()
        else:
            self.failures += 1
        self.history.append(Probe(step, slope, curvature, self.value))
        if self.failures >= PATIENCE:
            raise ValueError(
                f"Slope or curvature was NaN or infinite in {PATIENCE} probes in a row, the last before step {step}. "
                "Is the loss NaN? Check the data and the start; a smaller `high` keeps steps short."
            )

    def _next(self) -> float:
        if self.slope <= 0:
            wanted = self.value / self.growth
        elif self.curvature <= 0:
            wanted = self.value * self.growth
        else:
            wanted = self.slope / self.curvature
            wanted = min(wanted, self.value * self.growth) if self.found else wanted
            self.found = True
        return min(max(wanted, self.low), self.high)

    def numbers(self) -> list[float]:
        """All that the next value depends on, and the history."""
        mine = [self.value, self.slope, self.curvature, float(self.found), float(self.failures)]
        return mine + [number for p in self.history for number in (float(p.step), p.slope, p.curvature, p.rate)]

    def take(self, numbers: list[float]) -> None:
        """Go to where they were read."""
        self.value, self.slope, self.curvature, found, failures, *rest = numbers
        self.found, self.failures = bool(found), int(failures)
        rows = zip(rest[::4], rest[1::4], rest[2::4], rest[3::4], strict=True)
        self.history = [Probe(int(step), *others) for step, *others in rows]
