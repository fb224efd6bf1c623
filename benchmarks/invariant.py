"""Training data of invariant networks: the conventional attack against ours, on the same weights in one run.

    python benchmarks/invariant.py --data npz:mnist.npz --quick
    python benchmarks/invariant.py --data npz:mnist.npz --seeds 5 --figures docs/figures
    python benchmarks/invariant.py --collapse docs/figures/invariant-collapse.svg

Three networks of width 1000, weight decay 1e-3: an average over quarter turns (20 images), a convolution with circular
21 x 21 kernels of stride 14, ReLU and global average pooling (20 images), and a DeepSets network on sets of four images
of one digit (10 sets). Printed are orbits recovered at 0.1 % false positives modulo the group, the same for as many
held-out samples, the median similarity, gradient evaluations and CPU seconds. The conventional attack searches in input
space from a small start; the remedies are a start as large as the data, a penalty on symmetric energy above 0.6, and
three times the step size for the part of a candidate that is not symmetric.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import vestige as vg
from vestige.core.rng import child
from vestige.report.document import as_png, save_figure
from vestige.report.figures import curves

SIZE, DECAY = 4, 1e-3
CASES = {
    "quarter turns": "c4@1x28x28:mlp:784-1000-10",
    "circular CNN": "shifts:14@1x28x28w21:mlp:441-1000-10",
    "sets of 4": "set:4@4x28x28:mlp:784-1000-10",
}


def as_sets(data: vg.DataSet, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sets of SIZE images of one class, labels in turn."""
    generator, x, y = child(seed, "sets"), [], torch.arange(count) % len(data.classes)
    for label in y.tolist():
        of_class = (data.y == label).nonzero().flatten()
        x.append(data.x[of_class[torch.randperm(len(of_class), generator=generator)[:SIZE]], 0])
    return torch.stack(x), y


class Case:
    """A trained network, its samples and as many as are needed that it never saw, centered by an invariant mean."""

    def __init__(self, data: vg.DataSet, name: str, seed: int):
        chosen, rest = vg.data.sample(
            data, 20 if name != "sets of 4" else len(data) // 2, generator=child(seed, "draw")
        )
        x, y, held_out = chosen.x, chosen.y, rest.x[:2000]
        if name == "sets of 4":
            (x, y), (held_out, _) = as_sets(chosen, 10, seed), as_sets(rest, 1000, seed)
        start = vg.nets.parse_architecture(
            CASES[name], first_init=1e-3, generator=child(seed, "i"), dtype=torch.float32
        )
        assert isinstance(start, vg.nets.InvariantNetwork)
        self.group, self.shape = start.group, tuple(x.shape[1:])
        mean = self.group.project(x.mean(0, keepdim=True))[0]
        if name == "sets of 4":
            mean = x.mean((0, 1)).expand(self.shape)
        self.space = vg.InputSpace(0.0, 1.0, mean.float())
        self.x, self.held_out = (self.space.to_model(t.float()) for t in (x, held_out))
        self.net = vg.train_to_margin(start, self.x, y, loss="cross_entropy", weight_decay=DECAY).model

    def attack(self, seed: int, **how):
        """A reconstruction that knows the group or does not."""
        return vg.reconstruct.reconstruct_invariant(
            self.net, self.shape, self.group, weight_decay=DECAY, space=self.space, generator=child(seed, "r"), **how
        )

    def score(self, found) -> vg.reconstruct.ReconstructionScore:
        return vg.score_reconstruction(
            found, self.x, held_out=self.held_out, group=self.group, space=self.space
        )  # fmt: skip


def attacks(restarts: int, steps: int) -> dict[str, dict]:
    """Options of `reconstruct_invariant` by the name of the attack."""
    plain = {"conventional": True, "n_candidates": 60, "restarts": 1, "steps": steps}
    remedies = {"init_scale": 1.0, "most_symmetric": 0.6, "rest_rate": 3.0}
    return {
        "conventional": plain | {"init_scale": 1e-3},
        "conventional with remedies": plain | remedies,
        "ours": {"restarts": restarts},
    }


def picture(case: Case, found, score: vg.reconstruct.ReconstructionScore, folder: Path, name: str) -> None:
    """Truth beside the member of the reconstructed orbit that is nearest to it, best first."""
    from matplotlib.figure import Figure

    order = score.similarity.argsort(descending=True)[:10].tolist()
    figure = Figure(figsize=(len(order), 2.2), layout="constrained")
    for column, k in enumerate(order):
        sample = case.group.align(found.samples[score.match[k]][None], case.x[k : k + 1])[0]
        for row, z in enumerate((case.x[k], sample)):
            axis = figure.add_subplot(2, len(order), row * len(order) + column + 1)
            image = case.space.to_data(z[None])[0]
            if len(image) == SIZE:
                image = torch.cat([torch.cat([image[0], image[1]], 1), torch.cat([image[2], image[3]], 1)])
            axis.imshow(image.squeeze().clamp(0, 1).numpy(), cmap="gray")
            axis.set(xticks=[], yticks=[])
            if row:
                axis.set_xlabel(f"{score.similarity[k]:.2f}", fontsize=7)
            if not column:
                axis.set_ylabel(("true", "read back")[row], fontsize=8)
    path = folder / f"invariant-{name.replace(' ', '-')}.png"
    save_figure(path, as_png(figure, dpi=90), title=f"Training images, and what was read back: {name}")


def collapse(path: Path) -> None:
    """Symmetric energy of candidates against steps, from several starts: 16 digits, even against odd."""
    group, digits = vg.nets.Rotations(), vg.data.binarize(vg.load_data("digits"), [0, 2, 4, 6, 8])
    chosen, _ = vg.data.sample(digits, 16, generator=child(0, "draw"))
    x = (chosen.x - chosen.x.mean()).float()
    start = vg.nets.parse_architecture("c4@1x8x8:mlp:64-200-1", first_init=1e-3, dtype=torch.float32)
    net = vg.train_to_margin(start, x, chosen.y, loss="logistic", weight_decay=DECAY).model
    steps = [5, 15, 25, 50, 100, 200, 500]
    energies = {}
    for name, how in {
        "start 1e-3": {"init_scale": 1e-3}, "start 0.4": {"init_scale": 0.4},
        "start 1, penalty": {"init_scale": 1.0, "most_symmetric": 0.6},
    }.items():  # fmt: skip
        found = [
            vg.reconstruct.reconstruct_invariant(
                net, (1, 8, 8), group, loss="logistic", weight_decay=DECAY, n_candidates=32, restarts=1, steps=k,
                conventional=True, generator=child(0, "r"), **how,
            )
            for k in steps
        ]  # fmt: skip
        energies[name] = [float(vg.nets.symmetric_energy(f.candidates, group).median()) for f in found]
    rho = float(vg.nets.symmetric_energy(x, group).median())
    image = curves(
        steps, energies, xlabel="steps of the whole search", ylabel="symmetric energy, median", log_x=True, level=rho,
        level_name="training data",
    )  # fmt: skip
    save_figure(path, image, title="Small starts collapse to symmetric candidates")
    print(f"training data {rho:.3f}; " + "; ".join(f"{k}: {v[-1]:.3f}" for k, v in energies.items()))


def main() -> None:
    """Print medians over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--restarts", type=int, default=1, help="of our search")
    parser.add_argument("--steps", type=int, default=300, help="of the conventional search")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--figures", type=Path, help="folder for pictures of the first seed")
    parser.add_argument("--collapse", type=Path, help="only draw how candidates become symmetric, on 8x8 digits")
    parser.add_argument("--quick", action="store_true", help="one seed, 50 conventional steps")
    args = parser.parse_args()
    if args.collapse is not None:
        return collapse(args.collapse)
    if args.quick:
        args.seeds, args.steps = 1, 50
    data, rows = vg.load_data(args.data), {}
    for name in args.cases:
        for seed in range(args.seeds):
            case = Case(data, name, seed)
            for attack, how in attacks(args.restarts, args.steps).items():
                begun = time.process_time()
                found = case.attack(seed, **how)
                spent, score = time.process_time() - begun, case.score(found)
                chance = next(null.n_recovered for null in score.nulls if null.name == "held-out samples")
                row = [score.n_recovered, chance, float(score.similarity.median()), found.gradient_evaluations, spent]
                rows.setdefault((name, attack), []).append(row)
                print(name, seed, attack, row, f"threshold {score.threshold:.3f}", flush=True)
                if attack == "ours" and seed == 0 and args.figures is not None:
                    picture(case, found, score, args.figures, name)
    columns = ("recovered", "held-out", "median similarity", "gradient evaluations", "CPU seconds")
    table = Table("network", "attack", *columns, title=f"{args.seeds} seeds, medians")
    for (name, attack), found in rows.items():
        table.add_row(name, attack, *(f"{statistics.median(column):,.3g}" for column in zip(*found, strict=True)))
    Console(width=140).print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
