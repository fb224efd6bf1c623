"""Files of every kind, one random change in each with a digest that fits, and what the network then does.

    python tests/construct/file/forging.py --times 500

prints for each kind how many changes `verify` refuses, how many `load` refuses, of how many all claims are still true,
and how many are false; and the CPU seconds.
"""

import argparse
import copy
import json
import math
import random
import tempfile
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

import vestige as vg
from vestige.construct.file.check import DIGEST
from vestige.construct.file.check_narrow import EVERYWHERE
from vestige.construct.file.saved import load, save, verify
from vestige.construct.file.stored import TEXT, digest_of
from vestige.nets.checkpoint import write_tensors
from vestige.nets.fully_connected import mlp
from vestige.nets.weights_file import CheckpointError, read_weights

RIGHT, WRONG = "the claims hold", "refused"


def small(*widths):
    model, draw = mlp(list(widths)).double(), torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64) / 2)
    return model


def points(n, d):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


NEAR = {"exact": False, "radius": 1.0, "tolerance": 0.1, "delta": 0.25}
MAKERS = {
    "memorize": lambda: vg.construct.memorize(points(8, 2), torch.arange(8) % 3),
    "robust": lambda: vg.construct.memorize_robustly(points(3, 2), torch.arange(3) % 2),
    "equal": lambda: vg.construct.narrow(small(1, 3, 1), width="2d+3"),
    "near": lambda: vg.construct.narrow(small(1, 2, 1), **NEAR),
    "masks": lambda: vg.construct.prune_to_target(small(3, 4, 1).float(), tolerance=0.5),
    "2d+2": lambda: vg.construct.narrow(small(1, 3, 1), width="2d+2"),
    "d+2": lambda: vg.construct.narrow(small(1, 2, 1), width="d+2", **NEAR),
    "bounded": lambda: vg.construct.narrow(small(1, 2, 1), weight_bound=8, **NEAR),
    "signs": lambda: vg.construct.robust_two_layer(torch.eye(4) * 3, torch.tensor([0, 1, 0, 1])),
    "transformer": lambda: vg.construct.build_counter(3, 4, dim=3),
}


def parts(path):
    weights = read_weights(path)
    document = json.loads(bytes(weights.tensors[TEXT].numpy()))
    return document, {k: v.clone() for k, v in weights.tensors.items() if k != TEXT}, weights.metadata


def forge(out, document, tensors, metadata):
    everything = {**tensors, TEXT: torch.from_numpy(np.frombuffer(json.dumps(document).encode(), np.uint8).copy())}
    write_tensors(out, everything, {**metadata, "sha256": digest_of(everything)})
    return out


def verdict(path, **options):
    """Whether every claim holds; a file that is refused holds none."""
    try:
        found = verify(path, **options)
    except CheckpointError:
        return WRONG
    assert {c.name: c.holds for c in found.claims}[DIGEST], "the digest was made to fit"
    return RIGHT if found.holds else WRONG


def leaves(value, place=()):
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*place, key))
    else:
        yield place


def mutated(document, tensors, draw):
    """One random change of one value: a digit, a sign, a step, another type."""
    document, tensors = copy.deepcopy(document), {k: v.clone() for k, v in tensors.items()}
    if tensors and draw.random() < 0.3:
        tensor = tensors[draw.choice(sorted(tensors))]
        flat = tensor.view(-1)
        k = draw.randrange(len(flat)) if len(flat) else 0
        flat[k] = not flat[k] if tensor.dtype == torch.bool else flat[k] + draw.choice([1, -1])
        return document, tensors
    *path, last = draw.choice(list(leaves(document)))
    holder = document
    for key in path:
        holder = holder[key]
    holder[last] = _changed(holder[last], draw)
    return document, tensors


def _changed(value, draw):
    if isinstance(value, bool) or value is None:
        return draw.choice([True, False, None, 1])
    if isinstance(value, str):
        k = draw.randrange(len(value)) if value else 0
        return value[:k] + draw.choice("0123456789abcdef-") + value[k + 1 :]
    return draw.choice([value + 1, value - 1, -value, str(value), math.inf])


def refused_by_load(path):
    """Fields that no claim is about are looked at where the construction is built."""
    try:
        load(path)
    except CheckpointError:
        return True
    return False


def claims_hold_by_brute_force(path):
    """What the file specifies of its network, looked at directly with the maker's own evaluators."""
    made = load(path)
    by_kind = {
        "interpolation": hits_its_targets,
        "balls": keeps_its_labels,
        "sign balls": keeps_its_signs,
        "pruned": is_near_at_the_inputs,
        "transformer": gives_the_answers,
        "narrow": agrees_on_a_grid,
    }
    if made.specification.kind == "narrow" and made.specification.radius is None:
        if not any(claim.name == EVERYWHERE for claim in verify(path).claims):
            return all(claim.holds for claim in made.verify().claims)  # nothing is claimed of other inputs
    return by_kind[made.specification.kind](made.network, made.specification)


def hits_its_targets(network, asked):
    off = [abs(a - Fraction(b)) for a, b in zip(network(asked.points).ravel(), asked.targets.ravel(), strict=True)]
    return max(off) <= asked.tolerance


def keeps_its_labels(network, asked):
    """At 20 points of each ball, exactly; most of them near its edge."""
    draw, eps = np.random.default_rng(0), min(asked.eps, 1e3)
    for point, target in zip(asked.points.astype(float), asked.targets, strict=True):
        ways = draw.standard_normal((20, len(point)))
        ways *= (eps * (1 - 1e-9) / np.linalg.norm(ways, ord=asked.norm, axis=1))[:, None]
        if any(value != Fraction(target[0]) for value in network(point + ways).ravel()):
            return False
    return True


def keeps_its_signs(network, asked):
    draw = torch.Generator().manual_seed(0)
    ways = torch.randn(50, *asked.points.shape, generator=draw, dtype=torch.float64)
    near = torch.from_numpy(asked.points) + asked.eps * (1 - 1e-9) * ways / ways.norm(dim=-1, keepdim=True)
    with torch.no_grad():
        outputs = network.double()(near.reshape(-1, near.shape[-1])).reshape(50, -1)
    return bool((outputs.sign() == torch.from_numpy(asked.signs)).all())


def is_near_at_the_inputs(network, asked):
    with torch.no_grad():
        outputs = network.to_torch().double()(torch.from_numpy(asked.points))
    return float((outputs - torch.from_numpy(asked.values)).norm(dim=1).max()) <= asked.tolerance


def gives_the_answers(network, asked):
    return asked.off(asked.errors(network, torch.float64, None)) == 0


def agrees_on_a_grid(network, asked):
    x = np.linspace(-3, 3, 301)[:, None]
    if asked.radius is not None:
        scaled = x * 2.0**asked.bits
        below = np.ceil(scaled) - scaled
        x = x[((abs(x) <= asked.radius) & ((below == 0) | (below >= float(asked.ramp))))[:, 0]]
    pairs = zip(network(x).ravel(), asked.target(x).ravel(), strict=True)
    return not len(x) or max(abs(a - b) for a, b in pairs) <= asked.tolerance


def single_changes(honest, out, name, times):
    """What became of files with one random change each, and those of which a claim held that is not true."""
    document, tensors, metadata = parts(honest)
    draw, found, lies = random.Random(f"{name} {times}"), Counter(), []
    for _ in range(times):
        changed, moved = mutated(document, tensors, draw)
        path = forge(out, changed, moved, metadata)
        if verdict(path) == WRONG:
            found["refused by verify"] += 1
        elif refused_by_load(path):
            found["refused by load"] += 1
        elif claims_hold_by_brute_force(path):
            found["still true"] += 1
        else:
            lies.append(changed)
    return found, lies


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=500)
    times = parser.parse_args().times
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name, make in MAKERS.items():
            honest, begun = Path(folder) / f"{name}.safetensors", time.process_time()
            save(make(), honest)
            found, lies = single_changes(honest, Path(folder) / "mutant.safetensors", name, times)
            counts = " | ".join(str(found[what]) for what in ("refused by verify", "refused by load", "still true"))
            print(f"| {name} | {counts} | {len(lies)} | {time.process_time() - begun:.0f} |", flush=True)


if __name__ == "__main__":
    main()
