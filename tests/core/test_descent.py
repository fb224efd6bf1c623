"""A search killed at any save goes on to the very state that an undisturbed one reaches, whichever search it is."""

import pytest
import torch
from torch import nn

from vestige.core import descent
from vestige.core.descent import Descent, Within
from vestige.core.rng import child
from vestige.nets.fully_connected import mlp
from vestige.reconstruct.weights.from_weights import reconstruct_from_weights


class Killed(Exception):
    """Stands for SIGKILL."""


class Memory:
    """A checkpoint that keeps copies and dies after some saves."""

    def __init__(self, lives=10**9):
        self.state, self.lives, self.saves = None, lives, 0

    def save(self, tensors):
        self.state = {name: tensor.clone() for name, tensor in tensors.items()}
        self.saves += 1
        if self.saves >= self.lives:
            raise Killed

    def load(self):
        return self.state


def network(kind):
    if kind == "convolutional":
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)).float()
        with torch.no_grad():
            for k, parameter in enumerate(net.parameters()):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=child(k, "conv")))
        return net, (1, 6, 6)
    widths = [36, 30, 10, 3] if kind == "deep" else [36, 30, 3]
    return mlp(widths, generator=child(0, kind), dtype=torch.float32), (36,)


def attack(kind, checkpoint):
    net, shape = network(kind)
    return reconstruct_from_weights(
        net,
        shape,
        weight_decay=1e-3,
        n_candidates=6,
        steps=75,
        solver="published" if kind == "published" else "default",
        generator=torch.Generator().manual_seed(4),
        checkpoint=checkpoint,
    )


@pytest.mark.parametrize("kind", ["two layers", "deep", "convolutional", "published"])
def test_killed_at_every_few_saves_it_ends_where_it_would_have(kind, monkeypatch):
    monkeypatch.setattr(descent, "SECONDS", 0.0)
    whole = Memory()
    undisturbed = attack(kind, whole)
    assert whole.saves >= 2
    memory, kills = Memory(lives=2), 0
    while True:
        try:
            found = attack(kind, memory)
            break
        except Killed:
            memory.lives, kills = memory.saves + max(2, whole.saves // 8), kills + 1
    assert kills >= 1
    assert torch.equal(found.candidates, undisturbed.candidates)
    assert torch.equal(found.samples, undisturbed.samples)
    without = attack(kind, None)
    assert torch.equal(found.candidates, without.candidates)


def test_what_was_not_saved_is_missed(monkeypatch):
    """The null: with the optimiser's moments forgotten, the end is another one."""
    monkeypatch.setattr(descent, "SECONDS", 0.0)
    undisturbed, memory = attack("deep", None), Memory(lives=1)
    with pytest.raises(Killed):
        attack("deep", memory)
    assert memory.state is not None
    memory.lives = 10**9
    memory.state = {k: torch.zeros_like(v) if "exp_avg" in k else v for k, v in memory.state.items()}
    assert not torch.equal(attack("deep", memory).candidates, undisturbed.candidates)


def noisy(checkpoint):
    """Ten steps whose gradients are drawn."""
    v, draw = torch.ones(3, requires_grad=True), child(0, "noisy")
    optimizer = torch.optim.Adam([v], 0.1)
    path = Descent([v], optimizer, checkpoint, generator=draw)
    for done in range(path.resume(), 10):
        v.grad = v.detach() + torch.randn(3, generator=draw)
        optimizer.step()
        path.keep(done + 1)
    return v.detach()


def test_draws_go_on_where_they_stood(monkeypatch):
    monkeypatch.setattr(descent, "SECONDS", 0.0)
    memory = Memory(lives=4)
    with pytest.raises(Killed):
        noisy(memory)
    memory.lives, stopped = 10**9, dict(memory.state)
    assert torch.equal(noisy(memory), noisy(None))
    memory.state = stopped | {"generator": child(0, "noisy").get_state()}
    assert not torch.equal(noisy(memory), noisy(None))


def test_a_moment_after_a_save_nothing_is_saved():
    v = torch.ones(3, requires_grad=True)
    memory = Memory()
    Descent([v], torch.optim.SGD([v], 0.1), memory).keep(1)
    assert memory.saves == 0


def test_a_part_stands_beside_what_is_done():
    memory = Memory()
    part = Within(memory, "round 2", {"done": torch.ones(1)})
    assert part.load() is None
    part.save({"x": torch.zeros(2)})
    assert set(memory.state or {}) == {"done", "round 2/x"}
    assert list(part.load() or {}) == ["x"]
