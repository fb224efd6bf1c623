"""`vestige demo`: train on real digits, throw the data away, read them back from the weights."""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli.app import out as console


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the weights and the audit.")] = Path("vestige-demo"),
    n: Annotated[int, typer.Option(min=2, help="How many digits the network is trained on.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Draws the digits, the first weights and the attack's starts.")] = 0,
) -> None:
    """Train a 64-1000-10 network on 20 real digits, delete them, and recover them from the weights."""
    from vestige.audit.target import read_target
    from vestige.audit.weights import Effort, attack

    out.mkdir(parents=True, exist_ok=True)
    weights = out / "model.safetensors"
    _train(weights, n, seed)  # the digits live in there only
    target = read_target(weights)
    # The digits are drawn again for the score; the attack is given the weights alone.
    score = attack("audit", target, Effort(seed=seed), out / "audit", data="digits")["score"]
    best = max((null["n_recovered"] or 0 for null in score["nulls"]), default=0)
    console.print(f"recovered {score['n_recovered']} of {score['n']} digits; the best null {best}", markup=False)


def _train(weights: Path, n: int, seed: int) -> None:
    from vestige.audit.training import fit, report, save
    from vestige.audit.truth import draw, recipe
    from vestige.data.load import load_data

    dataset = load_data("digits")
    chosen, _ = draw(dataset, n, seed)
    trained = fit(chosen, architecture=None, loss="cross_entropy", weight_decay=1e-3, seed=seed)
    save(trained, chosen, weights, recipe(dataset, n, seed, None))
    report(trained)
    console.print(
        f"{n} digits deleted; only {weights} is left. The attack reads nothing else.", markup=False, soft_wrap=True
    )
