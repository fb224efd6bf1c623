"""Auto-PGD: projected gradient ascent without a step size to tune (arXiv 2003.01690; l_1 after arXiv 2103.01208)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vestige.attack.methods.losses import AttackLoss, usable_loss
from vestige.attack.methods.search import Plan, search
from vestige.attack.problem import AUTOATTACK, L1_APGD, open_case
from vestige.attack.result import AttackResult
from vestige.core.outcome import OnStep
from vestige.core.space import InputSpace
from vestige.core.threat import Norm


def apgd(
    model: nn.Module,
    x: Float[Tensor, " n *feature"],
    y: Int[Tensor, " labels"],
    *,
    eps: float | int,
    norm: Norm | str | float | int = Norm.LINF,
    space: InputSpace | None = None,
    targets: Int[Tensor, " n *k"] | None = None,
    must_reach: bool = False,
    loss: AttackLoss | str = AttackLoss.DLR,
    steps: int = 100,
    restarts: int = 1,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> AttackResult:
    """Search the ball |x' - x|_p <= eps, cut with the box of valid inputs, for a misclassified point.

    Each search takes `steps` + 1 gradients at most and ends at its first success; samples that the model gets wrong
    anyway are not searched. The random starts depend on the generator's seed and on a sample's position alone.

    Args:
        model: in evaluation mode; returns logits (n, classes).
        x: clean inputs in data space.
        y: true classes.
        eps: radius, in units of the data.
        norm: "linf", "l2" or "l1".
        space: box and normalisation of the inputs; None for [0, 1] and none.
        targets: classes to move to, one or several a sample in the order to try them; None: away from y.
        must_reach: only the target counts as success; else any class but y.
        loss: "dlr", "ce", "margin" or "pm".
        steps: of each search; the papers use 100.
        restarts: searches of each sample and target.
        batch_size: samples that are differentiated together.
        generator: of the random starts; None for seed 0.
        on_step: told how many samples are finished; its value is the robust accuracy so far.

    Returns:
        Adversarial examples in data space, and what they cost.

    Raises:
        ValueError: see `vestige.attack.problem`; also targets that are out of range or equal to y, or that are missing
            where they must be reached.

    >>> linear = nn.Linear(2, 2, bias=False)
    >>> _ = linear.weight.data.copy_(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))  # class 0 where x_0 > x_1
    >>> x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
    >>> apgd(linear.eval(), x, y, eps=0.101).success.tolist()  # the boundary is at 0.1 and at 0.4
    [True, False]
    """
    check_counts(steps=steps, restarts=restarts, batch_size=batch_size)
    case = open_case(model, x, y, eps=eps, norm=norm, space=space, must_reach=must_reach)
    if must_reach and targets is None:
        raise ValueError("must_reach=True without targets given; name the classes to reach, one or several a sample.")
    if targets is not None:
        targets = read_targets(targets, case.y, case.classes)
    picked, warning = usable_loss(loss, case.classes, targeted=targets is not None)
    case.warnings += [warning] if warning else []
    plan = Plan(picked, steps, restarts, targets, batch_size=batch_size)
    search(case, plan, name="apgd", generator=generator, on_step=on_step)
    return case.result(*(L1_APGD, AUTOATTACK) if case.norm is Norm.L1 else (AUTOATTACK,))


def check_counts(**counts: int) -> None:
    """Refuse numbers of steps, restarts and the like below 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count} given; it is a whole number of at least 1.")


def read_targets(targets: Tensor, y: Tensor, classes: int) -> Tensor:
    """Targets as (n, k), none of them the label.

    Raises:
        ValueError: another shape, a class out of range, or the label itself.
    """
    found = targets.to(device=y.device, dtype=torch.long)
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or len(found) != len(y) or found.shape[1] < 1:
        raise ValueError(f"targets have shape {tuple(targets.shape)}; ({len(y)},) or ({len(y)}, k) is needed.")
    if int(found.min()) < 0 or int(found.max()) >= classes or bool((found == y[:, None]).any()):
        raise ValueError(f"a target is outside 0 to {classes - 1}, or is the sample's own label; name other classes.")
    return found
