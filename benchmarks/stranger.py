"""What a missing fact costs: a model of `vestige train` without its metadata is audited without and with its mean.

    python benchmarks/stranger.py vestige-demo/model.safetensors                    3 minutes on one core
    python benchmarks/stranger.py model.safetensors --restarts 1 --steps 20         seconds

The file is left with the tensors of its network. Loss, weight decay, range and shape are told both times, the mean of
the pixels only the second time.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

import vestige as vg
from vestige.audit import Audit
from vestige.audit.target import Stated
from vestige.audit.truth import read_truth
from vestige.nets.checkpoint import load_model


def audits(file: Path, data: str, *, restarts: int | None, steps: int | None) -> dict[str, Audit]:
    """The audit of bare weights, without the mean and with it."""
    told = load_model(file)
    truth, space = read_truth(data, None, told.metadata), told.space
    if truth.held_out is None or space is None:
        raise SystemExit(f"{file} was not made by `vestige train` from {data}: its facts are not known.")
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.safetensors"
        save_file({name: t.detach().contiguous() for name, t in told.model.state_dict().items()}, bare)
        facts = {
            "data": (truth.train.x, truth.train.y),
            "held_out": (truth.held_out.x, truth.held_out.y),
            "input_shape": told.input_shape,
            "loss": told.metadata["loss"],
            "weight_decay": float(told.metadata["weight_decay"]),
            "restarts": restarts,
            "steps": steps,
        }
        limits = (space.low, space.high)
        return {
            "without": vg.audit(bare, space=limits, **facts),
            "with": vg.audit(bare, space=Stated(limits=limits, mean=space.mean), **facts),
        }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("file", type=Path)
    options.add_argument("--data", default="digits")
    options.add_argument("--restarts", type=int)
    options.add_argument("--steps", type=int)
    given = options.parse_args()
    torch.set_num_threads(1)
    found = audits(given.file, given.data, restarts=given.restarts, steps=given.steps)
    for words, audit in found.items():
        print(f"{words} the mean: {audit.score.n_recovered} of {len(audit.score.similarity)}. {audit.verdict}")


if __name__ == "__main__":
    main()
