"""Options that several reconstructions share."""

from vestige.core.choices import ChoiceEnum


class Solver(ChoiceEnum):
    """Which method solves for the training data.

    DEFAULT: ours. PUBLISHED: the procedure of the papers, at their settings.
    """

    DEFAULT = "default"
    PUBLISHED = "published"


def check_counts(**given: int | None) -> None:
    """Refuse a number of things below 1; None stands for a default."""
    for name, value in given.items():
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} given; {name} must be at least 1.")
