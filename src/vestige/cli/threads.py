"""How many threads a command takes: on small matrices a second one costs more than it gives."""

import os
from pathlib import Path

import torch

SMALL = 2_000_000  # parameters; below, two threads on a busy two-core machine were measured 20 to 200 times slower
BYTES = 4  # of a parameter


def settle_threads(given: int | None, parameters: int) -> None:
    """Fix the number of threads before any work, so that the manifest records what was used.

    Args:
        given: by --threads; None leaves it to $OMP_NUM_THREADS, else takes one for small models.
        parameters: of the model.
    """
    if given is not None:
        torch.set_num_threads(given)
    elif not os.environ.get("OMP_NUM_THREADS") and parameters < SMALL:
        torch.set_num_threads(1)


def parameters_in(file: Path) -> int:
    """About how many numbers a weights file holds; 0 where there is no such file."""
    return file.stat().st_size // BYTES if file.is_file() else 0
