"""`vestige attack`: how easily is this model fooled?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli import options, words
from vestige.cli.app import note, say, say_files

if TYPE_CHECKING:
    from vestige.audit import RobustnessAudit

Radius = Annotated[
    float, typer.Option(parser=options.read_quotient, metavar="NUMBER", help="In units of the data: 8/255 or 0.03.")
]
Preset = Annotated[
    str,
    words.word(words.STAGES, "fast, standard, published, autoattack; stages with commas.", "--preset", several=True),
]
Pair = Annotated[
    tuple | None,
    typer.Option(
        parser=options.read_pair, metavar="A,B", help="Two classes for --theory; default: the two separated least."
    ),
]


def attack(
    model: Annotated[
        Path | None, typer.Argument(help="Weights: .safetensors; default: the small robust network that is shipped.")
    ] = None,
    data: Annotated[
        str, typer.Option(help="Labeled inputs, the test part: digits, npz:PATH, folder:PATH, ...")
    ] = "digits",
    eps: Radius = 0.15,
    norm: Annotated[str, words.word(words.NORMS, "linf, l2 or l1.")] = "linf",
    attacks: Preset = "fast",
    n: Annotated[int, typer.Option(min=1, help="Samples attacked, in equal shares of the classes.")] = 200,
    theory: Annotated[bool, typer.Option("--theory", help="Also explain why it is fooled, by theory.")] = False,
    pair: Pair = None,
    out: options.Out = None,
    seed: options.Seed = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples differentiated together.")] = 256,
    architecture: options.Arch = None,
    trust_pickle: options.Pickle = False,
    input_shape: options.Shape = None,
    input_range: options.Range = None,
    mean: options.Mean = None,
    std: options.Std = None,
    threads: options.Threads = None,
) -> None:
    """Measure robust accuracy with adversarial examples, and show them in a report."""
    options.check_file(model, data)
    from vestige.audit import audit_robustness
    from vestige.audit.robustness import shipped_model
    from vestige.cli.progress import progress_bar
    from vestige.cli.threads import parameters_in, settle_threads

    model = model or shipped_model()
    settle_threads(threads, parameters_in(model))
    space = options.space_of(input_range, mean, std)
    with progress_bar("attacking") as bar:
        found = audit_robustness(
            model, data=data, eps=eps, norm=norm, attacks=attacks, n=n, theory=theory, pair=pair,
            architecture=architecture, input_shape=input_shape, space=space, batch_size=batch_size, seed=seed,
            trust_pickle=trust_pickle, out=options.folder_of(out, "attack", model), on_step=bar,
        )  # fmt: skip
    _show(found)


def _show(found: "RobustnessAudit") -> None:
    from vestige.report.verdict import misfit, unsaid

    results, (low, high) = found.results, found.robust_interval
    why = misfit(results) or ""
    if why:
        say(why, style="bold")
    say(
        f"{found.robust_accuracy:.1%} of {results['n']} samples withstand {results['norm']} perturbations of "
        f"{results['eps']:.4g} (95 % interval {low:.1%} to {high:.1%}); clean {found.clean_accuracy:.1%}. "
        f"{results['gradient_evaluations']:,} gradient evaluations, {results['seconds']:.1f} s.",
        style="bold",
    )
    note(unsaid(found.warnings, why))
    say_files(found.folder, "adversarial.safetensors")
