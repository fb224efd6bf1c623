"""A pruned random network: a seed, the widths, and a mask for each matrix."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vestige.construct.prune.gadget import Draw
from vestige.construct.prune.sup_error import Ball
from vestige.construct.prune.width import RequiredWidth
from vestige.core.cite import Paper, paper
from vestige.core.claims import Certificate
from vestige.core.outcome import Outcome
from vestige.nets.layers import empty_linear

SOURCE = (paper("2002.00585"), paper("2006.07990"), paper("2006.12156"))


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class PrunedLayer:
    """One layer of the target and what stands for it.

    Args:
        features: inputs of the target's layer.
        out: its outputs.
        target_weights: numbers that it holds, biases included.
        hidden: neurons of the random layer in between.
        random_weights: numbers drawn for it.
        kept: of them, how many the masks keep.
        scale: of the second random matrix.
        worst_weight: largest error of a weight or bias.
        operator_error: norm of the errors as an operator.
        bound: what the outputs behind this layer can be off by, anywhere in the ball.
        retried: searches repeated with new rows, because a weight was out of reach.
    """

    features: int
    out: int
    target_weights: int
    hidden: int
    random_weights: int
    kept: int
    scale: float
    worst_weight: float
    operator_error: float
    bound: float
    retried: int


@dataclass(frozen=True, eq=False)
class Pruned:
    """Masks over a random network, and how far the masked network is from its target.

    Args:
        network: the random network, as its seed gives it; nothing in it is trained.
        masks: for each of its parameters which entries stay.
        plan: seed, widths and scales, from which `network` comes back bit for bit.
        ball: the inputs for which the certificate speaks, and the error that was asked for.
        certified_error: largest difference of the outputs in that ball, l_2; NaN where nothing is certified.
        sampled_error: largest difference found by running both networks.
        layers: the same layer by layer.
        required: the random weights that theory asks for by this method; None for neurons.
        certificate: claims, checked on the stored weights.
        outcome: CONVERGED where the error that was asked for is certified.
        warnings: what a reader must know.
        source: the papers.
    """

    network: nn.Sequential
    masks: dict[str, Bool[Tensor, "..."]]
    plan: Plan
    ball: Ball
    certified_error: float
    sampled_error: float
    layers: tuple[PrunedLayer, ...]
    required: RequiredWidth | None
    certificate: Certificate
    outcome: Outcome
    warnings: tuple[str, ...] = ()
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)

    @property
    def module(self) -> nn.Sequential:
        """The pruned network: the random one times its masks, as a plain module."""
        return masked(self.network, self.masks)

    @property
    def random_weights(self) -> int:
        """Numbers in the random network."""
        return sum(p.numel() for p in self.network.parameters())

    @property
    def kept(self) -> int:
        """Numbers that the masks keep."""
        return sum(int(mask.sum()) for mask in self.masks.values())

    @property
    def target_weights(self) -> int:
        """Numbers in the target."""
        return sum(layer.target_weights for layer in self.layers)


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


def masked(network: nn.Sequential, masks: Mapping[str, Bool[Tensor, "..."]]) -> nn.Sequential:
    """A copy of the network with every weight that its mask drops set to zero."""
    pruned = copy.deepcopy(network)
    with torch.no_grad():
        for name, parameter in pruned.named_parameters():
            parameter.mul_(masks[name])
    return pruned


def linears(network: nn.Sequential) -> list[tuple[str, nn.Linear, str, nn.Linear]]:
    """The pairs of linear layers with their names."""
    found = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    return [(*first, *second) for first, second in zip(found[::2], found[1::2], strict=True)]


def digest(tensors: Sequence[Float[Tensor, "..."]]) -> str:
    """SHA-256 of the tensors' bytes, in order."""
    state = hashlib.sha256()
    for tensor in tensors:
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()
