"""Two processes take the steps of one that has both halves of every batch."""

import os

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vestige.core.rng import child
from vestige.optim import LocallyOptimalStep

SAMPLES, STEPS = 32, 12
DATA = torch.randn(STEPS, SAMPLES, 5, generator=child(0, "distributed"), dtype=torch.float64)


def objective(model, batch):
    outputs = model(batch)
    return outputs, nn.functional.cross_entropy(outputs, (batch[:, 0] > 0).long() + (batch[:, 1] > 0).long())


def trained(mine, wrap=lambda net: net, **options):
    """Step sizes and weights, on these places of every batch."""
    draw = child(0, "start")
    net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=draw, dtype=torch.float64) / 2)
    probes = [batch[mine] for batch in DATA.flip(0)]
    base = torch.optim.AdamW(net.parameters(), 1e-6)
    step, outer = LocallyOptimalStep(base, net, objective, probes, every=2, **options), wrap(net)
    for batch in DATA:
        step.zero_grad()
        objective(outer, batch[mine])[1].backward()
        step.step()
    return torch.tensor([p.rate for p in step.history], dtype=torch.float64), nn.utils.parameters_to_vector(
        net.parameters()
    ).detach()


def worker(rank, folder, options):
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.save(trained(slice(rank, None, 2), DistributedDataParallel, **options), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
    os._exit(0)  # DistributedDataParallel keeps its group's threads alive, which sometimes abort a usual exit


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"curvature": "parabola"}, {"numerator": "split"}])
def test_two_processes_take_the_steps_of_one(options, tmp_path):
    torch.multiprocessing.spawn(worker, (str(tmp_path), options), nprocs=2)
    (first, weights), (second, others) = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert torch.equal(first, second) and torch.equal(weights, others)
    rates, whole = trained(slice(None), **options)
    torch.testing.assert_close(first, rates, rtol=1e-9, atol=0)
    torch.testing.assert_close(weights, whole, rtol=1e-9, atol=1e-12)
    alone, _ = trained(slice(0, None, 2), **options)  # null: what one process finds by itself
    assert float((alone / rates - 1).abs().max()) > 0.05
