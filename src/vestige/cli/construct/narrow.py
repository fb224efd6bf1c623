"""`vestige construct narrow`: a trained network rewritten as a narrow deep one."""

from typing import Annotated

import typer

from vestige.cli import options
from vestige.cli.construct.written import write

SIZES = (
    "given: width {target_width}, {target_depth} layers, {target_parameters:,} parameters; now: width {width}, "
    "{depth:,} layers, {parameters:,} parameters of up to {weight_bits:,} bits"
)
ROUNDED = (
    "; quotients of weights are rounded to float64, which took {float64_error:.1e} of the largest output at the inputs "
    "checked: --width 2d+3 rounds nothing and is equal at every input"
)
EQUAL = "; no weight is rounded: equal at every input"


def narrow(
    model: options.Model,
    out: options.Network,
    exact: Annotated[bool, typer.Option("--exact", help="Equal everywhere; 2d+2 rounds weights. Deeper.")] = False,
    width: Annotated[str | None, typer.Option(help="5d or d+2; with --exact 2d+2 or 2d+3.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Largest error on safe inputs; default 0.01.")] = None,
    delta: Annotated[float | None, typer.Option(help="Probability of the other inputs; default 0.01.")] = None,
    radius: Annotated[float | None, typer.Option(help="Largest coordinate of inputs; default: of --data.")] = None,
    density: Annotated[float | None, typer.Option(help="Largest density of inputs; default: uniform.")] = None,
    weight_bound: Annotated[int | None, typer.Option(help="No weight exceeds it: 2, 4, 8, ...")] = None,
    data: Annotated[str | None, typer.Option(help="Inputs at which it is checked: digits, npz:PATH, ...")] = None,
    max_depth: Annotated[int, typer.Option(min=1, help="Refuse deeper networks.")] = 20_000,
    seed: options.Seed = 0,
    architecture: options.Arch = None,
    trust_pickle: options.Pickle = False,
    report: options.Report = None,
) -> None:
    """Rewrite a chain of linear layers and ReLUs as a narrow deep one, with a certificate."""
    options.check_file(model, data)
    from vestige.cli.progress import progress_bar
    from vestige.construct.narrowing.narrower import narrow as narrow_network
    from vestige.core.rng import child
    from vestige.data.load import load_data
    from vestige.nets.checkpoint import load_model

    loaded = load_model(model, architecture=architecture, trust_pickle=trust_pickle)
    with progress_bar("checking") as bar:
        built = narrow_network(
            loaded.model, None if data is None else load_data(data).x, exact=exact, width=width, tolerance=tolerance,
            delta=delta, radius=radius, density=density, weight_bound=weight_bound, max_depth=max_depth,
            generator=child(seed, "construct narrow"), on_step=bar,
        )  # fmt: skip
    write(built, out, _said(exact, width).format(**built.numbers), warnings=loaded.warnings, report=report)


def _said(exact: bool, width: str | None) -> str:
    if not exact:
        return SIZES
    return SIZES + (EQUAL if width == "2d+3" else ROUNDED)
