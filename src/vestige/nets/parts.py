"""One of the files that a model was split into: told by its name, its folder, or what stands beside the weights.

A share of a tensor-parallel network chains like a narrower one, so that its shapes do not tell it from a whole.
"""

import glob
import re
from collections.abc import Mapping
from pathlib import Path

from vestige.nets.unpickle_worker import split_among

_COUNTED = re.compile(r"(?P<number>\d{1,6})[-_]of[-_](?P<all>\d{1,6})(?=[._-])")
_TRIALS = re.compile(r"fold|epoch|step|run|seed|trial|split")  # each of several, all whole
# By the process that held them.
_RANK = re.compile(r"(?:.*[._-])?(?:shard|part|rank|consolidated)[._-]?(?P<number>\d{1,6})(?=[._-])", re.IGNORECASE)
_RANKS = re.compile(r"(?:.*[._-])?rank[._-]?(?P<number>\d{1,6})(?=[._-]|$)", re.IGNORECASE)


def part_of(path: Path) -> str | None:
    """Which part of a model in several files, by the name: "2 of 5", "2" where it is not said of how many; else None.

    >>> part_of(Path("model-00002-of-00005.safetensors")), part_of(Path("mp_rank_03_model_states.pt"))
    ('2 of 5', '3')
    """
    match = _COUNTED.search(path.name)
    if match and int(match["all"]) > 1 and not _TRIALS.search(path.name[: match.start()].lower()):
        return f"{int(match['number'])} of {int(match['all'])}"
    for place, match in _ranked(path):
        start, end = place.name[: match.start("number")], "" if place != path else path.suffix
        others = place.parent.glob(f"{glob.escape(start)}[0-9]*{glob.escape(end)}")
        if int(match["number"]) > 0 or sum(1 for _ in others) > 1:  # a lone 0 may be all there is
            return str(int(match["number"]))
    return None


def doubts_of(path: Path, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """What speaks for a part where nothing proves it, a note each."""
    alone = f"{path.name} is called as the first of several parts, and no other stands beside it: taken for the whole"
    named = (alone,) if any(True for _ in _ranked(path)) else ()
    setting = split_among(dict(metadata))
    return (*named, *((f"its metadata say {setting}: split among processes? Taken for the whole",) if setting else ()))


def _ranked(path: Path) -> list[tuple[Path, re.Match]]:
    """The file, and the folder it stands in, where their names hold the number of a process."""
    found = ((path, _RANK.match(path.name)), (path.parent, _RANKS.fullmatch(path.parent.name)))
    return [(place, match) for place, match in found if match]
