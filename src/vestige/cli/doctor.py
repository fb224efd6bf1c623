"""`vestige doctor`: is this installation able to work?"""

import typer
from rich.markup import escape
from rich.table import Table

from vestige.cli.app import OUR_MISTAKE, out


def doctor() -> None:
    """List what is installed and run a self-test of two seconds."""
    from vestige.audit.self_test import facts, self_tests

    table = Table(box=None, show_header=False, padding=(0, 1))
    for _ in range(3):
        table.add_column(overflow="fold")
    rows = [*facts(), *self_tests()]
    for name, value, good in rows:
        mark = "[green]ok[/green]" if good else "[red]no[/red]" if good is False else ""
        table.add_row(mark, escape(name), escape(value))
    out.print(table)
    if any(good is False for _, _, good in rows):
        raise typer.Exit(OUR_MISTAKE)
