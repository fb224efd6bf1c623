"""Certified minima a minute, against a finder with one start at a time; certificates at points of known kind.

    python benchmarks/landscape.py --sizes 6 10 15 20 --restarts 50
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


def naive(k: int, samples: int, seconds: float) -> tuple[int, float]:
    """One start at a time, autograd of a fresh Monte Carlo sample a step, until the loss stalls; certified ends.

    Its ends have gradients as large as the noise, so they are finished by the exact method's Newton steps, uncounted:
    what is timed is only the way there. It knows the same learning rate.
    """
    teacher, found, begun, run = eye(k), 0, time.process_time(), 0
    while time.process_time() - begun < seconds:
        draw = child(run, "naive", str(k))
        w = (torch.randn(k, k, generator=draw, dtype=torch.float64) / k**0.5).requires_grad_()
        history: list[float] = []
        for step in range(20_000):
            x = torch.randn(samples, k, generator=draw, dtype=torch.float64)
            loss = (torch.relu(x @ w.T).sum(1) - torch.relu(x).sum(1)).square().mean() / 2
            (slope,) = torch.autograd.grad(loss, w)
            with torch.no_grad():
                w -= 5 / max(6, k) * slope
            history.append(loss.item())
            if step % 200 == 199 and (history[-1] < 1e-3 or _stalled(history) or time.process_time() - begun > seconds):
                break
        paused = time.process_time()
        end = LAND.descend(LAND.Neurons(w.detach()[None]), teacher, steps=50)
        found += bool(end.stationary) and LAND.certify_minimum(LAND.Neurons(end.student.weight[0]), teacher).is_minimum
        found += bool(end.solved)
        begun += time.process_time() - paused
        run += 1
    return found, time.process_time() - begun


def _stalled(history: list[float]) -> bool:
    """The last 200 losses are no smaller than the 200 before them."""
    if len(history) < 400:
        return False
    late, early = sum(history[-200:]), sum(history[-400:-200])
    return late > 0.995 * early


def speed(sizes: list[int], restarts: int, samples: int, seconds: float) -> None:
    """Runs that end in a proved minimum, global or not, a CPU minute."""
    for k in sizes:
        begun = time.process_time()
        found = LAND.find_spurious_minima(k, restarts=restarts, generator=child(0, "speed"))
        took = time.process_time() - begun
        ours = 60 * (found.solved + found.spurious) / took
        count, spent = naive(k, samples, seconds)
        theirs = 60 * count / spent
        ratio = f"{ours / theirs:.0f} times" if count else "the naive finder found none"
        print(
            f"k = n = {k}: {ours:.0f} a minute ({found.spurious} of {restarts} spurious, {found.unfinished} open); "
            f"naive {theirs:.1f} ({count} in {spent:.0f} s): {ratio}",
            flush=True,
        )


def wrong(points: int) -> None:
    """Certificates at points whose kind is known: minima, flat points, saddles, points with a gradient."""
    claims: dict[str, dict[str, int]] = {}
    minima = [m for k in range(6, 11) for m in LAND.known_minima(k)]
    for place in range(points):
        draw = child(place, "points")
        kind = ("minimum", "global", "flat", "split", "slope")[place % 5]
        minimum = minima[place // 5 % len(minima)]
        k = len(minimum.weight)
        turn = torch.linalg.qr(torch.randn(k, k, generator=draw, dtype=torch.float64))[0]
        share = 0.1 + 0.8 * float(torch.rand(1, generator=draw))
        weight = {
            "minimum": lambda w=minimum.weight: w,
            "global": lambda k=k: torch.eye(k, dtype=torch.float64),
            "flat": lambda k=k, a=share: LAND.split_neuron(eye(k), 0, share=a).weight,
            "split": lambda m=minimum, a=share, i=place % k: LAND.split_neuron(m.student, i, share=a).weight,
            "slope": lambda k=k, g=draw: torch.randn(k, k, generator=g, dtype=torch.float64),
        }[kind]()
        said = str(LAND.certify_minimum(LAND.Neurons(weight @ turn), LAND.Neurons(turn)).kind)
        claims.setdefault(kind, {}).setdefault(said, 0)
        claims[kind][said] += 1
    allowed = {
        "minimum": {"spurious", "undecided"},
        "global": {"minimum", "undecided"},
        "flat": {"undecided", "no_minimum"},
        "split": {"no_minimum", "undecided"},
        "slope": {"undecided", "no_minimum"},
    }
    errors = sum(n for kind, said in claims.items() for claim, n in said.items() if claim not in allowed[kind])
    print(f"{points} points of known kind, {errors} wrong certificates: {claims}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=(*PARTS, "catalogue"), nargs="+", default=PARTS)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(range(6, 21)))
    parser.add_argument("--restarts", type=int, default=200)
    parser.add_argument("--samples", type=int, default=10_000, help="of the naive finder, a step")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the naive finder, a size")
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--to", type=Path, default=PACKAGE / "teacher_student" / "minima.safetensors")
    options = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()
    if "catalogue" in options.only:
        catalogue(options.sizes, options.restarts, options.to)
    if "speed" in options.only:
        speed(options.sizes, options.restarts, options.samples, options.seconds)
    if "wrong" in options.only:
        wrong(options.points)
    print(f"{time.process_time() - begun:.0f} CPU s")


if __name__ == "__main__":
    main()
