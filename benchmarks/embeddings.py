"""Training embeddings from heads on real backbones: ours against the published search, on the same weights in one run.

    python benchmarks/embeddings.py --mails MAILS --quick
    python benchmarks/embeddings.py --images npz:cifar10.npz --n 20 --out docs/figures/embeddings-images.png

--mails names a folder with one sub-folder a class of text files (`spam-...`, `...ham-...`): a spam filter on a sentence
encoder (extra `text`). --images names a data set: a classifier on an ImageNet network (extra `images`). Printed are
embeddings recovered at 0.1 % false positives; how often the nearest of thousands in the gallery is a training sample
among the samples above a confidence, which needs no training set; and for how many training samples the best recovered
embedding ranks the true input first, beside the same count for inputs never trained on. Nobody's text is printed.
"""

import argparse
import email
import html
import re
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

import vestige as vg
from vestige.core.rng import child
from vestige.reconstruct.embeddings.from_embeddings import pool_repeats
from vestige.report.document import as_png, save_figure

ALIKE = 0.8  # cosine from which two texts are one: mailing lists repeat themselves


def texts_of(folder: Path, most: int) -> tuple[list[str], Tensor]:
    """Subject and body of mails, 1 for spam, in random order."""
    found = []
    for path in sorted(folder.glob("*/*.txt")):
        message = email.message_from_bytes(path.read_bytes())
        parts = [str(message.get("Subject") or "")]
        for part in message.walk():
            if part.get_content_maintype() == "text":
                text = bytes(part.get_payload(decode=True) or b"").decode("latin-1")
                parts.append(html.unescape(re.sub(r"<[^>]+>", " ", text)))
        text = re.sub(r"\s+", " ", " ".join(parts)).strip()[:1000]
        if len(text) >= 40:
            found.append((text, int(path.parent.name.startswith("spam"))))
    order = torch.randperm(len(found), generator=child(0, "mails"))[:most].tolist()
    return [found[i][0] for i in order], torch.tensor([found[i][1] for i in order])


def mails(folder: Path, most: int) -> tuple[Tensor, Tensor]:
    """Embeddings and labels of mails that are not near copies of one another."""
    texts, y = texts_of(folder, most)
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    z = torch.empty(len(texts), 384)
    z[by_length] = vg.nets.embed(vg.nets.sentence_encoder(tokens=64), [texts[i] for i in by_length], batch_size=32)
    left, kept = torch.ones(len(z), dtype=torch.bool), []
    for i in range(len(z)):
        if left[i]:
            kept.append(i)
            left &= z @ z[i] <= ALIKE
    return z[kept], y[kept]


def draw(y: Tensor, n: int, seed: int) -> Tensor:
    """n indices, as many of each class."""
    classes = y.unique().tolist()
    generator = child(seed, "draw")
    parts = [(y == c).nonzero().flatten() for c in classes]
    shuffled = [p[torch.randperm(len(p), generator=generator)] for p in parts]
    return torch.cat([p[: n // len(classes)] for p in shuffled])


class Case:
    """A head on embeddings, what it was trained on, and all that was not."""

    def __init__(self, z: Tensor, y: Tensor, n: int, seed: int, weight_decay: float):
        self.train = draw(y, n, seed)
        self.rest = torch.ones(len(z), dtype=torch.bool)
        self.rest[self.train] = False
        mean, std = z[self.rest].mean(0), z[self.rest].std(0) + 1e-3  # public statistics
        self.space = vg.InputSpace(-torch.inf, torch.inf, mean, std)
        self.x = self.space.to_model(z)
        outputs = 1 if len(y.unique()) == 2 else int(y.max()) + 1
        self.known = {"loss": "logistic" if outputs == 1 else "cross_entropy", "weight_decay": weight_decay}
        start = vg.nets.mlp(
            [z.shape[1], 1000, outputs], first_init=1e-3, generator=child(seed, "i"), dtype=torch.float32
        )
        trained = vg.train_to_margin(start, self.x[self.train], y[self.train], **self.known)
        self.head, self.start = trained.model, start
        with torch.no_grad():
            out = self.head(self.x[self.rest])
        said = (out.flatten() > 0).long() if outputs == 1 else out.argmax(1)
        self.accuracy = float((said == y[self.rest]).float().mean())

    def measure(self, found) -> dict[str, float]:
        """What a reconstruction is worth, in numbers that show nobody's data."""
        own, held_out = self.x[self.train], self.x[self.rest]
        score = vg.score_reconstruction(found, own, held_out=held_out)
        rank = vg.reconstruct.best_rank(found.samples, self.x, self.train)
        unseen = vg.reconstruct.best_rank(found.samples, self.x, self.rest.nonzero().flatten())
        chance = [float((unseen <= k).float().mean()) * len(own) for k in (1, 10)]
        nearest = vg.reconstruct.nearest_in_gallery(found.samples, self.x, top=1).index[:, 0]
        trained = torch.isin(nearest, self.train)
        sure, ten = found.confidence >= 0.5, torch.arange(len(trained)) < 10
        share = {"likely": trained[sure], "top 10": trained[ten]}
        return {
            "recovered": score.n_recovered, "rank 1": int((rank == 1).sum()), "by chance": chance[0],
            "within 10": int((rank <= 10).sum()), "10 by chance": chance[1],
            "likely": int(sure.sum()),
            **{f"{k} right": float(v.float().mean()) if len(v) else float("nan") for k, v in share.items()},
            "gradient evaluations": found.gradient_evaluations,
        }  # fmt: skip


def attacks(case: Case, args, seed: int):
    """Ours, the published search pooled, and ours on the head before training."""
    shape = (case.x.shape[1],)
    yield (
        "ours",
        lambda: vg.reconstruct_from_embeddings(
            case.head, repeats=args.repeats, generator=child(seed, "attack"), **case.known
        ),
    )
    if args.published_steps:
        yield f"published, {args.published_runs} x {args.published_steps:,} steps", lambda: pool_repeats([
            vg.reconstruct_from_weights(
                case.head, shape, solver="published", steps=args.published_steps, n_candidates=2 * args.n,
                generator=child(seed, "published", str(k)), **case.known,
            )
            for k in range(args.published_runs)
        ])  # fmt: skip
    if not args.null_steps:
        return
    yield (
        "ours on the untrained head",
        lambda: vg.reconstruct_from_embeddings(
            case.start,
            n_candidates=2 * args.n,
            restarts=2,
            steps=args.null_steps,
            generator=child(seed, "null"),
            **case.known,
        ),
    )


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Between every two images of a and b, over pixels and colors."""
    a, b = (F.normalize(t.flatten(1) - t.flatten(1).mean(1, keepdim=True), dim=1) for t in (a, b))
    return a @ b.T


def invert(case: Case, found, x: Tensor, backbone, args) -> None:
    """Draw the most confident embeddings whose nearest training image is known, beside it; a figure."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    own = case.x[case.train]
    table = F.normalize(found.samples, dim=1) @ F.normalize(own, dim=1).T
    order = table.amax(1).argsort(descending=True)
    kept, seen = [], set()
    for k in order.tolist():
        match = int(table[k].argmax())
        if match not in seen:
            kept.append(k)
            seen.add(match)
    kept = kept[: args.inversions]
    aim = case.space.to_data(found.samples[kept])
    match = case.train[table[kept].argmax(1)]
    center = torch.as_tensor(case.space.mean)
    begun = time.perf_counter()
    drawn = vg.reconstruct.invert_embedding(backbone, aim, tuple(x.shape[1:]), steps=args.steps, center=center)
    ideal = vg.reconstruct.invert_embedding(
        backbone, case.space.to_data(case.x[match]), tuple(x.shape[1:]), steps=args.steps, center=center
    )
    near = vg.reconstruct.nearest_in_gallery(found.samples[kept], case.x[case.rest], top=1).index[:, 0]
    others = case.rest.nonzero().flatten()[near]
    print(f"inverted {len(kept)} twice in {time.perf_counter() - begun:.0f} s, similarity "
          f"{[round(float(s), 2) for s in drawn.similarity]}")  # fmt: skip
    alike = [correlation(images, x[match]) for images in (drawn.images, ideal.images)]
    own = [float(table.diag().mean()) for table in alike]
    chance = [float((table.sum() - table.diag().sum()) / (table.numel() - len(table))) for table in alike]
    print("correlation of pixels with the training image, with the other ones: from the weights "
          f"{own[0]:.2f}, {chance[0]:.2f}; from its own embedding {own[1]:.2f}, {chance[1]:.2f}")  # fmt: skip
    rows = [("training image", x[match]), ("from the weights", drawn.images), ("from its own embedding", ideal.images),
            ("nearest image never seen", x[others])]  # fmt: skip
    size = (1.05 * len(kept), 1.1 * len(rows))
    figure, axes = plt.subplots(len(rows), len(kept), figsize=size, layout="constrained", squeeze=False)
    for line, (name, images) in zip(axes, rows, strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy())
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name.replace(" ", "\n", 1), fontsize=7)
    save_figure(args.out, as_png(figure, dpi=110), title="Images inverted from embeddings that were read from a head")


def main() -> None:
    """Print medians over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=Path)
    parser.add_argument("--images")
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--most", type=int, default=4000, help="inputs embedded, training samples among them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--weight-decay", type=float, default=1e-3)
    parser.add_argument("--published-steps", type=int, default=2000, help="0: ours only")
    parser.add_argument("--published-runs", type=int, default=4)
    parser.add_argument("--null-steps", type=int, default=300, help="of the attack on the untrained head; 0: none")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--inversions", type=int, default=8)
    parser.add_argument("--steps", type=int, default=250, help="of an inversion")
    parser.add_argument("--out", type=Path, help="figure of the inversions (--images only)")
    parser.add_argument("--cache", type=Path, help="keep the embeddings in this file")
    parser.add_argument("--quick", action="store_true", help="one seed, few published steps")
    args = parser.parse_args()
    if (args.mails is None) == (args.images is None):
        parser.error("give --mails FOLDER or --images DATA")
    if args.quick:
        args.seeds, args.published_steps, args.published_runs = 1, 500, 2
    images, backbone = None, None
    if args.images is not None:
        data, backbone = vg.load_data(args.images), vg.nets.image_encoder(resolution=args.resolution)
        images, y = data.x[: args.most].float(), data.y[: args.most]
    if args.cache is not None and args.cache.exists():
        z, y = torch.load(args.cache, weights_only=True)
    else:
        z, y = (vg.nets.embed(backbone, images), y) if args.images is not None else mails(args.mails, args.most)
        if args.cache is not None:
            torch.save((z, y), args.cache)
    results: dict[str, list[dict[str, float]]] = {}
    for seed in range(args.seeds):
        case = Case(z, y, args.n, seed, args.weight_decay)
        print(f"seed {seed}: head right on {case.accuracy:.1%} of {int(case.rest.sum()):,} others", flush=True)
        for name, attack in attacks(case, args, seed):
            begun = time.perf_counter()
            found = attack()
            results.setdefault(name, []).append(case.measure(found) | {"seconds": time.perf_counter() - begun})
            print(f"  {name}: {results[name][-1]}", flush=True)
            if name == "ours" and seed == 0 and args.out is not None and images is not None:
                invert(case, found, images, backbone, args)
    columns = list(next(iter(results.values()))[0])
    table = Table("method", *columns, title=f"n={args.n} among {len(z):,}, {args.seeds} seeds, medians")
    for name, rows in results.items():
        table.add_row(name, *(f"{statistics.median(r[c] for r in rows):,.3g}" if c != "gradient evaluations"
                              else f"{statistics.median(r[c] for r in rows):,.0f}" for c in columns))  # fmt: skip
    Console(width=150).print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
