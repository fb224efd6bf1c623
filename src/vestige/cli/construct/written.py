"""What the verbs of `vestige construct` share: samples in, and at the end a file, its sizes and its certificate."""

from pathlib import Path
from typing import TYPE_CHECKING

from vestige.cli.app import note, say
from vestige.cli.verify import show_certificate, write_construction_report

if TYPE_CHECKING:
    from vestige.construct.construction import Construction
    from vestige.data.dataset import DataSet


def samples_of(data: str, n: int | None, *, balanced: bool, seed: int, verb: str) -> "DataSet":
    """Named data, or n samples drawn from it."""
    from vestige.core.rng import child
    from vestige.data.dataset import sample
    from vestige.data.load import load_data

    dataset = load_data(data)
    if n is None or n == len(dataset):
        return dataset
    return sample(dataset, n, balanced=balanced, generator=child(seed, f"construct {verb}", "data"))[0]


def write(
    made: "Construction", out: Path, *lines: str, warnings: tuple[str, ...] = (), report: Path | None = None
) -> None:
    """Save a construction; then print these lines, the warnings and the certificate, and make the report asked for."""
    from vestige.construct.file.saved import save

    save(made, out)
    say("\n".join(lines))
    note((*warnings, *made.warnings))
    show_certificate(made.certificate)
    say(f"wrote {out}, {out.stat().st_size:,} bytes")
    if report is not None:
        write_construction_report(out, report)
