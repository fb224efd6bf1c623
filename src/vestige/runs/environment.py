"""What a result depends on besides its configuration: the machine and the versions."""

import os
import platform
from importlib import metadata

import torch

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "safetensors", "matplotlib", "pillow", "vestige")


def versions(names: tuple[str, ...] = PACKAGES) -> dict[str, str | None]:
    """Installed version of each package; None where it is absent."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def environment() -> dict[str, object]:
    """What to record with a run. Bit-equal results are promised for equal machine, torch and thread count only."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "packages": versions(),
    }
