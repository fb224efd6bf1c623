"""Every public callable leaves the model, its arguments, the files it is given and the process as they were, and prints
nothing.

One row a callable, in the `rows_*` beside this file; a public name without a row fails. Each is called with valid
arguments, with arguments that it refuses, and with a progress callback that raises in the middle.
"""

import dataclasses
import inspect
import sys
from pathlib import Path

import pytest
from hygiene_state import difference, files_in, fingerprint, generators, settings
from rows_attack import ROWS as ATTACK
from rows_audit import ROWS as AUDIT
from rows_construct import ROWS as CONSTRUCT
from rows_convex import ROWS as CONVEX
from rows_core import ROWS as CORE
from rows_graphs import ROWS as GRAPHS
from rows_landscape import ROWS as LANDSCAPE
from rows_membership import ROWS as MEMBERSHIP
from rows_optim import ROWS as OPTIM
from rows_reconstruct import ROWS as RECONSTRUCT
from rows_transformer import ROWS as TRANSFORMER
from rows_unlearning import ROWS as UNLEARNING

from vestige.core.choices import ChoiceEnum

sys.path.append(str(Path(__file__).parents[1] / "architecture"))
from house import public

ROWS = CORE | AUDIT | ATTACK | RECONSTRUCT | MEMBERSHIP | UNLEARNING | CONSTRUCT | TRANSFORMER | LANDSCAPE | CONVEX
ROWS = ROWS | OPTIM | GRAPHS
# callable: why it has no row.
EXEMPT: dict[str, str] = {
    "construct.Stored": "what the reader of files makes; `construct.load` has the row",
    "nets.image_encoder": "loads a package of weights that is not always installed; tests/nets/test_backbones.py",
    "nets.sentence_encoder": "loads a package of weights that is not always installed; tests/nets/test_backbones.py",
}


class Stop(Exception):
    pass


def methods(thing):
    """Public methods that a class defines itself."""
    return [k for k, v in vars(thing).items() if not k.startswith("_") and inspect.isroutine(getattr(thing, k, v))]


def does_work(thing):
    """Functions, and classes that are more than values: they have methods, can be called, or are modules."""
    if inspect.isfunction(thing):
        return True
    if not inspect.isclass(thing) or issubclass(thing, ChoiceEnum | Exception) or vars(thing).get("_is_protocol"):
        return False
    return bool(methods(thing)) or "__call__" in vars(thing) or not dataclasses.is_dataclass(thing)


def call(name, row, given):
    function = row.call or public()[name]
    options = {k: v for k, v in given.items() if not k.startswith("*")}
    rest = next((v for k, v in given.items() if k.startswith("*")), ())
    return function(*rest, **options)


def leaves_everything(name, folder, capfd, *, changed=None, without=(), run=call):
    """Settings are compared with those before the arguments were made: what makes them may be at fault too."""
    row, wanted = ROWS[name], settings()
    given = {key: value for key, value in (row.make(folder) | (changed or {})).items() if key not in without}
    before, files, drawn = fingerprint(given), files_in(folder), generators()
    capfd.readouterr()
    run(name, row, given)
    printed = capfd.readouterr()
    assert not difference(drawn | wanted, generators() | settings())
    assert not difference(before, fingerprint(given))
    after = files_in(folder)
    assert not [path.name for path in files if after.get(path) != files[path]]
    assert (printed.out, printed.err) == ("", "")


def test_every_public_callable_has_a_row():
    needed = {name for name, thing in public().items() if does_work(thing)}
    assert not sorted(needed - set(ROWS) - set(EXEMPT)), "add a row in tests/hygiene"
    assert not sorted((set(ROWS) | set(EXEMPT)) - set(public())), "these are not public"


@pytest.mark.parametrize("name", ROWS)
def test_a_call_leaves_everything_as_it_was(name, tmp_path, capfd):
    leaves_everything(name, tmp_path, capfd, without=("generator",) if ROWS[name].draws else ())


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if not isinstance(row.bad, str)])
def test_a_refused_call_leaves_everything_as_it_was(name, tmp_path, capfd):
    def run(*what):
        with pytest.raises((ValueError, OSError)) as caught:
            call(*what)
        assert str(caught.value)

    leaves_everything(name, tmp_path, capfd, changed=ROWS[name].bad, run=run)


def takes_steps(name):
    thing, row = public()[name], ROWS[name]
    return row.steps and inspect.isfunction(thing) and "on_step" in inspect.signature(thing).parameters


@pytest.mark.parametrize("name", [name for name in ROWS if name in public() and takes_steps(name)])
def test_a_callback_that_raises_leaves_everything_as_it_was(name, tmp_path, capfd):
    def stop(step):
        raise Stop

    def run(*what):
        with pytest.raises(Stop):
            call(*what)

    leaves_everything(name, tmp_path, capfd, changed={"on_step": stop}, run=run)


def test_the_fingerprint_sees():
    import torch
    from torch import nn

    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).double()
    given = {"model": net, "x": [torch.ones(3, 2)], "generator": torch.Generator()}
    changes = [
        lambda: net[1].eval(),
        lambda: net(torch.ones(3, 2).double() * 3) if net[1].train() else None,
        lambda: net[0].weight.requires_grad_(False),
        lambda: setattr(net[0].bias, "grad", torch.ones(2).double()),
        lambda: net[0].weight.data.mul_(1 + 1e-15),
        lambda: given["x"][0].add_(1),
        lambda: torch.rand(1, generator=given["generator"]),
        lambda: net.register_forward_hook(print),
    ]
    for change in changes:
        before = fingerprint(given)
        change()
        assert difference(before, fingerprint(given))
    state = generators()
    generator = torch.get_rng_state()
    torch.rand(1)
    assert difference(state, generators()) == ["torch's generator"]
    torch.set_rng_state(generator)


def test_settings_and_files_are_seen(tmp_path, monkeypatch):
    import logging

    import matplotlib
    import torch

    before = settings()
    monkeypatch.setattr(logging.root, "handlers", [logging.NullHandler()])
    monkeypatch.chdir(tmp_path)
    torch.set_default_dtype(torch.float32)
    with matplotlib.rc_context({"font.size": 3.0}), torch.no_grad():
        seen = difference(before, settings())
    assert seen == ["default dtype", "figures", "folder", "gradients are on", "logging"]
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_text("x")
    old = files_in(tmp_path)
    (tmp_path / "inner" / "a").write_text("y")
    assert old.keys() == files_in(tmp_path).keys() and old != files_in(tmp_path)
