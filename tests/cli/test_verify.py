"""`vestige verify`: the table, the exit status, and files that are none."""

import numpy as np

from vestige.cli import run
from vestige.construct.exact.layers import layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.saved import save_construction
from vestige.construct.result import Construction, Interpolation
from vestige.core.cite import paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import Outcome


def saved(path, slope):
    network = ExactNetwork((layer(1, [({0: slope}, 0)]),))
    specification = Interpolation(np.array([[1.0], [3.0]]), np.array([[1], [3]]), "the identity")
    claims = Certificate((*specification.check(network), Claim("width", 0, 0, "the identity")))
    save_construction(
        Construction(network, specification, claims, Outcome.CONVERGED, (), (paper("2110.03187"),), {}), path
    )
    return str(path)


def test_a_true_file_gets_a_table(tmp_path, capsys):
    assert run(["verify", saved(tmp_path / "net.safetensors", 1)]) == 0
    said = capsys.readouterr().out
    assert "all 5 claims hold" in said and "holds  points off target" in said and "FAILS" not in said


def test_a_false_one_fails(tmp_path, capsys):
    assert run(["verify", saved(tmp_path / "net.safetensors", 2), "--points", "1"]) == 1
    assert "FAILS: points off target, largest error" in capsys.readouterr().out


def test_no_file_is_the_users_mistake(tmp_path, capsys):
    assert run(["verify", str(tmp_path / "nothing.safetensors")]) == 2
    assert "not there" in capsys.readouterr().err
