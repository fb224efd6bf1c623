"""Robust accuracy and cost: vestige's presets against AutoAttack, its own and pyautoattack's, in one run.

    python benchmarks/attack.py --quick                                    shipped network, 100 digits: a minute or two
    python benchmarks/attack.py --model robust.safetensors --data npz:mnist.npz --eps 0.2 --n 200

Networks are trained by benchmarks/adversarial_training.py. Each row attacks the same samples. Gradients and forwards
count samples, for the peer by a hook on the model. `missed` are samples that the row leaves standing and pyautoattack
breaks, `extra` the reverse. pyautoattack is in the extra `bench`; without it the columns compare with our AutoAttack.
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
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import vestige as vg
from vestige.cli.attack import shipped
from vestige.core.rng import child
from vestige.data.dataset import sample

Row = tuple[Tensor, int, int, float]
PEER_NORMS: dict[str, Literal["Linf", "L2", "L1"]] = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def timed(attack: Callable[[], vg.AttackResult]) -> Row:
    """Which samples stand, gradients, forwards, seconds."""
    begun = time.perf_counter()
    found = attack()
    return ~found.success, found.gradient_evaluations, found.forward_evaluations, time.perf_counter() - begun


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
    begun = time.perf_counter()
    with redirect_stdout(io.StringIO()):
        suite = AutoAttack(counted, norm=PEER_NORMS[norm], eps=eps, device="cpu", seed=0)
        adv = suite.run_standard_evaluation(x, y, batch_size=batch_size)
    seconds = time.perf_counter() - begun
    with torch.no_grad():
        return model(adv).argmax(1) == y, counted.gradients, counted.forwards, seconds


def rows(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, norm: str, batch_size: int) -> dict[str, Row]:
    """Every attack on the same samples."""
    common = {"eps": eps, "norm": norm, "batch_size": batch_size, "generator": child(0, "benchmark")}
    found = {
        "fast": timed(lambda: vg.malt(model, x, y, preset="fast", **common)),
        "standard": timed(lambda: vg.malt(model, x, y, **common)),
        "naive APGD-T, 9 targets": timed(lambda: vg.malt(model, x, y, order="logit", **common)),
        "AutoAttack (ours)": timed(lambda: vg.autoattack(model, x, y, **common)),
    }
    if importlib.util.find_spec("pyautoattack"):
        found["AutoAttack (pyautoattack)"] = peer(model, x, y, eps=eps, norm=norm, batch_size=batch_size)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=shipped())
    parser.add_argument("--data", default="digits")
    parser.add_argument("--eps", type=float, default=0.15)
    parser.add_argument("--norm", default="linf")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--quick", action="store_true", help="100 samples")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = vg.load_model(options.model).model.eval()
    chosen, _ = sample(vg.load_data(options.data, split="test"), 100 if options.quick else options.n)
    x, y = chosen.x.to(next(model.parameters())), chosen.y
    with torch.no_grad():
        clean = (model(x).argmax(1) == y).double().mean().item()
    measured = rows(model, x, y, eps=options.eps, norm=options.norm, batch_size=options.batch_size)
    reference = list(measured)[-1]
    table = Table(title=f"{options.model.stem}, {options.norm} {options.eps:g}, n = {len(x)}, clean {clean:.1%}")
    for column in (
        "attack",
        "robust",
        "missed",
        "extra",
        "gradients",
        "forwards",
        "s",
        "gradients / peer",
        "time / peer",
    ):
        table.add_column(column, justify="left" if column == "attack" else "right")
    for name, (stands, gradients, forwards, seconds) in measured.items():
        theirs, their_gradients, _, their_seconds = measured[reference]
        cells = [
            f"{stands.double().mean():.1%}",
            str(int((stands & ~theirs).sum())),
            str(int((theirs & ~stands).sum())),
        ]
        cells += [f"{gradients:,}", f"{forwards:,}", f"{seconds:.1f}"]
        cells += [f"1/{their_gradients / max(1, gradients):.1f}", f"1/{their_seconds / seconds:.1f}"]
        table.add_row(name, *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
