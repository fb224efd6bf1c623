"""Locally optimal steps: closed forms on quadratics, agreement of the curvatures, noise, resuming, hygiene."""

import copy
import math
from dataclasses import astuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from vestige.core.rng import child
from vestige.optim import LocallyOptimalSchedule, LocallyOptimalStep
from vestige.optim.direction import unit_direction
from vestige.optim.line import Curvature, Line, inner

EXACT = {"curvature": "hessian", "average": 0.0, "every": 1, "growth": 1e9}


def quadratic(curvatures, start=1.0):
    """f(w) = 1/2 sum_i h_i w_i^2 + noise . w, as a model and an objective whose batch is the noise."""
    h = torch.as_tensor(curvatures)
    net = nn.Linear(len(h), 1, bias=False)
    nn.init.constant_(net.weight, start)
    return net, lambda m, e: (h * m.weight[0].square()).sum() / 2 + (e * m.weight[0]).sum()


class Noise:
    """Endless noise of one scale."""

    def __init__(self, d, scale, *names):
        self.d, self.scale, self.names = d, scale, names

    def __iter__(self):
        draw = child(0, *self.names)
        while True:
            yield self.scale * torch.randn(self.d, generator=draw)


def network(*, norm=False, seed=0):
    draw = child(seed, "optim")
    layers = [nn.Linear(5, 8), nn.Tanh(), *([nn.BatchNorm1d(8), nn.Dropout(0.5)] if norm else []), nn.Linear(8, 3)]
    net = nn.Sequential(*layers)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=draw) / 2)
    return net


def samples(n=48, seed=0):
    draw = child(seed, "samples")
    x = torch.randn(n, 5, generator=draw)
    return x, (x @ torch.randn(5, 3, generator=child(1, "teacher"))).argmax(1)


def objective(model, batch):
    outputs = model(batch[0])
    return outputs, nn.functional.cross_entropy(outputs, batch[1])


def training(base, *, steps, step=None, net=None, norm=True, closure=False, **options):
    """Some steps on batches of 8; the network, the optimizer, and the loss before each step."""
    net = net or network(norm=norm)
    loader = DataLoader(TensorDataset(*samples()), 8, shuffle=True)
    step = step or LocallyOptimalStep(base(net.parameters()), net, objective, loader, **options)
    x, y = samples()
    losses = []
    for k in steps:
        at = slice(8 * (k % 6), 8 * (k % 6) + 8)

        def backward(k=k, at=at):
            step.zero_grad()
            with torch.random.fork_rng():
                torch.set_rng_state(child(k, "masks").get_state())
                loss = objective(net, (x[at], y[at]))[1]
            loss.backward()
            return float(loss.detach())

        losses.append(step.step(backward) if closure else backward())
        if not closure:
            step.step()
    return net, step, losses


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=1e-3)


def adam(parameters):
    return torch.optim.AdamW(parameters, 0.01)


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=6), st.floats(1e-6, 1.0))
def test_full_batch_steps_are_cauchys(curvatures, first):
    """g.g / g.Hg to 1e-10, whatever the first learning rate, and the rate of steepest descent."""
    net, f = quadratic(curvatures)
    h = torch.as_tensor(curvatures)
    step = LocallyOptimalStep(torch.optim.SGD(net.parameters(), first), net, f, [torch.zeros(len(h))], **EXACT)
    kappa = max(curvatures) / min(curvatures)
    for _ in range(5):
        before = float(f(net, torch.zeros(len(h))).detach())
        step.zero_grad()
        f(net, torch.zeros(len(h))).backward()
        g = net.weight.grad[0].clone()
        if float(g.norm()) < 1e-6:
            break
        step.step()
        cauchy = float(g @ g / (g @ (h * g)))
        assert abs(step.param_groups[0]["lr"] / cauchy - 1) < 1e-10
        after = float(f(net, torch.zeros(len(h))).detach())
        assert after <= ((kappa - 1) / (kappa + 1)) ** 2 * before * (1 + 1e-9) + 1e-20


def test_four_curvatures_agree_with_the_hessian():
    net, (x, y) = network(), samples()
    variables = list(net.parameters())
    loss = objective(net, (x, y))[1]
    v = [p.detach() for p in torch.autograd.grad(loss, variables)]
    flat = torch.cat([d.reshape(-1) for d in v])

    def whole(weights):
        sizes = [p.numel() for p in variables]
        parts = [w.reshape(p.shape) for w, p in zip(weights.split(sizes), variables, strict=True)]
        named = dict(zip(dict(net.named_parameters()), parts, strict=True))
        return nn.functional.cross_entropy(torch.func.functional_call(net, named, x), y)

    hessian = torch.func.hessian(whole)(torch.cat([p.detach().reshape(-1) for p in variables]))
    exact = float(flat @ hessian @ flat)
    line = Line(objective, net, (x, y), variables, v, 0)
    _, n, c = astuple(line.derivatives(Curvature.HESSIAN, None))
    assert abs(n / float(flat @ flat) - 1) < 1e-10 and abs(c / exact - 1) < 1e-10
    _, n, c = astuple(line.parabola(1e-4))
    assert abs(n / float(flat @ flat) - 1) < 1e-5 and abs(c / exact - 1) < 1e-5
    ahead, behind = ({k: p - e * d for (k, p), d in zip(net.named_parameters(), v, strict=True)} for e in (1e-5, -1e-5))
    slopes = []
    for moved in (ahead, behind):
        at = {k: p.detach().requires_grad_() for k, p in moved.items()}
        value = nn.functional.cross_entropy(torch.func.functional_call(net, at, x), y)
        slopes.append(float(inner(torch.autograd.grad(value, list(at.values())), v)))
    assert abs((slopes[1] - slopes[0]) / 2e-5 / exact - 1) < 1e-5


def test_gauss_newton_is_that_of_the_jacobian_and_never_negative():
    net, (x, y) = network(), samples()
    variables = list(net.parameters())
    v = [torch.randn(p.shape, generator=child(3, "v")) for p in variables]
    line = Line(objective, net, (x, y), variables, v, 0)
    _, n, c = astuple(line.derivatives(Curvature.GAUSS_NEWTON, None))
    tangent = {k: d for (k, _), d in zip(net.named_parameters(), v, strict=True)}
    frozen = {k: p.detach() for k, p in net.named_parameters()}
    out, moved = torch.func.jvp(lambda p: torch.func.functional_call(net, p, x), (frozen,), (tangent,))
    share = out.softmax(1)
    curved = (share * moved.square()).sum(1) - (share * moved).sum(1).square()
    assert abs(c / float(curved.mean()) - 1) < 1e-10 and c >= 0
    gradient = torch.autograd.grad(objective(net, (x, y))[1], variables)
    assert abs(n / float(inner(gradient, v)) - 1) < 1e-10


def test_a_smoothness_constant_keeps_its_bound_on_a_noisy_quadratic():
    """mean |grad f|^2 <= 2 b D / T + sigma sqrt(2 b D / T) with an oracle's slope; 0.0375 here."""
    d, steps, sigma = 50, 500, 0.3
    h = 1 / torch.arange(1, d + 1)
    noise = sigma / math.sqrt(d) * torch.randn(steps, d, generator=child(0, "oracle"))
    net, f = quadratic(h)
    quiet = [torch.zeros(d)]  # an oracle: the slope without noise
    step = LocallyOptimalStep(
        torch.optim.SGD(net.parameters(), 1.0),
        net,
        f,
        quiet,
        curvature="smoothness",
        smoothness=1.0,
        average=0.0,
        every=1,
        growth=1e9,
        low=1e-12,
    )
    gap, total = float(h.sum() / 2), 0.0
    for k in range(steps):
        total += float((h * net.weight[0]).square().sum().detach())
        step.zero_grad()
        f(net, noise[k]).backward()
        step.step()
    bound = 2 * gap / steps + sigma * math.sqrt(2 * gap / steps)
    assert bound == pytest.approx(0.0375, abs=3e-4) and total / steps <= bound


def noisy_end(steps=600, **options):
    d = 50
    net, f = quadratic(1 / torch.arange(1, d + 1))
    step = LocallyOptimalStep(
        torch.optim.SGD(net.parameters(), 0.1),
        net,
        f,
        Noise(d, 0.3 / math.sqrt(d), "probes"),
        curvature="hessian",
        average=0.99,
        every=1,
        **options,
    )
    noise = iter(Noise(d, 0.3 / math.sqrt(d), "training"))
    for _ in range(steps):
        step.zero_grad()
        f(net, next(noise)).backward()
        step.step()
    return float(f(net, torch.zeros(d)).detach())


def test_the_slope_of_the_same_batch_fails_where_another_batch_works():
    """Without noise in common: .003 to .01; with it the step never falls below that of the curvature alone."""
    apart, same = noisy_end(), noisy_end(numerator="same")
    assert apart < 0.01 and same >= 10 * apart


@pytest.mark.parametrize("base", [sgd, adam])
@pytest.mark.parametrize("options", [{}, {"numerator": "split"}, {"curvature": "parabola"}, {"every": 3}])
def test_the_base_advances_once_a_step(base, options):
    """A plain base that replays the recorded learning rates ends at the same bits, moments and counter."""
    rates, net = [], network(norm=True)
    _, step, _ = training(base, steps=[], net=net, **options)
    step.base.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    training(base, steps=range(25), net=net, step=step)
    twin = network(norm=True)
    plain = base(twin.parameters())
    plain.register_step_pre_hook(lambda o, *_: o.param_groups[0].update(lr=rates.pop(0)))
    training(base, steps=range(25), net=twin, step=plain)
    assert not rates
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, twin.state_dict()[name]), name
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        assert step.state[p].keys() == plain.state[q].keys()
        assert all(torch.equal(a, plain.state[q][k]) for k, a in step.state[p].items())


@pytest.mark.parametrize("base", [sgd, adam])
@pytest.mark.parametrize("cut", [1, 7, 23])
def test_a_resumed_run_is_bit_equal(base, cut, tmp_path):
    whole, at_end, _ = training(base, steps=range(40), every=5)
    half, step, _ = training(base, steps=range(cut), every=5)
    torch.save({"net": half.state_dict(), "step": step.state_dict()}, tmp_path / "state.pt")
    found = torch.load(tmp_path / "state.pt", weights_only=True)
    net = network(norm=True, seed=9)
    net.load_state_dict(found["net"])
    _, again, _ = training(lambda p: base([{"params": list(p), "lr": 5.0}]), steps=[], net=net, every=5)
    again.load_state_dict(found["step"])
    torch.rand(7)  # the global generator is elsewhere
    training(base, steps=range(cut, 40), net=net, step=again)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), net.state_dict().values(), strict=True))
    assert again.history == at_end.history


def test_the_first_learning_rate_does_not_matter():
    ends = []
    for rate in (1e-6, 1e-3, 1.0):
        net, _, losses = training(lambda p, r=rate: torch.optim.AdamW(p, r), steps=range(30), norm=False)
        ends.append((net[0].weight.detach(), losses))
    assert torch.equal(ends[0][0], ends[2][0]) and torch.equal(ends[1][0], ends[2][0])
    assert ends[0][1][-1] < ends[0][1][0] / 4


def test_groups_keep_the_ratios_of_their_learning_rates():
    net = network()
    groups = [{"params": net[0].parameters(), "lr": 1e-3}, {"params": net[2].parameters(), "lr": 4e-3}]
    _, step, _ = training(
        None, steps=range(5), net=net, step=LocallyOptimalStep(torch.optim.SGD(groups), net, objective, [samples()])
    )
    small, large = (group["lr"] for group in step.param_groups)
    assert large == pytest.approx(4 * small) and large == step.rate.value
    frozen = network()
    groups = [{"params": frozen[0].parameters(), "lr": 0.0}, {"params": frozen[2].parameters(), "lr": 1.0}]
    before = frozen[0].weight.detach().clone()
    training(
        None,
        steps=range(5),
        net=frozen,
        step=LocallyOptimalStep(torch.optim.Adam(groups), frozen, objective, [samples()]),
    )
    assert torch.equal(frozen[0].weight, before)


def test_a_closure_and_the_schedule_take_the_same_steps():
    plain, _, losses = training(sgd, steps=range(12))
    closed, _, told = training(sgd, steps=range(12), closure=True)
    assert losses == told and torch.equal(plain[0].weight, closed[0].weight)
    net = network(norm=True)
    _, step, _ = training(sgd, steps=[], net=net)
    schedule = LocallyOptimalSchedule(step)
    for k in range(12):
        training(sgd, steps=[k], net=net, step=step.base)
        schedule.step()
    assert torch.equal(plain[0].weight, net[0].weight)
    assert schedule.get_last_lr() == [step.rate.value]
    saved = copy.deepcopy(schedule.state_dict())
    training(sgd, steps=[12], net=net, step=step.base)
    schedule.load_state_dict(saved)
    assert torch.equal(schedule.state_dict()["step_size"]["numbers"], saved["step_size"]["numbers"])


def test_a_probe_leaves_buffers_masks_and_gradients_alone():
    net = network(norm=True)
    _, step, _ = training(adam, steps=range(3), net=net, numerator="split")
    state, buffers = torch.get_rng_state(), [b.clone() for b in net.buffers()]
    weights, grads = [p.detach().clone() for p in net.parameters()], [p.grad.clone() for p in net.parameters()]
    step.choose()
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(buffers, net.buffers(), strict=True))
    assert all(torch.equal(a, p) for a, p in zip(weights, net.parameters(), strict=True))
    assert all(torch.equal(g, p.grad) for g, p in zip(grads, net.parameters(), strict=True))


def test_accumulated_gradients_and_a_scaler_are_one_step_each():
    net, (x, y) = network(), samples()
    step = LocallyOptimalStep(sgd(net.parameters()), net, objective, [(x, y)])
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    for k in range(8):
        at = slice(6 * k, 6 * k + 6)
        scaler.scale(objective(net, (x[at], y[at]))[1] / 2).backward()
        if k == 5:
            net[0].weight.grad.fill_(math.inf)  # an overflow: the scaler leaves the step out
        if k % 2:
            scaler.step(step)
            scaler.update()
            step.zero_grad()
    assert step.taken == 3 and len(step.history) == 3


def test_the_direction_is_the_update_at_one():
    net, _ = quadratic([1.0, 2.0])
    net.weight.grad = torch.tensor([[3.0, -1.0]])
    base = torch.optim.SGD(net.parameters(), 0.5, weight_decay=0.1)
    (v,) = unit_direction(base, [1.0], check=True)
    assert torch.allclose(v, torch.tensor([[3.1, -0.9]])) and base.param_groups[0]["lr"] == 0.5
    assert torch.equal(net.weight, torch.ones(1, 2)) and not base.state


def test_a_horizon_ends_at_zero_and_the_bounds_hold():
    _, step, _ = training(sgd, steps=range(20), horizon=20, high=0.05, scale=0.5)
    assert max(p.rate for p in step.history) <= 0.05
    assert step.param_groups[0]["lr"] == pytest.approx(step.rate.value * 0.5 / 20)


def test_null_a_constant_loss_gives_no_estimate():
    net = network()
    step = LocallyOptimalStep(sgd(net.parameters()), net, lambda m, b: 0 * m(b).sum(), [torch.ones(2, 5)])
    net(torch.ones(2, 5)).sum().backward()
    step.step()
    assert not step.rate.found
