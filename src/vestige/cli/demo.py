"""`vestige demo`: train on real digits, throw the data away, read them back from the weights."""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli.app import say
from vestige.cli.train import train_and_save


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the weights and the audit.")] = Path("vestige-demo"),
    n: Annotated[int, typer.Option(min=2, help="How many digits the network is trained on.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Draws the digits, the first weights and the attack's starts.")] = 0,
) -> None:
    """Train a 64-1000-10 network on 20 real digits, delete them, and recover them from the weights."""
    from vestige.audit import audit
    from vestige.cli.progress import progress_bar
    from vestige.cli.show import show

    out.mkdir(parents=True, exist_ok=True)
    weights = out / "model.safetensors"
    train_and_save("digits", weights, n=n, seed=seed, weight_decay=1e-3)  # the digits live in there only
    say(f"{n} digits deleted; only {weights} is left. The attack reads nothing else.")
    # The digits are drawn again for the score; the attack is given the weights alone.
    with progress_bar("auditing") as bar:
        found = audit(weights, data="digits", seed=seed, out=out / "audit", on_step=bar)
    show(found)
    score = found.results["score"]
    best = max((null["n_recovered"] or 0 for null in score["nulls"]), default=0)
    say(f"recovered {score['n_recovered']} of {score['n']} digits; the best null {best}")
