"""What an option may be where a closed set of words, or a file, is meant: refused before torch is imported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

LOSSES = "logistic", "exponential", "cross_entropy", "mse", "huber"
NORMS = "linf", "l2", "l1", "inf", "2", "1"
STAGES = "fast", "standard", "published", "autoattack", "apgd-ce", "apgd-t", "fab-t", "square"
SCORES = "raw", "log", "votes"
STEPS = "resolve", "clarke", "kkt"
STRATEGIES = "sqrt", "depth", "bits", "wide"
PRUNINGS = "subset_sum", "greedy", "random", "close"
HOPS = "composed", "deep", "chain"
COUNTS = "histogram", "attend"
PROJECTIONS = "random", "optimized", "identity"
LAYOUTS = "narrow", "parallel"
LEARNERS = "margin", "network", "network_without_bias", "nearest_neighbor"
PROBES = "logistic", "mass_mean", "ccs"
PROGRAMS = "auto", "program", "proximal", "splitting"


def one_of(allowed: tuple[str, ...], *, several: bool = False) -> Callable[[str], str]:
    """A reader of an option that takes one of these words, or several with commas.

    >>> one_of(("a", "b"))("A")
    'a'
    """

    def read(text: str) -> str:
        words = str(text).lower().split(",") if several else [str(text).lower()]
        if odd := [word for word in words if word.strip() not in allowed]:
            raise typer.BadParameter(f"{odd[0]!r} given; allowed are {', '.join(allowed)}.")
        return ",".join(words)

    return read


def read_solver(text: str) -> str:
    """default, published or published:NAME."""
    if str(text).partition(":")[0] not in ("default", "published"):
        raise typer.BadParameter(f"{text!r} given; default, published or published:NAME is allowed.")
    return str(text)


def read_arch(text: str) -> str:
    """An architecture, whose file is there where it names one."""
    file = str(text).rpartition(":")[0]
    if file.endswith(".py") and not Path(file).is_file():
        raise typer.BadParameter(f"{file} is not there; write ./file.py:factory for a file of your own.")
    return str(text)


def read_scale(text: str) -> str:
    """A mean or a standard deviation, whose file is there where it is one."""
    if str(text).endswith(".npy") and not Path(text).is_file():
        raise typer.BadParameter(f"{text} is not there; give a number, one for each channel, or a .npy file.")
    return str(text)


def word(allowed: tuple[str, ...], text: str, *names: str, several: bool = False) -> Any:
    """An option that takes one of these words, with its help, and its name where that is not the argument's."""
    return typer.Option(*names, parser=one_of(allowed, several=several), metavar="WORD", help=text)
