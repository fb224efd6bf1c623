"""How many threads a command takes, and what the size of a file says of a model."""

import pytest
import torch

from vestige.cli.threads import parameters_in, settle_threads


@pytest.mark.parametrize(
    ("given", "environment", "parameters", "expected"),
    [(3, None, 1, 3), (None, None, 1, 1), (None, "", 1, 1), (None, "2", 1, 2)],
)
def test_small_models_take_one_thread(given, environment, parameters, expected, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if environment is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    torch.set_num_threads(2)
    settle_threads(given, parameters)
    assert torch.get_num_threads() == expected


def test_a_file_of_four_bytes_a_number(tmp_path):
    (tmp_path / "m").write_bytes(bytes(4000))
    assert parameters_in(tmp_path / "m") == 1000 and parameters_in(tmp_path / "nothing") == 0
