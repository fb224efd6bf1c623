"""Stationarity of a trained network: is the parameter vector a weighted sum of per-sample gradients?

Gradient descent drives a homogeneous classifier towards a KKT point of the max-margin problem (arXiv 1906.05890):

    theta  =  sum_i  c_i . d f(theta; x_i) / d theta                                              (1)

with c_i = lambda_i y_i (binary). Weight decay and other losses change only c, so every caller builds its own c and
shares this file. In terms of the Gram matrix K of the rows r_i = c_i . grad f(x_i) and t_i = <theta, r_i>,

    |theta - sum_i lambda_i r_i|^2  =  |theta|^2 - 2 <t, lambda> + <lambda, K lambda>.             (2)
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from vestige.core.soft_gate import smoothed

ROWS_BUDGET = 2**29  # bytes that per-sample gradients may take at once


def weighted_gradient(
    model: nn.Module, x: Float[Tensor, "n ..."], coef: Float[Tensor, "n out"], *, create_graph: bool = False
) -> dict[str, Tensor]:
    """Right-hand side of (1): one backward pass, whatever n and out are.

    Args:
        model: any module; runs as it is (device, dtype, training mode) and stays untouched.
        x: inputs in model space.
        coef: output cotangents c_i.
        create_graph: keep the result differentiable in x and coef.

    Returns:
        One tensor for each trainable parameter, by name.

    >>> linear = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    >>> weighted_gradient(linear, x, torch.tensor([[2.0], [3.0]], dtype=torch.float64))["weight"].tolist()
    [[2.0, 3.0]]
    """
    params = {k: p.detach().requires_grad_() for k, p in model.named_parameters() if p.requires_grad}
    output = functional_call(model, {**params, **_own_buffers(model)}, (x,))
    grads = torch.autograd.grad(
        output, list(params.values()), coef.reshape(output.shape), create_graph=create_graph, materialize_grads=True
    )
    return dict(zip(params, grads, strict=True))


def stationarity_residual(
    model: nn.Module, x: Float[Tensor, "n ..."], coef: Float[Tensor, "n out"], *, create_graph: bool = False
) -> Float[Tensor, ""]:
    """Squared distance between the two sides of (1), over all trainable parameters; not divided by |theta|^2."""
    combined = weighted_gradient(model, x, coef, create_graph=create_graph)
    params = dict(model.named_parameters())
    return torch.stack([(params[k].detach() - g).square().sum() for k, g in combined.items()]).sum()


@dataclass(frozen=True)
class GramSystem:
    """Equation (2): K (m, m), t (m,) and |theta|^2; `per_layer` holds the same for each layer alone."""

    gram: Float[Tensor, "m m"]
    target: Float[Tensor, " m"]
    theta_sq: Float[Tensor, ""]
    per_layer: dict[str, "GramSystem"] = field(default_factory=dict)

    def residual(self, multipliers: Float[Tensor, " m"]) -> Float[Tensor, ""]:
        """Left-hand side of (2) over |theta|^2."""
        square = self.theta_sq - 2 * self.target @ multipliers + multipliers @ self.gram @ multipliers
        return square.clamp(min=0) / self.theta_sq


def gram_system(
    model: nn.Module,
    x: Float[Tensor, "m ..."],
    coef: Float[Tensor, "m out"],
    *,
    smoothing: float | None = None,
    layers: Iterable[str] | None = None,
) -> GramSystem:
    """Inner products of the rows r_i = coef_i . grad f(x_i), in float64 on a copy in evaluation mode.

    Where all parameters live in Linear and ungrouped Conv2d layers that each run once, K_ij = sum over layers of
    <delta_i, delta_j> (<a_i, a_j> + 1), with a the layer's input and delta the gradient at its output; no row is ever
    formed for Linear layers. Any other module goes through torch.func, in blocks.

    Args:
        model: a network whose output for a sample does not depend on the rest of the batch.
        x: inputs in model space.
        coef: output cotangents, one row each.
        smoothing: alpha of `smoothed`; None is autograd's derivative.
        layers: names of the layers that enter the sums; None is all. `per_layer` always has all.

    Raises:
        ValueError: unknown layer names.

    >>> linear = nn.Linear(2, 1, bias=False)
    >>> gram_system(linear, torch.eye(2), torch.tensor([[2.0], [3.0]])).gram.tolist()
    [[4.0, 0.0], [0.0, 9.0]]
    """
    net = working_copy(model, smoothing)
    x, coef = x.detach().double(), coef.detach().double()
    chosen = select_layers(net, layers)
    found = _by_layer_formula(net, x, coef) or _by_functional(net, x, coef)
    gram, target, theta_sq = (torch.stack(part).sum(0) for part in zip(*(found[k] for k in chosen), strict=True))
    return GramSystem(gram, target, theta_sq, {name: GramSystem(*parts) for name, parts in found.items()})


def working_copy(model: nn.Module, smoothing: float | None = None) -> nn.Module:
    """A float64 copy in evaluation mode, its ReLUs smoothed if asked; the user's model stays as it is."""
    net = copy.deepcopy(model).double().eval()
    return net if smoothing is None else smoothed(net, smoothing)


def select_layers(model: nn.Module, layers: Iterable[str] | None) -> list[str]:
    """Names of the modules that own trainable parameters, in order, restricted to `layers`."""
    names = list(dict.fromkeys(layer_of(k) for k, p in model.named_parameters() if p.requires_grad))
    chosen = names if layers is None else list(layers)
    if not chosen or set(chosen) - set(names):
        raise ValueError(f"layers={chosen} given; this model's trainable layers are {names}.")
    return chosen


def layer_of(parameter: str) -> str:
    """Name of the module that owns a parameter: "1.weight" belongs to "1"."""
    return parameter.rpartition(".")[0]


def _own_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Copies, so that BatchNorm in training mode cannot write into the user's statistics."""
    return {k: b.clone() for k, b in model.named_buffers()}


Parts = tuple[Tensor, Tensor, Tensor]


def _by_layer_formula(net: nn.Module, x: Tensor, coef: Tensor) -> dict[str, Parts] | None:
    modules = {name: net.get_submodule(name) for name in select_layers(net, None)}
    if not all(_formula_covers(m) for m in modules.values()):
        return None
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in modules}

    def record(name: str):
        def hook(_module, inputs, output):
            seen[name].append((inputs[0], output))
            return output.clone()  # an in-place ReLU behind the layer must not overwrite z

        return hook

    handles = [module.register_forward_hook(record(name)) for name, module in modules.items()]
    output = net(x)
    for handle in handles:
        handle.remove()
    once = all(len(uses) == 1 for uses in seen.values())
    if not once or any(a.ndim != (4 if isinstance(modules[k], nn.Conv2d) else 2) for k, ((a, _),) in seen.items()):
        return None
    deltas = torch.autograd.grad(output, [z for ((_, z),) in seen.values()], coef.reshape(output.shape))
    return {
        name: _layer_parts(modules[name], a.detach(), z.detach(), delta)
        for (name, ((a, z),)), delta in zip(seen.items(), deltas, strict=True)
    }


def _formula_covers(module: nn.Module) -> bool:
    plain = type(module) is nn.Linear or (
        isinstance(module, nn.Conv2d)
        and module.groups == 1
        and module.padding_mode == "zeros"
        and module.padding != "same"
    )
    return plain and all(p.requires_grad for p in module.parameters())


def _layer_parts(module: nn.Module, a: Tensor, z: Tensor, delta: Tensor) -> Parts:
    bias = module.bias is not None
    target = (delta * z).flatten(1).sum(1)  # z = W a + b, so <theta_l, r_i> = <delta_i, z_i>
    if isinstance(module, nn.Conv2d):
        gram = _conv_gram(module, a, delta)
    else:
        gram = (delta @ delta.T) * (a @ a.T + bias)
    return gram, target, torch.stack([p.detach().square().sum() for p in module.parameters()]).sum()


def _conv_gram(module: nn.Conv2d, a: Tensor, delta: Tensor) -> Tensor:
    padding = 0 if isinstance(module.padding, str) else module.padding
    patches = F.unfold(a, module.kernel_size, module.dilation, padding, module.stride)
    if module.bias is not None:
        patches = torch.cat([patches, torch.ones_like(patches[:, :1])], 1)
    size = max(1, ROWS_BUDGET // (8 * len(a) * patches.shape[1]))
    gram = a.new_zeros(len(a), len(a))
    for part in delta.flatten(2).split(size, dim=1):
        rows = (part @ patches.mT).flatten(1)
        gram += rows @ rows.T
    return gram


def _by_functional(net: nn.Module, x: Tensor, coef: Tensor) -> dict[str, Parts]:
    params = {k: p.detach() for k, p in net.named_parameters() if p.requires_grad}
    fixed = _own_buffers(net) | {k: p.detach() for k, p in net.named_parameters() if not p.requires_grad}

    def row(sample: Tensor, cotangent: Tensor) -> dict[str, Tensor]:
        def output(p: dict[str, Tensor]) -> Tensor:
            return functional_call(net, {**fixed, **p}, (sample[None],)).reshape(-1)

        return {k: g.reshape(-1) for k, g in vjp(output, params)[1](cotangent)[0].items()}

    size = max(1, ROWS_BUDGET // (16 * sum(p.numel() for p in params.values())))
    spans = [slice(i, i + size) for i in range(0, len(x), size)]
    m, names = len(x), select_layers(net, None)
    parts = {name: (x.new_zeros(m, m), x.new_zeros(m), x.new_zeros(())) for name in names}
    for k, p in params.items():
        parts[layer_of(k)][2].add_(p.square().sum())
    for i in spans:
        left = vmap(row)(x[i], coef[i])
        for j in spans:
            right = left if i == j else vmap(row)(x[j], coef[j])
            for k, g in left.items():
                parts[layer_of(k)][0][i, j] += g @ right[k].T
        for k, g in left.items():
            parts[layer_of(k)][1][i] += g @ params[k].reshape(-1)
    return parts
