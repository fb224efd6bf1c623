"""Does the theory cover this network? A homogeneity test, and one reason for each layer that stands in its way.

Two claims are at stake. "margin": without weight decay, theta turns to a KKT point of the max-margin problem; needs
f(alpha theta; x) = alpha^L f(theta; x) (arXiv 1906.05890). "weight_decay": theta = sum_i s_i grad f(theta; x_i) at a
stationary point of any loss with weight decay; needs no homogeneity, only that f treats each sample by itself
(arXiv 2307.01827).
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from vestige.core.kkt import working_copy
from vestige.core.rng import child

MARGIN, BOTH = ("margin",), ("margin", "weight_decay")
SMOOTH = (nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.ELU, nn.SELU, nn.CELU, nn.Hardtanh, nn.ReLU6)
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


@dataclass(frozen=True)
class LayerFinding:
    """One layer; `falls` names the claims it breaks, "margin" or "weight_decay"; "" is the network as a whole."""

    name: str
    kind: str
    covered: bool
    reason: str
    falls: tuple[str, ...]


@dataclass(frozen=True)
class TheoryCheck:
    """`max_gap` is the largest |f(alpha theta) - alpha^degree f(theta)| over |f|, at alpha = 1/2 and 2.

    `degree` is None for a network that has none, and for one that is zero at every probe, which has every degree.
    """

    homogeneous: bool
    degree: int | None
    layers: tuple[LayerFinding, ...]
    max_gap: float

    @property
    def falls(self) -> tuple[str, ...]:
        """Claims that do not hold for this network, "margin" or "weight_decay"."""
        broken = {claim for layer in self.layers for claim in layer.falls}
        return tuple(claim for claim in BOTH if claim in broken)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each layer that is not covered."""
        return tuple(
            f"{layer.kind}{f' {layer.name!r}' if layer.name else ''}: {layer.reason} "
            f"The {' and '.join(layer.falls).replace('_', ' ')} claim{'s fall' if len(layer.falls) > 1 else ' falls'}."
            for layer in self.layers
            if not layer.covered
        )


def check_theory(model: nn.Module, x: Float[Tensor, "n ..."] | tuple[int, ...]) -> TheoryCheck:
    """Test homogeneity in float64 on a copy in evaluation mode, and name what breaks it.

    Args:
        model: any module.
        x: probe inputs, or the shape of one sample, for which eight Gaussian probes are drawn.

    Raises:
        ValueError: the model's outputs are not finite.

    >>> check_theory(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1, bias=False)), (3,)).degree
    2
    """
    net = working_copy(model)
    probe = (
        torch.randn(8, *x, dtype=torch.float64, generator=child(0, "theory")) if isinstance(x, tuple) else x.double()
    )
    probe = probe.to(next(net.parameters()).device)
    degree, gap = _homogeneity(net, probe)
    layers = tuple(_layers(net, probe))
    homogeneous = gap <= 1e-9 and not any("margin" in layer.falls for layer in layers)
    if homogeneous and degree is None:
        reason = (
            "its output is zero at every probe: it has every degree and no sample a margin. Are these the trained "
            "weights, and the probes like the inputs it is meant for?"
        )
        layers = (*layers, LayerFinding("", type(model).__name__, False, reason, MARGIN))
    elif not homogeneous and not any("margin" in layer.falls for layer in layers):
        reason = (
            "scaling the weights does not scale the output by a power; is there a skip connection or a bare operation?"
        )
        layers = (*layers, LayerFinding("", type(model).__name__, False, reason, MARGIN))
    return TheoryCheck(homogeneous, degree if homogeneous else None, layers, gap)


def _homogeneity(net: nn.Module, probe: Tensor) -> tuple[int | None, float]:
    def scaled(alpha: float) -> Tensor:
        with torch.no_grad():
            return functional_call(net, {k: alpha * p for k, p in net.named_parameters()}, (probe,))

    half, base, double = scaled(0.5), scaled(1.0), scaled(2.0)
    if not bool(torch.isfinite(torch.stack([half, base, double])).all()):
        raise ValueError("the model's outputs are NaN or infinite on the probe inputs; are its weights damaged?")
    size = base.abs().max().item()
    if not bool(torch.stack([half, base, double]).any()):
        return None, 0.0
    if size == 0 or double.abs().max().item() == 0:
        return None, math.inf
    degree = round(math.log2(double.abs().max().item() / size))
    return degree, max((out - a**degree * base).abs().max().item() / size for a, out in ((0.5, half), (2.0, double)))


def _layers(net: nn.Module, probe: Tensor) -> list[LayerFinding]:
    """Leaves in the order in which they run; modules that never run are left out."""
    order: list[tuple[str, nn.Module]] = []
    hooks = [
        m.register_forward_pre_hook(partial(lambda name, module, _: order.append((name, module)), name))
        for name, m in net.named_modules()
        if not list(m.children())
    ]
    with torch.no_grad():
        net(probe)
    for hook in hooks:
        hook.remove()
    findings, seen_weights = [], False
    for i, (name, module) in enumerate(order):
        reason, falls = _judge(module, late=seen_weights, last=i == len(order) - 1)
        findings.append(LayerFinding(name, type(module).__name__, not falls, reason, falls))
        seen_weights |= isinstance(module, nn.Linear | _ConvNd)
    return findings


def _judge(module: nn.Module, late: bool, last: bool) -> tuple[str, tuple[str, ...]]:
    kind = type(module).__name__
    if isinstance(module, nn.Linear | _ConvNd):
        if late and module.bias is not None:
            return "a bias after the first layer scales with another power than the weights before it.", MARGIN
        return "linear in its weights.", ()
    if isinstance(module, nn.Softmax | nn.LogSoftmax) or (last and isinstance(module, nn.Sigmoid)):
        return "the equations are about logits; take the layer off and name the loss instead.", BOTH
    if isinstance(module, _BatchNorm):
        return "in training it couples the samples of a batch, so no sample has a gradient of its own.", BOTH
    if isinstance(module, _DropoutNd):
        if module.p > 0:
            return "training averaged over random masks, so the weights are stationary for another objective.", BOTH
        return "with p = 0 it does nothing.", ()
    if isinstance(module, NORMS):
        return "its output does not grow with the weights before it.", MARGIN
    if isinstance(module, SMOOTH):
        return f"{kind} is not positively homogeneous.", MARGIN
    return "keeps scaling, as far as the homogeneity test of the whole network sees.", ()
