"""Minima that were found for k orthonormal teachers and as many students, kept with the package."""

from functools import cache
from importlib.resources import as_file, files

import torch
from safetensors.torch import load_file
from torch import Tensor

from vestige.landscape.neurons import Neurons
from vestige.landscape.teacher_student.certify import certify_minimum
from vestige.landscape.teacher_student.search import SpuriousMinimum, blocks_of

FILE = "minima.safetensors"  # written by `python benchmarks/landscape.py --only catalogue`


@cache
def _stored() -> dict[str, Tensor]:
    with as_file(files("vestige.landscape.teacher_student") / FILE) as path:
        return load_file(path)


def known_minima(k: int) -> tuple[SpuriousMinimum, ...]:
    """The minima with a loss above 0 that are known for k students of k orthonormal teachers, lowest first.

    They were found by `find_spurious_minima` and are not all there are. Each is certified again when it is read.

    Args:
        k: 6 to 20.

    Raises:
        ValueError: another k.

    >>> [round(minimum.loss, 7) for minimum in known_minima(7)]
    [0.0232027]
    """
    stored = _stored()
    if f"weights.{k}" not in stored:
        allowed = sorted(int(name.rpartition(".")[2]) for name in stored if name.startswith("weights."))
        raise ValueError(f"k={k} given; the catalogue has {allowed[0]} to {allowed[-1]}. Below 6 none is known.")
    teacher = Neurons(torch.eye(k, dtype=torch.float64))
    found = []
    for weight, loss, hits in zip(stored[f"weights.{k}"], stored[f"losses.{k}"], stored[f"hits.{k}"], strict=True):
        certificate = certify_minimum(Neurons(weight), teacher)
        found.append(
            SpuriousMinimum(
                weight=weight, loss=float(loss), hits=int(hits), blocks=blocks_of(weight), certificate=certificate
            )
        )
    return tuple(found)
