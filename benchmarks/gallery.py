"""True samples above, what an audit read from the weights below: a picture of a finished run.

    vestige demo
    python benchmarks/gallery.py vestige-demo/audit --out docs/figures/demo.png

Drawn are the samples that come nearest, best first, with their similarity in bold where they count as recovered.
"""

import argparse
import json
from pathlib import Path

from matplotlib.figure import Figure
from safetensors.torch import load_file
from torch import Tensor

from vestige.report.document import as_png, save_figure


def shown(sample: Tensor) -> Tensor:
    """As an image from 0 to 1: gray, or red, green and blue."""
    return (sample.permute(1, 2, 0) if len(sample) == 3 else sample[0]).clamp(0, 1)


def picture(run: Path, columns: int, rows: int, dpi: int, path: Path, title: str) -> None:
    """Pairs of the truth and what is nearest to it, `columns` in a row."""
    score = json.loads((run / "results.json").read_text())["score"]
    tensors = load_file(run / "samples.safetensors")
    order = sorted(range(score["n"]), key=lambda k: -score["similarity"][k])
    order = [k for k in order if score["match"][k] >= 0][: columns * rows]
    deep = -(-len(order) // columns)
    figure = Figure(figsize=(0.8 * columns, 1.95 * deep), layout="constrained")
    for place, k in enumerate(order):
        row, column = divmod(place, columns)
        for below, image in enumerate((tensors["truth"][k], tensors["samples"][score["match"][k]])):
            axis = figure.add_subplot(2 * deep, columns, (2 * row + below) * columns + column + 1)
            axis.imshow(shown(image).numpy(), cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            if below:
                weight = "bold" if score["recovered"][k] else "normal"
                axis.set_xlabel(f"{score['similarity'][k]:.2f}", fontsize=8, fontweight=weight)
            if not column:
                axis.set_ylabel(("true", "read back")[below], fontsize=8)
    save_figure(path, as_png(figure, dpi=dpi), title=title)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of an audit with --data")
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--dpi", type=int, default=100)
    parser.add_argument("--title", default="Training samples, and what was read from the weights")
    parser.add_argument("--out", type=Path, required=True, help="PNG file")
    args = parser.parse_args()
    picture(args.run, args.columns, args.rows, args.dpi, args.out, args.title)


if __name__ == "__main__":
    main()
