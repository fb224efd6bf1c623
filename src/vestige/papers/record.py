"""What `vestige papers` says of one paper."""

from dataclasses import dataclass

from vestige.core.cite import Paper


@dataclass(frozen=True)
class Record:
    """A paper, the public functions that carry its method, and how far that is.

    `status` begins with "works" only when every function named is importable from the top and tested;
    otherwise with "missing: " and what will be there.
    """

    paper: Paper
    functions: tuple[str, ...]
    status: str

    def __post_init__(self):
        if not (self.status.startswith("works") or self.status.startswith("missing: ")):
            raise ValueError(
                f"status {self.status!r} of {self.paper.arxiv} given; it begins with 'works' or with 'missing: ' "
                "and what will be there."
            )

    @property
    def works(self) -> bool:
        """Whether the method can be used today."""
        return self.status.startswith("works")

    def row(self) -> dict[str, object]:
        """The row that `vestige papers --json` prints."""
        return {
            "paper": self.paper.arxiv,
            "title": self.paper.title,
            "functions": list(self.functions),
            "status": self.status,
        }
