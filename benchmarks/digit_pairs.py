"""A hundred classes without a download: two of scikit-learn's digits side by side, labeled 10 a + b.

    python benchmarks/digit_pairs.py --out pairs.npz

The digits of the training part pair with each other, and those of the test part likewise, so that no half of a test
image was seen in training.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import vestige as vg
from vestige.core.rng import child


def pairs(split: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 8, 16) in [0, 1] and labels, each class equally often."""
    digits = vg.load_data("digits", split=split)
    label, draw = torch.arange(n) % 100, child(0, "pairs", split)
    halves = []
    for digit in (label // 10, label % 10):
        members = [(digits.y == d).nonzero().flatten() for d in range(10)]
        picks = [int(members[d][torch.randint(len(members[d]), (1,), generator=draw)]) for d in digit.tolist()]
        halves.append(digits.x[picks, 0])
    return torch.cat(halves, 2).numpy(), label.numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n-train", type=int, default=20_000)
    parser.add_argument("--n-test", type=int, default=2_000)
    parser.add_argument("--out", type=Path, default=Path("pairs.npz"))
    options = parser.parse_args()
    x_train, y_train = pairs("train", options.n_train)
    x_test, y_test = pairs("test", options.n_test)
    np.savez(options.out, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


if __name__ == "__main__":
    main()
