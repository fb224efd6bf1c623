"""A report's page in the folder of its run, whatever the page shows."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, UndefinedError
from torch import Tensor

from vestige.core.files import write_atomically
from vestige.report.words import words_of
from vestige.runs.folder import RunError, RunFolder

Render = Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Tensor]], str]


def template(name: str) -> Template:
    """A template of this package: everything that goes in is escaped, and what is missing is an error."""
    environment = Environment(
        loader=PackageLoader("vestige.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(number=_number, fixed=_fixed, percent=percent, words=words_of, moment=moment)
    return environment.get_template(name)


def write_page(run: RunFolder, tensors: str, render: Render, holds: str) -> Path:
    """Render a finished run's manifest, results and tensors of that name into report.html.

    Raises:
        RunError: there are no results yet, or not those that `holds` names.
    """
    results, kept = run.results(), run.load_tensors(tensors)
    if results is None:
        raise RunError(
            f"{run.path} has no results to report (state: {run.state}); run the same command again to go on."
        )
    if kept is None:
        raise RunError(
            f"{run.path} lacks {tensors}.safetensors; remove its results.json and run the same command again."
        )
    try:
        page = render(run.manifest, results, kept)
    except (KeyError, TypeError, IndexError, AttributeError, UndefinedError) as error:
        raise RunError(
            f"{run.path} does not hold {holds}: {type(error).__name__} {error}. Remove its results.json and run the "
            "same command again."
        ) from error
    path = run.path / "report.html"
    write_atomically(path, page.encode(), private=True)
    return path


def _number(value: Any, digits: int = 3) -> str:
    """A short number; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"


def _fixed(value: float | None) -> str:
    """Three decimals, so that a column lines up."""
    return "–" if value is None else f"{value:.3f}"


def moment(text: str) -> str:
    """When a run started, to the minute.

    >>> moment("2026-11-30T00:04:12+00:00")
    '2026-11-30 00:04 UTC'
    """
    return f"{text[:10]} {text[11:16]} UTC" if text.endswith("+00:00") else text


def percent(value: float | None, digits: int = 3) -> str:
    """A share in percent, short also where it is small; a dash where there is none."""
    if value is None:
        return "–"
    return "< 0.001 %" if 0 < value < 1e-5 else f"{100 * value:.{digits if value >= 1e-3 else 2}g} %"
