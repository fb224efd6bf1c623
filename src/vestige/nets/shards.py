"""A model in several safetensors files: an index whose `weight_map` names the file of each tensor."""

import hashlib
import json
from pathlib import Path

from vestige.nets.weights_file import (
    LARGEST_HEADER,
    CheckpointError,
    WeightsFile,
    check_finite,
    check_names,
    checked_digest,
    read_tensors,
)

MOST_FILES = 1_000


def read_shards(index: Path, *, max_bytes: int, sha256: str | None = None) -> WeightsFile:
    """Read all the files that an index lists, which stand beside it.

    Args:
        index: a file such as model.safetensors.index.json.
        max_bytes: refuse more in all.
        sha256: expected digest of the index.

    Raises:
        CheckpointError: an index that is damaged or names other places, a file that is missing or holds other tensors.
    """
    places = _weight_map(index)
    files = sorted(set(places.values()))
    missing = [name for name in files if not (index.parent / name).is_file()]
    if missing:
        raise CheckpointError(f"{index} lists {len(files)} files, of which {missing[0]} is not there; download it too")
    total = sum((index.parent / name).stat().st_size for name in files)
    if total > max_bytes:
        raise CheckpointError(
            f"{index} lists {total:,} bytes; allowed are {max_bytes:,}. Raise max_bytes if you trust it"
        )
    digest, tensors, metadata = hashlib.sha256(checked_digest(index, sha256).encode()), {}, {}
    for name in files:
        held, said = read_tensors(index.parent / name)
        listed = {tensor for tensor, place in places.items() if place == name}
        if odd := sorted(listed.symmetric_difference(held)):
            where = "is not in it" if odd[0] in listed else "is not listed"
            raise CheckpointError(
                f"{index.parent / name} and {index.name} disagree: {odd[0]!r} {where}; are both whole?"
            )
        tensors |= held
        metadata |= said
        digest.update(checked_digest(index.parent / name, None).encode())
    check_finite(index, tensors)
    return WeightsFile(tensors, metadata, digest.hexdigest())


def _weight_map(index: Path) -> dict[str, str]:
    """The file of each tensor, beside the index."""
    if index.stat().st_size > LARGEST_HEADER:
        raise CheckpointError(f"{index} has {index.stat().st_size:,} bytes; at most {LARGEST_HEADER:,} are read")
    try:
        read = json.loads(index.read_bytes())["weight_map"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{index} is not an index of weights ({type(error).__name__}): damaged?") from error
    if not isinstance(read, dict) or not read or not all(isinstance(place, str) for place in read.values()):
        raise CheckpointError(f"{index} is not an index of weights: its weight_map names no files")
    check_names(index, list(read))
    odd = [place for place in read.values() if place != Path(place).name or not place.endswith(".safetensors")]
    if odd or len(set(read.values())) > MOST_FILES:
        listed = repr(odd[0][:80]) if odd else f"{len(set(read.values())):,} files"
        if odd and odd[0].endswith((".bin", ".pt", ".pth")):
            raise CheckpointError(
                f"{index} lists {listed}, a pickle: load the model where it was made and save it as safetensors, in "
                "transformers save_pretrained(FOLDER, safe_serialization=True)"
            )
        raise CheckpointError(f"{index} lists {listed}; up to {MOST_FILES:,} .safetensors files beside it are read")
    return read
