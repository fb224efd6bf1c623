"""What a study says on the terminal: its verdict, its tables and where its page is."""

from typing import TYPE_CHECKING

from rich.table import Table

from vestige.cli.app import note, say
from vestige.cli.app import out as console

if TYPE_CHECKING:
    from vestige.audit import Study


def show_study(found: "Study") -> None:
    """The verdict, the tables, the warnings and the page."""
    say(found.verdict, style="bold")
    for shown in found.results["tables"]:
        table = Table(box=None, padding=(0, 1), title=shown["title"], title_justify="left")
        for column in shown["columns"]:
            table.add_column(column, justify="right")
        for row in shown["rows"]:
            table.add_row(*("–" if v is None else f"{v:.4g}" if isinstance(v, float) else str(v) for v in row))
        console.print(table, markup=False)
    note(found.warnings)
    say(f"{found.folder}/report.html")
