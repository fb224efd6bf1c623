"""Notes and errors name what can be typed."""

import pytest
import typer

from vestige.cli import app, run
from vestige.cli.as_typed import as_typed, listen


@pytest.mark.parametrize(
    ("line", "said", "heard"),
    [
        ("unlearn m --step full", "step='resolve' keeps it too.", "--step resolve keeps it too."),
        ("unlearn m", "retrain=True does that.", "--retrain does that."),
        ("unlearn m", "retrain=True, or --retrain, does that.", "retrain=True, or --retrain, does that."),
        ("graphs shift f", "or take features=False.", "or take --no-features."),
        ("construct narrow m", "given with exact=True; exact=False?", "given with --exact; leaving out --exact?"),
        (
            "construct prune m",
            "tolerance=1e-05 or rows=None would do",
            "--tolerance 1e-05 or leaving out --rows would do",
        ),
        ("construct robust", "or projection='optimized'.", "or --projection optimized."),
        ("construct counter", "dim=4 given for 9 tokens", "--dim 4 given for 9 tokens"),
        ("construct counter", "Write poly:gamma=0.01,dim=3 for (dim=3)", "Write poly:gamma=0.01,dim=3 for (dim=3)"),
        ("attack m", "pair=(1, 1) given", "--pair 1,1 given"),
        ("attack m", "architecture='mlp:2-2' or attacks='square'", "--arch mlp:2-2 or --preset square"),
        ("overfit", "noise_levels=[0.1, 0.7] given", "--noise 0.1,0.7 given"),
        ("audit m", "Is input_shape right? Raise n_candidates.", "Is --input-shape right? Raise --n-candidates."),
        ("audit m", "entry 'input_shape', is; see input_shape.csv", "entry 'input_shape', is; see input_shape.csv"),
        ("audit m", "Give input_shape (--input-shape).", "Give input_shape (--input-shape)."),
        ("audit m", "t has the columns age, weight_decay", "t has the columns age, weight_decay"),
        ("audit m", "the metric a_b is unknown", "the metric a_b is unknown"),
        ("attack n=5.csv", "n=5.csv or dir/n=3 is not there", "n=5.csv or dir/n=3 is not there"),
        ("audit m", "subgradient='clarke' finds it", "subgradient='clarke' finds it"),
    ],
)
def test_arguments_are_the_options_of_the_command_that_runs(line, said, heard):
    listen(line.split(), typer.main.get_command(app))
    assert as_typed(said) == heard


def test_an_error_of_a_command_names_its_option(tmp_path, capsys):
    out = str(tmp_path / "c.safetensors")
    assert (
        run(
            [
                "construct",
                "counter",
                "--vocab",
                "9",
                "--length",
                "9",
                "--dim",
                "4",
                "--method",
                "histogram",
                "--out",
                out,
            ]
        )
        == 2
    )
    told = capsys.readouterr().err
    assert "--dim 4 given for 9 tokens" in told and "--method attend takes any dim" in told


def test_a_run_that_differs_is_answered_with_the_option_for_its_folder(tmp_path, capsys):
    line = ["overfit", "--fit", "nearest_neighbor", "--sizes", "20", "--noise", "0.1", "--out", str(tmp_path / "run")]
    assert run([*line, "--repeats", "1"]) == 0
    assert run([*line, "--repeats", "2"]) == 2
    assert "Give another folder as out (--out)" in capsys.readouterr().err
