"""Networks pruned out of random ones: rates, real networks, and masks that are trained.

    python benchmarks/prune.py --out docs/figures
    python benchmarks/prune.py --data npz:mnist.npz --hidden 500 --tolerance 0.01
    python benchmarks/prune.py --only solvers

Times are CPU seconds of one thread.
"""

import argparse
import math
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import vestige as vg
from vestige.core.rng import child
from vestige.report.document import save_figure
from vestige.report.figures import curves

PARTS = ("solvers", "rates", "network", "methods", "neurons", "masks")


def products(n: int, m: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """U[0, 1] and U[-1, 1] factors, their products, and targets from U[-1/2, 1/2]."""
    draw = child(seed, "products", str(m))
    first = torch.rand(n, m, generator=draw)
    second = 2 * torch.rand(n, m, generator=draw) - 1
    return first, second, first * second, torch.rand(n, generator=draw) - 0.5


def solvers(most: int) -> None:
    """Time and error of exact subset sums, 20,000 instances in float32."""
    for m in (10, 14, 16, 20)[:most]:
        _, _, values, target = products(20_000, m, 0)
        begun = time.process_time()
        found = vg.construct.random_subset_sum(values, target)
        spent = (time.process_time() - begun) / len(target)
        shares = [float((found.error <= t).double().mean()) for t in (1e-2, 1e-3)]
        print(
            f"m = {m}: {1e6 * spent:.0f} us each, P(error <= .01) = {shares[0]:.4f}, (.001) {shares[1]:.4f}, "
            f"median {float(found.error.median()):.2g}, kept {float(found.mask.double().sum(1).mean()):.1f}",
            flush=True,
        )


def both_close(first: Tensor, second: Tensor, target: Tensor) -> Tensor:
    """Error of the product whose factors are nearest to 1 and to the target, as the paper argues."""
    best = torch.maximum(1 - first, (second - target[:, None]).abs()).argmin(1, keepdim=True)
    return ((first * second).gather(1, best)[:, 0] - target).abs()


def rates(out: Path, most: int) -> None:
    """Median error of one weight against the random neurons that there are for it."""
    sizes = [4, 6, 8, 10, 12, 14, 16, 18, 20, 24, 30, 100, 300, 1000, 3000, 10_000][:most]
    rows: dict[str, list[float]] = {"two near factors": [], "best product": [], "best subset": []}
    for m in sizes:
        first, second, values, target = products(2000 if m <= 1000 else 500, m, 1)
        rows["two near factors"].append(float(both_close(first, second, target).median()))
        rows["best product"].append(
            float(vg.construct.random_subset_sum(values, target, method="random").error.median())
        )
        exact = m <= 24
        subset = vg.construct.random_subset_sum(values.double(), target.double()).error if exact else None
        rows["best subset"].append(math.nan if subset is None else float(subset.median()))
        print(f"m = {m}: " + ", ".join(f"{name} {row[-1]:.2g}" for name, row in rows.items()), flush=True)
    drawn = curves(sizes, rows, xlabel="random neurons for one weight", ylabel="median error", logarithmic=True)
    save_figure(out / "prune-rates.svg", drawn, title="One weight from m random neurons")


def trained(data: str, hidden: int, epochs: int = 30) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A network of one hidden layer with biases, by Adam, and the test samples."""
    train, test = vg.load_data(data), vg.load_data(data, split="test")
    features = math.prod(train.shape)
    net = vg.nets.mlp(
        [features, hidden, len(train.classes)], bias="all", dtype=torch.float32, generator=child(0, "prune")
    )
    optimizer, draw = torch.optim.Adam(net.parameters(), 1e-3), child(0, "batches")
    for _ in range(epochs):
        for batch in torch.randperm(len(train), generator=draw).split(64):
            loss = nn.functional.cross_entropy(net(train.x[batch].float()), train.y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.requires_grad_(False), test.x.float(), test.y


def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((torch.cat([net(part) for part in x.split(500)]).argmax(1) == y).double().mean())


def network(data: str, hidden: int, tolerances: list[float]) -> None:
    """A trained network pruned out of a random one: accuracy, certificate, sizes."""
    net, x, y = trained(data, hidden)
    radius = float(x.flatten(1).norm(dim=1).max())
    print(f"{data}, {hidden} hidden neurons, radius {radius:.2f}: accuracy {accuracy(net, x, y):.4f}", flush=True)
    for tolerance in tolerances:
        begun = time.process_time()
        found = vg.construct.prune_to_target(net, x[:256], tolerance=tolerance, radius=radius, nonnegative=True)
        spent = time.process_time() - begun
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "masks.safetensors"
            vg.construct.save(found, path)
            size, holds = path.stat().st_size, vg.construct.verify(path, target=net).holds
        assert found.required is not None
        sizes = found.numbers
        print(
            f"tolerance = {tolerance:g}: certified {sizes['certified_error']:.2g}, found {sizes['sampled_error']:.2g}, "
            f"accuracy {accuracy(found.to_torch(), x, y):.4f}; {sizes['random_weights']:,} random for "
            f"{sizes['target_weights']:,}, kept {sizes['kept']:,}, theory's estimate "
            f"{found.required.random_weights:,}, at least {found.required.lower_bound:,} bits; file {size:,} bytes, "
            f"verified: {holds}; {spent:.1f} CPU s",
            flush=True,
        )


def methods(most: int) -> None:
    """Random weights that each method needs for a network of 5-4-2."""
    net = vg.nets.mlp([5, 4, 2], bias="all", dtype=torch.float32, generator=child(0, "small"))
    for tolerance in (0.3, 0.1, 0.03)[:most]:
        for method in vg.construct.PruneMethod:
            needed = vg.construct.required_width(net, tolerance, method=method)
            try:
                begun = time.process_time()
                found = vg.construct.prune_to_target(net, tolerance=tolerance, method=method)
                used, kept = found.numbers["random_weights"], found.numbers["kept"]
                result = f"{used:,} used, {kept:,} kept, {time.process_time() - begun:.1f} CPU s"
            except ValueError as error:
                result = str(error)
            print(f"tolerance = {tolerance:g}, {method}: estimate {needed.random_weights:,}; {result}", flush=True)


def neurons(out: Path, most: int) -> None:
    """One neuron of norm 3 in ten dimensions: errors on the ball of masks over weights and of masks over neurons."""
    net = vg.nets.mlp([10, 1, 1], bias="none", dtype=torch.float32)
    net[1].weight.data.fill_(3 / math.sqrt(10))
    net[3].weight.data.fill_(1.0)
    draw = child(0, "points")
    x = torch.randn(40, 10, generator=draw)
    x = x / x.norm(dim=1, keepdim=True)
    drawn: list[tuple[int, float, float, float]] = []
    for tolerance, hidden in ((0.3, 80), (0.1, 160), (0.03, 640), (0.01, 2560), (0.001, 10_240))[:most]:
        ours = vg.construct.prune_to_target(net, tolerance=tolerance)
        theirs = vg.construct.prune_to_target(net, tolerance=tolerance, granularity="neurons", x=x, rows=hidden)
        fitted = float(theirs.certificate.claims[0].measured)
        drawn.append((ours.numbers["random_weights"], ours.numbers["sampled_error"], math.nan, math.nan))
        drawn.append((theirs.numbers["random_weights"], math.nan, theirs.numbers["sampled_error"], fitted))
        print(
            f"tolerance = {tolerance:g}: weights {ours.numbers['random_weights']:,} random, error "
            f"{ours.numbers['sampled_error']:.2g} (certified {ours.numbers['certified_error']:.2g}); neurons "
            f"{theirs.numbers['random_weights']:,} random, at the points "
            f"{fitted:.2g}, elsewhere {theirs.numbers['sampled_error']:.2g}, fractional "
            f"{theirs.numbers['fractional_shares']} of at most {len(x)}",
            flush=True,
        )
    sizes, weights, whole, points = zip(*sorted(drawn), strict=True)
    rows = {"masks over weights": weights, "masks over neurons": whole, "the same at the 40 points": points}
    label = "largest error found"
    image = curves(sizes, rows, xlabel="random weights", ylabel=label, logarithmic=True)
    save_figure(out / "prune-neurons.svg", image, title="Masks over weights need fewer than over neurons")


def masks(out: Path, seeds: int, most: int) -> None:
    """Test accuracy of masks trained on digits against the share that is kept."""
    train, test = vg.load_data("digits"), vg.load_data("digits", split="test")
    shares = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)[:most]
    rows: dict[str, list[float]] = {"normal weights": [], "one size, random signs": [], "masks not trained": []}
    for share in shares:
        scores = {name: 0.0 for name in rows}
        for seed in range(seeds):
            for name in list(rows)[:2]:
                net = vg.nets.mlp([64, 64, 64, 10], bias="none", dtype=torch.float32)
                for layer in (m for m in net if isinstance(m, nn.Linear)):
                    size = math.sqrt(2 / layer.in_features)
                    layer.weight.data.normal_(0, size, generator=child(seed, "weights", str(layer.out_features)))
                    if name != "normal weights":
                        layer.weight.data.copy_(layer.weight.sign() * size)
                begun = time.process_time()
                found = vg.construct.edge_popup(
                    net, 4 * train.x, train.y, keep_fraction=share, generator=child(seed, "scores")
                )
                spent = time.process_time() - begun
                scores[name] += accuracy(found.model, 4 * test.x.float(), test.y) / seeds
                scores["masks not trained"] += found.accuracy_before / seeds / 2
        for name, value in scores.items():
            rows[name].append(value)
        print(
            f"keep {share:g}: "
            + ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
            + f"; {spent:.1f} CPU s a run",
            flush=True,
        )
    drawn = curves(shares, rows, xlabel="share of the weights that is kept", ylabel="accuracy on 359 digits")
    save_figure(out / "prune-masks.svg", drawn, title="Masks trained over random weights, digits")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--data", default="digits", help="for the trained network")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--tolerance", type=float, nargs="+", default=[0.1, 0.01, 0.001])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--quick", action="store_true", help="the first value or two of everything varied, one seed")
    options = parser.parse_args()
    most = 2 if options.quick else 100
    if options.quick:
        options.seeds, options.tolerance, options.hidden = 1, options.tolerance[:1], 16
    torch.set_num_threads(1)
    begun = time.process_time()
    parts = {
        "solvers": lambda: solvers(most),
        "rates": lambda: rates(options.out, most),
        "network": lambda: network(options.data, options.hidden, options.tolerance),
        "methods": lambda: methods(most - 1),
        "neurons": lambda: neurons(options.out, most),
        "masks": lambda: masks(options.out, options.seeds, most),
    }
    for name in options.only:
        print(f"-- {name}", flush=True)
        parts[name]()
    print(f"{time.process_time() - begun:.0f} CPU s")


if __name__ == "__main__":
    main()
