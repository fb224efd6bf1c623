import copy

import pytest
import torch
from torch import nn

from vestige.attack.methods._apgd import apgd
from vestige.attack.methods._fab import fab
from vestige.attack.methods._square import square
from vestige.attack.methods.losses import AttackLoss, objective, usable_loss
from vestige.attack.methods.momentum import checkpoints
from vestige.core.rng import child
from vestige.core.space import InputSpace, lp_norm

P = {"linf": float("inf"), "l2": 2, "l1": 1}


def test_checkpoints_are_the_published_ones():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 1000])
def test_checkpoints_lie_within_the_search(steps):
    found = checkpoints(steps)
    assert found == sorted(set(found)) and found[-1] <= steps


@pytest.mark.parametrize("norm", P)
@pytest.mark.parametrize("loss", AttackLoss)
def test_everything_returned_is_in_the_ball_and_the_box_and_repeats(net, norm, loss):
    model, x, y = net
    eps = {"linf": 0.1, "l2": 0.3, "l1": 0.6}[norm]
    first, second = (apgd(model, x, y, eps=eps, norm=norm, loss=loss, steps=20, generator=child(5)) for _ in "ab")
    assert torch.equal(first.adv, second.adv)
    assert bool((lp_norm(first.adv - x, P[norm]) <= eps + 1e-9).all())
    assert bool(((first.adv >= 0) & (first.adv <= 1)).all())
    assert torch.equal(first.success, model(first.adv).argmax(1) != y)
    assert torch.equal(first.distance, lp_norm(first.adv - x, P[norm]))


def test_batches_do_not_change_what_is_found(one_net):
    model, x, y = one_net
    whole, small = (apgd(model, x, y, eps=0.1, steps=25, batch_size=size) for size in (64, 3))
    assert torch.equal(whole.success, small.success)
    assert whole.gradient_evaluations == small.gradient_evaluations


def test_cost_is_steps_plus_one_for_each_search_that_fails(one_net):
    model, x, y = one_net
    targets = torch.stack([(y + 1) % 4, (y + 2) % 4], 1)
    found = apgd(model, x, y, eps=1e-6, targets=targets, steps=9, restarts=2)
    assert not bool(found.success.any())
    assert found.gradient_evaluations == len(x) * 2 * 2 * 10


def test_normalization_passed_once_is_the_same_as_inside_the_model(one_net):
    model, x, _ = one_net
    normalized = nn.Sequential(Shift(0.5, 0.25), model).eval()
    moved = apgd(
        model, x, model(Shift(0.5, 0.25)(x)).argmax(1), eps=0.05, space=InputSpace(mean=0.5, std=0.25), steps=20
    )
    inside = apgd(normalized, x, normalized(x).argmax(1), eps=0.05, steps=20)
    torch.testing.assert_close(moved.adv, inside.adv)


class Shift(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x):
        return (x - self.mean) / self.std


def test_the_users_model_and_the_global_generator_are_left_alone(one_net):
    model, x, y = one_net
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    apgd(model, x, y, eps=0.1, steps=5)
    assert torch.equal(state, torch.get_rng_state()) and not model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_clean_mistakes_are_not_searched_and_stay_as_they_are(one_net):
    model, x, y = one_net
    wrong = (y + 1) % 4
    found = apgd(model, x, wrong, eps=0.1)
    assert bool(found.success.all()) and not bool(found.clean_correct.any()) and torch.equal(found.adv, x)
    assert found.gradient_evaluations == 0 and found.robust_accuracy == 0.0


@pytest.mark.parametrize(
    ("classes", "targeted", "loss"), [(2, False, "margin"), (3, False, "dlr"), (3, True, "margin")]
)
def test_few_classes_fall_back_and_say_so(classes, targeted, loss):
    picked, warning = usable_loss("dlr", classes, targeted=targeted)
    assert picked == loss and (warning is None) == (loss == "dlr")


def test_losses_have_the_values_of_their_formulas():
    z, y, t = torch.tensor([[3.0, 1.0, 2.0, 0.0]]), torch.tensor([0]), torch.tensor([1])
    p = z.softmax(1)[0]
    expected = {
        (AttackLoss.MARGIN, None): -1.0,
        (AttackLoss.DLR, None): -1.0 / 2.0,
        (AttackLoss.PM, None): float(p[2] - p[0]),
        (AttackLoss.CE, None): float(-p[0].log()),
        (AttackLoss.MARGIN, 1): -2.0,
        (AttackLoss.DLR, 1): -2.0 / 2.5,
        (AttackLoss.PM, 1): float(p[1] - p[0]),
        (AttackLoss.CE, 1): float(p[1].log()),
    }
    for (loss, target), value in expected.items():
        assert objective(loss, y, None if target is None else t)(z).item() == pytest.approx(value)
    assert objective(AttackLoss.MARGIN, y, torch.tensor([2]), reach=True)(z).item() == pytest.approx(-1.0)


class OnlyAtHalf(nn.Module):
    """Right where x_0 is 1/2; elsewhere one logit is NaN, or infinite."""

    def __init__(self, elsewhere):
        super().__init__()
        self.elsewhere = elsewhere

    def forward(self, x):
        other = torch.where((x[:, 0] - 0.5).abs() < 1e-9, -1.0, self.elsewhere)
        return torch.stack([x[:, 0], other, x[:, 1] - 9], 1)


def test_a_loss_that_turns_infinite_stops_the_search_and_is_told():
    found = apgd(
        OnlyAtHalf(-torch.inf).eval(),
        torch.full((2, 3), 0.5),
        torch.tensor([0, 0]),
        eps=0.1,
        loss="ce",
        targets=torch.tensor([1, 1]),
    )
    assert not bool(found.success.any()) and "infinite" in " ".join(found.warnings)
    assert torch.equal(found.adv, torch.full((2, 3), 0.5))


@pytest.mark.parametrize("attack", [apgd, fab, square])
def test_where_the_model_gives_no_number_it_is_not_right(attack):
    found = attack(OnlyAtHalf(torch.nan).eval(), torch.full((2, 3), 0.5), torch.tensor([0, 0]), eps=0.1)
    assert bool(found.success.all()) and found.predicted.tolist() == [-1, -1]
    assert any("returns NaN for 2 of the adversarial examples" in text for text in found.warnings)
