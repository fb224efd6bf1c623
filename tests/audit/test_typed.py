"""What was said of a model is typed again as it was, or not at all."""

import torch
import typer

from vestige.audit.target import Stated
from vestige.audit.typed import typed
from vestige.cli import app
from vestige.cli.options import space_of
from vestige.core.space import InputSpace


def test_each_fact_has_its_option():
    words = typed(
        architecture="mlp:4-3-1", input_shape=(3, 8, 8), space=InputSpace(0.0, 1.0, mean=0.5), loss="logistic",
        weight_decay=1e-4, trust_pickle=True, held_out="npz:o t.npz",
    )  # fmt: skip
    assert words == [
        "--arch", "mlp:4-3-1", "--loss", "logistic", "--weight-decay", "0.0001", "--input-shape", "3x8x8",
        "--trust-pickle", "--held-out", "npz:o t.npz", "--range", "0", "1", "--mean", "0.5",
    ]  # fmt: skip
    assert typed() == []


def test_numbers_are_written_and_many_are_not():
    channels = torch.tensor([0.1, 0.25])
    assert typed(space=Stated(std=channels)) == ["--std", "0.100000001,0.25"]
    assert typed(space=Stated(mean=torch.zeros(64))) is None
    assert typed(held_out=(torch.zeros(2, 2), torch.zeros(2))) is None


def test_what_was_typed_is_typed_again():
    space = space_of((0.0, 1.0), ".1,.2", None)
    assert isinstance(space, Stated) and typed(space=space) == ["--range", "0", "1", "--mean", ".1,.2"]


def test_the_command_understands_what_was_typed():
    words = typed(
        architecture="mlp:4-3-1", space=Stated(limits=(-1.0, 1.0), mean=torch.tensor([-0.5, 0.5])), loss="mse"
    )
    command = typer.main.get_command(app).commands["unlearn"]
    read = command.make_context("unlearn", ["m", "--data", "digits", "--forget", "leaked", *(words or [])]).params
    assert read["input_range"] == (-1.0, 1.0) and read["mean"] == "-0.5,0.5" and read["architecture"] == "mlp:4-3-1"
