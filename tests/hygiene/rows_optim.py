"""Rows of `optim`: what a step changes is its own network, so that each call makes one."""

import torch
from hygiene_rows import Row, gaussian
from torch import nn

import vestige as vg


def stepped(base, x, y, schedule=False, **options):
    """Three steps of a network of their own."""
    with torch.random.fork_rng():  # start and dropout of the training itself, which draw as they ever do
        net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).double()
        for p in net.parameters():
            nn.init.constant_(p, 0.1)
        net[0].weight.data.copy_(gaussian(4, 6))
        step = vg.optim.LocallyOptimalStep(
            base(net.parameters(), 0.1),
            net,
            lambda m, b: nn.functional.cross_entropy(m(b[0]), b[1]),
            [(x, y)],
            **options,
        )
        follow = vg.optim.LocallyOptimalSchedule(step) if schedule else None
        for _ in range(3):
            nn.functional.cross_entropy(net(x), y).backward()
            (step.base if schedule else step).step()
            if follow:
                follow.step()
        step.load_state_dict(step.state_dict())
        return step.history


def batch(_):
    return {"base": torch.optim.SGD, "x": gaussian(8, 6), "y": torch.arange(8) % 2}


ROWS = {
    "optim.LocallyOptimalStep": Row(batch, {"every": 0}, call=stepped),
    "optim.LocallyOptimalSchedule": Row(
        lambda _: {**batch(_), "schedule": True}, {"base": torch.optim.LBFGS}, call=stepped
    ),
}
