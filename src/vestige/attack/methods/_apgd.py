"""Auto-PGD: projected gradient ascent without a step size to tune (arXiv 2003.01690; l_1 after arXiv 2103.01208)."""

import torch
from jaxtyping import Int
from torch import Tensor

from vestige.attack.classifier import Classifier, Inputs, Labels
from vestige.attack.methods.losses import AttackLoss, usable_loss
from vestige.attack.methods.search import Plan, search
from vestige.attack.problem import AUTOATTACK, L1_APGD, check_counts, open_case, read_targets
from vestige.attack.result import AttackResult
from vestige.core.outcome import OnStep
from vestige.core.space import InputSpace
from vestige.core.threat import Norm, Radius, Threat


@torch.inference_mode(False)
def apgd(
    model: Classifier,
    x: Inputs,
    y: Labels,
    *,
    eps: Radius,
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

    Each search takes `steps` + 1 gradients at most and ends at its first success; already misclassified samples are not
    searched. The random starts depend on the generator's seed and on a sample's position alone.

    Args:
        model: in evaluation mode; returns logits (n, classes), see `vestige.attack.evaluate_robustness`.
        x: clean inputs in data space.
        y: true classes.
        eps, norm, space: the threat model, see `vestige.core.threat.Threat`; one eps, or one a sample.
        targets: classes to move to, one or several a sample in the order to try them; None: away from y.
        must_reach: only the target counts as success; else any class but y.
        loss: "dlr", "ce", "margin" or "pm".
        steps: of each search; the papers take 100.
        restarts: searches of each sample and target.
        batch_size: samples of any pass through the model.
        generator: of the random starts; None for seed 0.
        on_step: told how many samples are done; its value is the robust accuracy so far.

    Returns:
        Adversarial examples in data space, and what they cost.

    Raises:
        ValueError: a threat model, model, inputs, labels or counts that `vestige.attack.problem` refuses; targets that
            are out of range or equal to y, or that are missing where they must be reached.

    >>> linear = torch.nn.Linear(2, 2, bias=False)
    >>> _ = linear.weight.data.copy_(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))  # class 0 where x_0 > x_1
    >>> x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
    >>> apgd(linear.eval(), x, y, eps=0.101).success.tolist()  # the boundary is at 0.1 and at 0.4
    [True, False]
    """
    check_counts(steps=steps, restarts=restarts, batch_size=batch_size)
    case = open_case(model, x, y, Threat(eps, norm, space), must_reach=must_reach, batch_size=batch_size)
    found = read_targets(targets, case)
    picked, warning = usable_loss(loss, case.classes, targeted=found is not None)
    case.warnings += [warning] if warning else []
    plan = Plan(picked, steps, restarts, found, batch_size=batch_size)
    search(case, plan, name="apgd", generator=generator, on_step=on_step)
    return case.result(*(L1_APGD, AUTOATTACK) if case.norm is Norm.L1 else (AUTOATTACK,))
