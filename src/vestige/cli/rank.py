"""`vestige rank`: which rank do this model's attention heads use?"""

from vestige.cli import options
from vestige.cli.app import note
from vestige.cli.app import out as console


def rank(
    model: options.Model,
    architecture: options.Arch = None,
    trust_pickle: options.Pickle = False,
) -> None:
    """Say of every attention head which rank its query-key form has, and how evenly it is used."""
    options.check_file(model)
    from rich.table import Table

    from vestige.construct.transformer.rank.audit import rank_audit
    from vestige.nets.checkpoint import load_model

    found = rank_audit(load_model(model, architecture=architecture, trust_pickle=trust_pickle).model)
    table = Table(box=None, padding=(0, 1))
    for column in ("head", "model width", "head width", "rank", "effective rank", "stable rank"):
        table.add_column(column, justify="left" if column == "head" else "right")
    for head in found.heads:
        sizes = str(head.dim), str(head.size), str(head.rank)
        table.add_row(head.name, *sizes, f"{head.effective:.1f}", f"{head.stable:.1f}")
    console.print(table)
    note(found.warnings)
