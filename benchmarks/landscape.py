"""Certified minima a minute, against a finder with one start at a time; certificates at points of known kind; figures.

    python benchmarks/landscape.py --only speed wrong --sizes 6 8 10 15 20
    python benchmarks/landscape.py --only catalogue --restarts 200

Times are CPU seconds of one thread.
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

import vestige as vg
from vestige.core.rng import child

LAND = vg.landscape
PACKAGE = Path(vg.__file__).parent / "landscape"
PARTS = ("speed", "wrong")


def eye(k: int) -> LAND.Neurons:
    return LAND.Neurons(torch.eye(k, dtype=torch.float64))


def catalogue(sizes: list[int], restarts: int, path: Path) -> None:
    """Find minima for k = n and write them down, with the share of runs that ended in each."""
    kept = {}
    for k in sizes:
        begun = time.process_time()
        count = 10 * restarts if k < 8 else restarts  # one run in 300 for k = 6
        found = LAND.find_spurious_minima(k, restarts=count, generator=child(0, "catalogue"))
        if found.minima:
            kept[f"weights.{k}"] = torch.stack([minimum.weight for minimum in found.minima])
            kept[f"losses.{k}"] = torch.tensor([minimum.loss for minimum in found.minima], dtype=torch.float64)
            kept[f"hits.{k}"] = torch.tensor([minimum.hits for minimum in found.minima])
            kept[f"restarts.{k}"] = torch.tensor(found.restarts)
        print(
            f"k = n = {k}: {found.share:.1%} of {found.restarts} runs spurious, {found.unfinished} unfinished, "
            f"{found.uncertified} uncertified; {len(found.minima)} minima {[m.blocks for m in found.minima]}, "
            f"{time.process_time() - begun:.0f} CPU s",
            flush=True,
        )
    save_file(kept, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=(*PARTS, "catalogue"), nargs="+", default=PARTS)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(range(6, 21)))
    parser.add_argument("--restarts", type=int, default=200)
    parser.add_argument("--to", type=Path, default=PACKAGE / "teacher_student" / "minima.safetensors")
    options = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()
    if "catalogue" in options.only:
        catalogue(options.sizes, options.restarts, options.to)
    print(f"{time.process_time() - begun:.0f} CPU s")


if __name__ == "__main__":
    main()
