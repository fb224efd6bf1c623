"""The command itself: what every verb shares, and how an error looks to a user."""

import re
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import typer
from rich.console import Console

from vestige.cli.as_typed import as_typed, listen
from vestige.runs.signals import EXIT_STATUS, Interrupted

USER_MISTAKE, OUR_MISTAKE = 2, 1
# How torch calls a size or a count beyond 64 bits; elsewhere the word may mean anything.
TOO_LARGE = re.compile(r"type \w+ without overflow|Overflow when unpacking|size calculation overflowed")

app = typer.Typer(
    name="vestige",
    help="Read, write and erase what a neural network's weights hold.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def say(text: str, style: str | None = None) -> None:
    """One paragraph on the terminal, as it is, without what would control the terminal."""
    out.print(printable(text), style=style, markup=False, soft_wrap=True)


def printable(text: str) -> str:
    """The text without control characters, line breaks aside: names in files may hold any.

    >>> printable("a\\x1b[31mb")
    'a?[31mb'
    """
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text.expandtabs())


def note(warnings: Iterable[str]) -> None:
    """What a result warns about, a line each."""
    for warning in warnings:
        say(f"note: {as_typed(warning)}", style="yellow")


def say_files(folder: Path | None, tensors: str) -> None:
    """Where the files of a job are, a line each."""
    for name in ("report.html", "results.json", tensors):
        if folder is not None and (folder / name).exists():
            say(str(folder / name))


def _show_version(wanted: bool) -> bool:
    if wanted:
        out.print(f"vestige {version('vestige')}")
        raise typer.Exit
    return wanted


@app.callback()
def shared(
    show_version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error; works after any command."),
) -> None:
    """Read, write and erase what a neural network's weights hold."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; an error is one line, never a traceback.

    Args:
        arguments: without the program's name.

    Returns:
        0; 2 for a user error; 1 for a bug of ours; 130 after Ctrl-C or SIGTERM.
    """
    debug = "--debug" in arguments
    command = typer.main.get_command(app)
    listen(arguments, command)
    try:
        # Not command.main, which hides what an interrupt was.
        with command.make_context("vestige", [a for a in arguments if a != "--debug"]) as context:
            status = command.invoke(context)
    except typer.Exit as end:
        status = end.exit_code
    except Interrupted:
        err.print("stopped; the same command continues from its last checkpoint", style="yellow")
        return EXIT_STATUS
    except (KeyboardInterrupt, typer.Abort):
        err.print("stopped", style="yellow")
        return EXIT_STATUS
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has left
        return 0
    except Exception as error:
        if debug:
            err.print_exception(show_locals=False)
        return _explain(error)
    return status if isinstance(status, int) else 0


def _explain(error: Exception) -> int:
    usage = getattr(error, "format_message", None)
    if usage is not None:
        text = usage() or "no command given; `vestige --help` lists them"
        return _complain(text, USER_MISTAKE)
    if isinstance(error, ValueError):
        return _complain(as_typed(str(error)), USER_MISTAKE)
    if isinstance(error, OSError):
        return _complain(
            f"{error.strerror or error}: {error.filename2 or error.filename}" if error.filename else str(error),
            USER_MISTAKE,
        )
    said = next((f" ({line:.200})" for line in str(error).splitlines()), "")
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return _complain(f"there is not enough memory for this{said}; take less", USER_MISTAKE)
    if isinstance(error, OverflowError) or TOO_LARGE.search(str(error)):
        return _complain(f"a number that was given is too large{said}; give a smaller one", USER_MISTAKE)
    text = f"{type(error).__name__}: {error}. This is a bug in vestige; --debug shows where."
    return _complain(text, OUR_MISTAKE)


def _complain(text: str, status: int) -> int:
    err.print(f"error: {printable(text)}", style="bold red", markup=False, soft_wrap=True)
    return status


def main() -> None:
    """Entry point of the command `vestige`."""
    sys.exit(run(sys.argv[1:]))
