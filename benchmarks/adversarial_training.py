"""Train the small robust networks that the attack's benchmark and the shipped example use.

Adversarial training with one-step or few-step PGD from a random start (Madry et al., arXiv 1706.06083; Wong et al.,
arXiv 2001.03994): each batch is replaced by a perturbation of it in the l_inf ball that raises the cross-entropy.

    python benchmarks/adversarial_training.py --data digits --eps 0.15 --out robust.safetensors
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import vestige as vg
from vestige.core.rng import child

ARCHITECTURES = {
    8: "cnn:1x8x8-c16k3s1-c32k3s2-64-10:bias=all",
    16: "cnn:1x8x16-c16k3s1-c32k3s2-128-100:bias=all",  # benchmarks/digit_pairs.py
    28: "cnn:1x28x28-c16k4s2-c32k4s2-100-10:bias=all",
    32: "cnn:3x32x32-c32k3s1-c48k4s2-c64k4s2-128-10:bias=all",
}


def perturbed(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, steps: int, generator: torch.Generator) -> Tensor:
    """A batch moved up the loss within the ball and the box [0, 1]."""
    delta = (2 * torch.rand(x.shape, generator=generator) - 1) * eps
    for _ in range(steps):
        moved = (x + delta).clamp(0, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(model(moved), y, reduction="sum"), moved)
        size = 1.25 * eps if steps == 1 else 2.5 * eps / steps
        delta = (delta + size * gradient.sign()).clamp(-eps, eps)
    return (x + delta).clamp(0, 1)


def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Color images mirrored and moved by up to two pixels, the whole batch alike."""
    if x.shape[1] != 3:
        return x
    flip, *by = torch.randint(0, 5, (3,), generator=generator).tolist()
    x = x.flip(3) if flip % 2 else x
    return torch.roll(nn.functional.pad(x, (2, 2, 2, 2)), (by[0] - 2, by[1] - 2), (2, 3))[:, :, 2:-2, 2:-2]


def train(data: vg.DataSet, *, eps: float, epochs: int, steps: int, learning_rate: float, seed: int) -> nn.Module:
    """The network after adversarial training with a one-cycle learning rate."""
    generator = child(seed, "adversarial training")
    model = vg.nets.parse_architecture(ARCHITECTURES[data.shape[-1]], generator=child(seed, "init"))
    batch_size = 128 if len(data) > 5000 else 32
    total = epochs * (len(data) // batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=total)
    done = 0
    for epoch in range(epochs):
        order = torch.randperm(len(data), generator=generator)
        for rows in order[: len(data) // batch_size * batch_size].split(batch_size):
            x = shifted(data.x[rows], generator)
            radius = eps * min(1.0, done / (0.4 * total))  # from the full radius at once MNIST never leaves chance
            moved = perturbed(model, x, data.y[rows], eps=radius, steps=steps, generator=generator)
            done += 1
            optimizer.zero_grad()
            loss = cross_entropy(model(moved), data.y[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss under attack {loss.item():.3f}", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--eps", type=float, default=0.15)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("robust.safetensors"))
    options = parser.parse_args()
    data, test = (vg.load_data(options.data, split=split) for split in ("train", "test"))
    settings = {name: getattr(options, name) for name in ("eps", "epochs", "steps", "learning_rate", "seed")}
    model = train(data, **settings)
    with torch.no_grad():
        clean = (model(test.x).argmax(1) == test.y).double().mean().item()
    moved = perturbed(model, test.x, test.y, eps=options.eps, steps=20, generator=child(0, "test"))
    robust = (model(moved).argmax(1) == test.y).double().mean().item()
    print(f"test accuracy {clean:.1%}, under 20 steps of PGD {robust:.1%}")
    metadata = {
        "input_shape": json.dumps(list(data.shape)),
        "loss": "cross_entropy",
        "space": json.dumps({"low": 0.0, "high": 1.0}),
        "data": data.name,
        "trained": f"adversarially, l_inf {options.eps:g}",
    }
    vg.save_model(model, options.out, metadata=metadata)


if __name__ == "__main__":
    main()
