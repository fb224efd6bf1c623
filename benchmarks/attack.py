"""Robust accuracy and cost: vestige's presets against AutoAttack, its own and pyautoattack's, in one run.

    python benchmarks/attack.py --quick                                    shipped network, 100 digits: a minute or two
    python benchmarks/attack.py --model robust.safetensors --data npz:mnist.npz --eps 0.2 --n 200
    python benchmarks/attack.py --peer-model mnist-cnn --data npz:mnist.npz --eps 0.3 --n 100

Networks are trained by benchmarks/adversarial_training.py, or shipped by pyautoattack. Each row attacks the same
samples. Gradients and forwards count samples, for the peers by a hook on the model; seconds are of the processor.
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


def peer(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, norm: str, batch_size: int) -> Row:
    """pyautoattack's standard suite, without what it prints."""
    from pyautoattack import AutoAttack

    counted = Counted(model).eval()
    begun = time.process_time()
    with redirect_stdout(io.StringIO()):
        suite = AutoAttack(counted, norm=PEER_NORMS[norm], eps=eps, device="cpu", seed=0)
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
    model: nn.Module, x: Tensor, y: Tensor, *, eps: float, norm: str, batch_size: int, suites: bool
) -> dict[str, tuple[Row, str]]:
    """Every attack on the same samples, each with the row that it is compared with."""
    common = {"eps": eps, "norm": norm, "batch_size": batch_size, "generator": child(0, "benchmark")}
    found = {
        "fast": timed(lambda: vg.attack.malt(model, x, y, preset="fast", **common)),
        "standard": timed(lambda: vg.attack.malt(model, x, y, **common)),
        "naive APGD-T, 9 targets": timed(lambda: vg.attack.malt(model, x, y, order="logit", **common)),
    }
    reference = "naive APGD-T, 9 targets"
    if suites:
        reference = "AutoAttack (ours)"
        found[reference] = timed(lambda: vg.attack.autoattack(model, x, y, **common))
        if importlib.util.find_spec("pyautoattack"):
            reference = "AutoAttack (pyautoattack)"
            found[reference] = peer(model, x, y, eps=eps, norm=norm, batch_size=batch_size)
    compared = dict.fromkeys(found, reference)
    found["APGD-CE"] = timed(lambda: vg.attack.apgd(model, x, y, loss="ce", **common))
    if importlib.util.find_spec("foolbox"):
        found["PGD-CE, 100 steps (foolbox)"] = foolbox_pgd(model, x, y, eps=eps, norm=norm)
    return {name: (row, compared.get(name, "APGD-CE")) for name, row in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=shipped_model())
    parser.add_argument("--peer-model", choices=sorted(PEERS), help="a model that pyautoattack ships")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--eps", type=float, default=0.15)
    parser.add_argument("--norm", default="linf")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--no-suites", action="store_true", help="leave both AutoAttacks out, which take longest")
    parser.add_argument("--quick", action="store_true", help="100 samples")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = PEERS[options.peer_model]() if options.peer_model else vg.load_model(options.model).model.eval()
    chosen, _ = sample(vg.load_data(options.data, split="test"), 100 if options.quick else options.n)
    x, y = chosen.x.to(next(model.parameters())), chosen.y
    with torch.no_grad():
        clean = (model(x).argmax(1) == y).double().mean().item()
    settings = {"eps": options.eps, "norm": options.norm, "batch_size": options.batch_size}
    measured = rows(model, x, y, **settings, suites=not options.no_suites)
    name = options.peer_model or options.model.stem
    table = Table(title=f"{name}, {options.norm} {options.eps:g}, n = {len(x)}, clean {clean:.1%}")
    for column in ("attack", "robust", "missed", "extra", "gradients", "forwards", "CPU s", "gradients / reference"):
        table.add_column(column, justify="left" if column == "attack" else "right")
    table.add_column("time / reference", justify="right")
    for name, ((robust, gradients, forwards, seconds), reference) in measured.items():
        theirs, their_gradients, _, their_seconds = measured[reference][0]
        missed, extra = int((robust & ~theirs).sum()), int((theirs & ~robust).sum())
        cells = [f"{robust.double().mean():.1%}", str(missed), str(extra), f"{gradients:,}", f"{forwards:,}"]
        cells += [f"{seconds:.1f}", f"1/{their_gradients / max(1, gradients):.1f}", f"1/{their_seconds / seconds:.1f}"]
        table.add_row(name, *cells)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
