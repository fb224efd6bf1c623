"""A random network with masks: a seed, the widths, and which weights stay."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from vestige.construct.prune.gadget import Draw
from vestige.nets.layers import empty_linear


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a random network is made of: two layers of `hidden` neurons for each layer of the target."""

    seed: int
    distribution: str
    features: int
    hidden: tuple[int, ...]
    out: tuple[int, ...]
    bias: tuple[bool, ...]
    scale: tuple[float, ...]

    def draws(self) -> list[Draw]:
        """Where the random weights of each layer come from."""
        return [Draw(self.seed, i, self.distribution, scale) for i, scale in enumerate(self.scale)]


@dataclass(frozen=True, eq=False)
class MaskedNetwork:
    """Masks over a random network, in which nothing is trained.

    Attributes:
        plan: seed, widths and scales, from which the random weights come back bit for bit.
        masks: for each parameter of the random network which entries stay.
    """

    plan: Plan
    masks: Mapping[str, Bool[Tensor, "..."]]

    @cached_property
    def random(self) -> nn.Sequential:
        """The random network, as its seed gives it."""
        return random_network(self.plan)

    def to_torch(self) -> nn.Sequential:
        """The pruned network: a copy of the random one with every weight that its mask drops set to zero."""
        pruned = copy.deepcopy(self.random)
        with torch.no_grad():
            for name, parameter in pruned.named_parameters():
                parameter.mul_(self.masks[name])
        return pruned

    @property
    def random_weights(self) -> int:
        """Numbers in the random network."""
        return sum(mask.numel() for mask in self.masks.values())

    @property
    def kept(self) -> int:
        """Numbers that the masks keep."""
        return sum(int(mask.sum()) for mask in self.masks.values())


def random_network(plan: Plan) -> nn.Sequential:
    """The random network of a plan: Linear, ReLU, Linear for each layer of the target, ReLU between them.

    The constant input 1 has a column of the first matrix of each pair: its biases. The second matrices have none.
    """
    modules: list[nn.Module] = [nn.Flatten()]
    features = (plan.features, *plan.out)
    for index, draw in enumerate(plan.draws()):
        size, hidden, out, bias = features[index], plan.hidden[index], plan.out[index], plan.bias[index]
        first = empty_linear(size, hidden, bias=bias, dtype=torch.float32, device=None)
        second = empty_linear(hidden, out, bias=False, dtype=torch.float32, device=None)
        drawn = draw.first(hidden, size + bias)
        with torch.no_grad():
            first.weight.copy_(drawn[:, :size])
            if bias:
                first.bias.copy_(drawn[:, size])
            second.weight.copy_(draw.second(hidden, out).T)
        modules += [nn.ReLU()] * (index > 0) + [first, nn.ReLU(), second]
    return nn.Sequential(*modules).requires_grad_(False).eval()


def linears(network: nn.Sequential) -> list[tuple[str, nn.Linear, str, nn.Linear]]:
    """The pairs of linear layers with their names."""
    found = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    return [(*first, *second) for first, second in zip(found[::2], found[1::2], strict=True)]
