"""Robust accuracy and cost: vestige's presets against AutoAttack, in one run.

    python benchmarks/attack.py                                            shipped network, l_inf, l_2 and l_1: minutes
    python benchmarks/attack.py --quick                                    24 digits, one seed
    python benchmarks/attack.py --model robust.safetensors --data npz:mnist.npz --threats linf:0.2 l1:8 --n 50
    python benchmarks/attack.py --peer-model mnist-cnn --data npz:mnist.npz --threats linf:0.3 --n 40 --seeds 1

Networks are trained by benchmarks/adversarial_training.py, or shipped by pyautoattack. Each row attacks the same
samples. Gradients and forwards count samples, for the peers by a hook on the model; seconds are of the processor.
Every attack is run with several seeds: robust accuracies are listed, all other columns are means over them.
`missed` are samples on which the reference fools the model and the row does not, `extra` the reverse. The reference of
the first rows is pyautoattack's standard suite, or our AutoAttack without it; that of foolbox's PGD is our APGD on the
same loss. Both peers are in the extra `bench`.
"""

import argparse
import importlib.util
import io
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from statistics import mean
from typing import Literal

import torch
from peer_models import PEERS
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import vestige as vg
from vestige.audit.robustness import shipped_model
from vestige.core.rng import child
from vestige.data.dataset import sample

Row = tuple[Tensor, int, int, float]
PEER_NORMS: dict[str, Literal["Linf", "L2", "L1"]] = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def timed(attack: Callable[[], vg.attack.AttackResult]) -> Row:
    """Which samples remain robust, gradients, forwards, seconds."""
    begun = time.process_time()
    found = attack()
    return ~found.success, found.gradient_evaluations, found.forward_evaluations, time.process_time() - begun


class Counted(nn.Module):
    """Counts the samples that a peer sends through a model, with and without a graph."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model, self.gradients, self.forwards = model, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            self.gradients += len(x)
        else:
            self.forwards += len(x)
        return self.model(x)


def peer(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, norm: str, batch_size: int, seed: int) -> Row:
    """pyautoattack's standard suite, without what it prints."""
    from pyautoattack import AutoAttack

    counted = Counted(model).eval()
    begun = time.process_time()
    with redirect_stdout(io.StringIO()):
        suite = AutoAttack(counted, norm=PEER_NORMS[norm], eps=eps, device="cpu", seed=seed)
        adv, _ = suite.run_standard_evaluation(x, y, batch_size=batch_size)
    seconds = time.process_time() - begun
    with torch.no_grad():
        return model(adv).argmax(1) == y, counted.gradients, counted.forwards, seconds


def foolbox_pgd(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, norm: str) -> Row:
    """foolbox's PGD, 100 steps on the cross-entropy."""
    import foolbox

    kinds = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD, "l1": foolbox.attacks.L1PGD}
    counted = Counted(model).eval()
    begun = time.process_time()
    _, adv, _ = kinds[norm](steps=100)(foolbox.PyTorchModel(counted, bounds=(0, 1), device="cpu"), x, y, epsilons=eps)
    seconds = time.process_time() - begun
    with torch.no_grad():
        return model(adv).argmax(1) == y, counted.gradients, counted.forwards, seconds


def rows(
    model: nn.Module, x: Tensor, y: Tensor, *, eps: float, norm: str, batch_size: int, suites: bool, seed: int
) -> dict[str, tuple[Row, str]]:
    """Every attack on the same samples, each with the row that it is compared with."""
    common = {"eps": eps, "norm": norm, "batch_size": batch_size, "generator": child(seed, "benchmark")}
    found = {
        "fast": timed(lambda: vg.attack.malt(model, x, y, preset="fast", **common)),
        "standard": timed(lambda: vg.attack.malt(model, x, y, **common)),
        "MALT as published": timed(lambda: vg.attack.malt(model, x, y, preset="published", **common)),
    }
    reference = "MALT as published"
    if suites:
        if importlib.util.find_spec("pyautoattack"):
            reference = "AutoAttack (pyautoattack)"
            found[reference] = peer(model, x, y, eps=eps, norm=norm, batch_size=batch_size, seed=seed)
        else:
            reference = "AutoAttack (ours)"
            found[reference] = timed(lambda: vg.attack.autoattack(model, x, y, **common))
    compared = dict.fromkeys(found, reference)
    found["APGD-CE"] = timed(lambda: vg.attack.apgd(model, x, y, loss="ce", **common))
    if importlib.util.find_spec("foolbox"):
        found["PGD-CE, 100 steps (foolbox)"] = foolbox_pgd(model, x, y, eps=eps, norm=norm)
    return {name: (row, compared.get(name, "APGD-CE")) for name, row in found.items()}


def show(title: str, seeds: list[dict[str, tuple[Row, str]]]) -> None:
    """One table: each attack's robust accuracy for every seed, and means."""
    table = Table(title=title)
    for column in ("attack", "robust %", "missed", "extra", "gradients", "forwards", "CPU s", "gradients / reference"):
        table.add_column(column, justify="left" if column == "attack" else "right")
    table.add_column("time / reference", justify="right")
    for name, (_, reference) in seeds[0].items():
        pairs = [(found[name][0], found[reference][0]) for found in seeds]
        robust = " ".join(f"{100 * ours[0].double().mean():.1f}" for ours, _ in pairs)
        missed = mean(int((ours[0] & ~theirs[0]).sum()) for ours, theirs in pairs)
        extra = mean(int((theirs[0] & ~ours[0]).sum()) for ours, theirs in pairs)
        gradients, forwards, seconds = (mean(costs) for costs in zip(*(ours[1:] for ours, _ in pairs), strict=True))
        their_gradients, _, their_seconds = (mean(costs) for costs in zip(*(t[1:] for _, t in pairs), strict=True))
        cells = [robust, f"{missed:.1f}", f"{extra:.1f}", f"{gradients:,.0f}", f"{forwards:,.0f}", f"{seconds:.1f}"]
        cells += [f"1/{their_gradients / max(1, gradients):.1f}", f"1/{their_seconds / seconds:.1f}"]
        table.add_row(name, *cells)
    Console(width=150).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=shipped_model())
    parser.add_argument("--peer-model", choices=sorted(PEERS), help="a model that pyautoattack ships")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--threats", nargs="+", default=["linf:0.15", "l2:0.6", "l1:1.3"], metavar="NORM:EPS")
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--no-suites", action="store_true", help="leave AutoAttack out, which takes longest")
    parser.add_argument("--quick", action="store_true", help="24 samples, one seed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = PEERS[options.peer_model]() if options.peer_model else vg.load_model(options.model).model.eval()
    chosen, _ = sample(vg.load_data(options.data, split="test"), 24 if options.quick else options.n)
    x, y = chosen.x.to(next(model.parameters())), chosen.y
    with torch.no_grad():
        clean = (model(x).argmax(1) == y).double().mean().item()
    name = options.peer_model or options.model.stem
    for threat in options.threats:
        norm, eps = threat.split(":")
        settings = {"eps": float(eps), "norm": norm, "batch_size": options.batch_size, "suites": not options.no_suites}
        seeds = [rows(model, x, y, **settings, seed=seed) for seed in range(1 if options.quick else options.seeds)]
        show(f"{name}, {norm} {eps}, n = {len(x)}, clean {clean:.1%}", seeds)


if __name__ == "__main__":
    main()
