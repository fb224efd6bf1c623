"""What a locally optimal step refuses, and what falls back."""

import math

import pytest
import torch
from test_locally_optimal import adam, network, objective, samples, sgd, training
from torch import nn

from vestige.optim import LocallyOptimalStep
from vestige.optim.draws import Draws, halves


def made(base, **options):
    net = options.pop("net", None) or network()
    return LocallyOptimalStep(base(net.parameters()), net, options.pop("objective", objective), [samples()], **options)


def test_bases_that_choose_their_own_step():
    with pytest.raises(ValueError, match="chooses its step by itself"):
        made(torch.optim.LBFGS)
    prodigy = pytest.importorskip("prodigyopt", reason="peers are in the extra `bench`").Prodigy
    with pytest.raises(ValueError, match="chooses its step by itself"):
        made(prodigy)


def test_an_update_that_is_not_linear():
    class Squared(torch.optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.data.sub_(group["lr"] ** 2 * p.grad)

    with pytest.raises(ValueError, match="twice its learning rate"):
        training(lambda p: Squared(p, 0.1), steps=[0])


@pytest.mark.parametrize(
    "options",
    [
        {"every": 0},
        {"average": 1.0},
        {"growth": 1.0},
        {"low": 2.0, "high": 1.0},
        {"scale": 0.0},
        {"horizon": 0},
        {"curvature": "smoothness"},
        {"smoothness": 1.0},
        {"curvature": "exact"},
        {"numerator": "other"},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError):
        made(sgd, **options)


def test_rates_that_are_no_rates():
    with pytest.raises(ValueError, match="one of them positive"):
        made(lambda p: torch.optim.SGD(p, 0.0))


def step_once(step, net):
    objective(net, samples())[1].backward()
    step.step()


def test_sparse_gradients():
    net = nn.Embedding(4, 2, sparse=True)
    step = LocallyOptimalStep(
        torch.optim.SGD(net.parameters(), 0.1), net, lambda m, b: m(b).square().sum(), [torch.tensor([1])]
    )
    net(torch.tensor([1])).square().sum().backward()
    with pytest.raises(ValueError, match="sparse"):
        step.step()


def test_an_objective_that_changes_something_or_has_no_graph():
    calls = []

    def drifting(model, batch):
        calls.append(1)
        return objective(model, batch)[1] * len(calls)

    def training_itself(model, batch):
        with torch.no_grad():
            model[0].weight.mul_(0.5)
        return objective(model, batch)[1]

    for wrong, said in ((drifting, "same weights"), (training_itself, "changes the weights")):
        net = network()
        with pytest.raises(ValueError, match=said):
            step_once(made(sgd, net=net, objective=wrong), net)
    for wrong, said in ((lambda m, b: m(b[0]), "one number"), (lambda m, b: torch.zeros(()), "no graph")):
        net = network()
        with pytest.raises(ValueError, match=said):
            step_once(made(sgd, net=net, objective=wrong), net)


def test_gauss_newton_without_outputs():
    net = network()
    with pytest.raises(ValueError, match="pair"):
        step_once(made(sgd, net=net, objective=lambda m, b: objective(m, b)[1], curvature="gauss_newton"), net)


def test_a_loss_that_stays_nan_ends_with_a_message_and_one_nan_does_not():
    net, step = None, None
    net = network()
    step = made(adam, net=net, objective=lambda m, b: objective(m, b)[1] * math.nan)
    for _ in range(9):
        step_once(step, net)
    assert step.rate.value == 0.01 and step.rate.failures == 9
    with pytest.raises(ValueError, match="NaN"):
        step_once(step, net)


class Slope(torch.autograd.Function):
    """2 x g, and no derivative of it."""

    @staticmethod
    def forward(ctx, x, g):
        return 2 * x * g

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("derivative for Slope is not implemented")


class Once(torch.autograd.Function):
    """Squares, without a second derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx, gradient):
        return Slope.apply(ctx.saved_tensors[0], gradient)


def test_a_loss_without_a_second_derivative_falls_back_to_the_parabola():
    net = network()
    step = made(sgd, net=net, objective=lambda m, b: Once.apply(m(b[0])).square().mean(), curvature="hessian")
    with pytest.warns(UserWarning, match="parabola"):
        step_once(step, net)
    step_once(step, net)  # once only
    assert step.curvature == "parabola" and step.rate.found


def test_batches_end_and_cannot_be_split():
    assert [Draws([1, 2]).next() for _ in range(2)] == [1, 1]
    draws = Draws(iter([torch.ones(2)]))
    draws.next()
    with pytest.raises(ValueError, match="used up"):
        draws.next()
    for batch in (torch.ones(1), {"a": torch.ones(2), "b": torch.ones(3)}, "text"):
        with pytest.raises(ValueError, match="split"):
            halves(batch)
    first, second = halves({"x": torch.arange(4), "name": "a"})
    assert first["x"].tolist() == [0, 1] and second["x"].tolist() == [2, 3] and first["name"] == "a"


def test_states_and_groups_of_something_else():
    step = made(sgd)
    with pytest.raises(ValueError, match="another optimizer"):
        step.load_state_dict(step.base.state_dict())
    with pytest.raises(ValueError, match="added"):
        step.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
