"""What is recorded with a run is JSON, and says what a result depends on."""

import json
import os
import platform
from importlib.metadata import version

import torch

from vestige.runs.environment import PACKAGES, environment, versions


def test_versions_are_the_installed_ones_and_none_where_there_is_none():
    assert versions(("torch", "no-such-package-is-installed")) == {
        "torch": version("torch"),
        "no-such-package-is-installed": None,
    }


def test_the_record_is_json_and_knows_machine_and_threads():
    found = environment()
    assert json.loads(json.dumps(found)) == found and set(found["packages"]) == set(PACKAGES)
    assert (found["python"], found["cpus"]) == (platform.python_version(), os.cpu_count())
    assert found["threads"] == 1 == torch.get_num_threads() and found["cuda"] == torch.version.cuda
