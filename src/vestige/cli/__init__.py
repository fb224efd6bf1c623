"""The command line: one file a family of verbs.

Importing torch takes seconds. A verb's own file holds its options and its help, and imports what does the work when the
verb runs.
"""

from vestige.cli import (
    attack,
    audit,
    construct,
    demo,
    doctor,
    files,
    graphs,
    landscape,
    membership,
    papers,
    probe,
    rank,
    redex,
    train,
    unlearn,
    verify,
)
from vestige.cli.app import app, main, run

app.command()(audit.audit)
app.command()(audit.reconstruct)
app.command()(attack.attack)
app.command()(membership.membership)
app.command()(unlearn.unlearn)
app.add_typer(construct.construct, name="construct")
app.add_typer(landscape.landscape, name="landscape")
app.command()(landscape.overfit)
app.add_typer(graphs.graphs, name="graphs")
app.add_typer(probe.probe, name="probe")
app.command()(verify.verify)
app.command()(rank.rank)
app.command()(train.train)
app.add_typer(redex.redex, name="redex")
app.command()(demo.demo)
app.command()(files.report)
app.command()(files.convert)
app.command()(papers.papers)
app.command()(papers.cite)
app.command()(doctor.doctor)

__all__ = ["app", "main", "run"]
