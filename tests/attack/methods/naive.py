"""Slow references for the iterative attacks, from the papers, for one sample; and a model that shows its inputs."""

import math

import torch
from torch import nn

from vestige.core.rng import child
from vestige.core.space import project_ball

PUBLISHED = [22, 41, 57, 70, 80, 87, 93, 99]  # checkpoints of 100 steps, arXiv 2003.01690


class Recorded(nn.Module):
    """A classifier that remembers at which points it was evaluated, with a gradient and without."""

    def __init__(self, net):
        super().__init__()
        self.net, self.with_gradient, self.without = net, [], []

    def forward(self, x):
        (self.with_gradient if x.requires_grad else self.without).append(x.detach().clone())
        return self.net(x)


def relu_net(size=6, classes=4, lift=0.0, seed=0, n=6):
    """A ReLU network, `lift` added to the logit of class 0, and samples that it assigns to class 0."""
    draw = child(seed, "relu net")
    net = nn.Sequential(nn.Linear(size, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, classes)).eval()
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=draw) * (2 / p.shape[-1]) ** 0.5
    net[4].bias.data[0] += lift
    x = torch.rand((400, size), generator=draw)
    x = x[net(x).argmax(1) == 0][:n]
    assert len(x) == n
    return Recorded(net).eval(), x, torch.zeros(n, dtype=torch.long)


def gradient(function, at):
    at = at.detach().requires_grad_()
    value = function(at)
    return float(value.detach()), torch.autograd.grad(value, at)[0]


def into_ball(at, x, eps, p):
    """Into the ball around x, then into [0, 1]."""
    delta = at - x
    delta = delta.clamp(-eps, eps) if p == math.inf else delta * min(1.0, eps / float(delta.norm().clamp(min=1e-300)))
    return (x + delta).clamp(0, 1)


def apgd_points(loss, x, start, eps, p, stops, steps):
    """Every point that algorithm 1 of arXiv 2003.01690 evaluates from this start, the loss to be maximized."""
    points, values, size = [start], [], 2 * eps
    value, slope = gradient(loss, start)
    values.append(value)
    best, best_value, best_then, halved = start, value, value, True
    at, before, last_stop = start, start, 0
    for k in range(steps):
        direction = slope.sign() if p == math.inf else slope / slope.norm()
        ascent = into_ball(at + size * direction, x, eps, p)
        a = 1.0 if k == 0 else 0.75
        moved = into_ball(at + a * (ascent - at) + (1 - a) * (at - before), x, eps, p)
        before, at = at, moved
        value, slope = gradient(loss, at)
        points.append(at)
        values.append(value)
        if value > best_value:
            best, best_value = at, value
        if k + 1 in stops:
            window = k + 1 - last_stop
            rises = sum(values[i + 1] > values[i] for i in range(last_stop, k + 1))
            halved, best_then, last_stop = (
                rises <= 0.75 * window or (not halved and best_value <= best_then),
                best_value,
                k + 1,
            )
            if halved:
                size, at, slope = size / 2, best, gradient(loss, best)[1]
    return torch.stack(points)


def sparse_points(loss, x, start, eps, steps):
    """Every point that APGD evaluates for l_1 (arXiv 2103.01208): balls of 3, 2 and 1 eps, sparse steps, no box."""
    turns, d = (int(0.3 * steps), int(0.6 * steps)), x.numel()
    points, at, best = [start], start, start
    value, slope = best_value, best_slope = gradient(loss, start)
    size, share, support = 3 * eps, 0.2, d
    for k in range(steps):
        radius = eps * (3 - sum(k >= turn for turn in turns))
        kept = slope.abs().topk(max(1, int(share * d))).indices
        step = torch.zeros_like(x).scatter(0, kept, slope[kept].sign()) / len(kept)
        goal = best if k in turns else at + size * step
        at = x + project_ball((goal - x)[None], 1, radius)[0]
        value, slope = gradient(loss, at)
        points.append(at)
        if value > best_value or k in turns:
            best, best_value, best_slope = at, value, slope
        before, support = support, int((best != x).sum())
        sparser = support < 0.95 * before
        size = min(radius, radius if sparser or k in turns else max(size / 1.5, 0.1 * radius))
        share = support / d / 1.5
        if sparser and k not in turns:
            at, slope = best, best_slope
    return torch.stack(points)


def fab_points(net, x, y, target, p, steps):
    """Every point at which FAB takes a gradient: arXiv 1907.02044, in a box that is never reached.

    The plane is that of the last point evaluated, also after a step back, which spares a pass through the network.
    """
    dual = {math.inf: 1, 2: 2}[p]
    points, at = [], x
    for _ in range(steps):
        points.append(at)
        difference, w = gradient(lambda z: net(z[None])[0, target] - net(z[None])[0, y], at)
        unit = w.sign() if p == math.inf else w / w.norm()

        def onto_plane(point, seen=at, difference=difference, w=w, unit=unit):
            # difference + <w, point + d - seen> = 0, the shortest such d
            return -(difference + w @ (point - seen)) / torch.linalg.vector_norm(w, ord=dual) * unit

        if int(net(at[None]).argmax()) != y:
            at = x + 0.9 * (at - x)
        step, clean = onto_plane(at), onto_plane(x)
        sizes = [float(torch.linalg.vector_norm(d, ord=p)) for d in (step, clean)]
        share = min(sizes[0] / (sizes[0] + sizes[1]), 0.1)
        at = (1 - share) * (at + 1.05 * step) + share * (x + 1.05 * clean)
    return torch.stack(points)


def target_scores(net, x, y, dual):
    """MALT's score of every class by the definition, one class at a time; inf for the label."""
    scores = torch.full((net(x[None]).shape[1],), math.inf)
    for c in range(len(scores)):
        if c != y:
            difference, w = gradient(lambda z, c=c: net(z[None])[0, c] - net(z[None])[0, y], x)
            scores[c] = -difference / float(torch.linalg.vector_norm(w, ord=dual))
    return scores
