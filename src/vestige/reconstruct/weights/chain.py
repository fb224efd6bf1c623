"""What the attack reads off a network: the layers of an MLP, its first layer in the span of the training data.

Gradient descent never moves the rows of the first layer out of the span of the training inputs (with a bias: of the
inputs with a 1 appended), so that the rank of that layer counts the samples that can be told apart, and its row space
holds them. Searching in those coordinates is exact up to the initialization's noise (2206.07758 trains with 1e-4).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.relu_chain import find_relu_chain, first_linear
from vestige.reconstruct.weights.neurons import distinct_neurons
from vestige.reconstruct.weights.two_layer.numerical_rank import numerical_rank

FORGOTTEN = 1e-2  # ratio of the first singular value that is no sample's to the last that is


@dataclass(frozen=True)
class Chain:
    """A ReLU MLP in span coordinates x = basis z.

    Attributes:
        weights: one (out, in) matrix a layer; the first one is (h, r), on span coordinates.
        biases: one a layer, zeros where the layer has none.
        has_bias: which layers have one.
        target_weights: what the weighted gradients must sum to: the weights, minus a reference if one was given.
        target_biases: likewise.
        basis: (d, r) orthonormal columns.
        singular_values: of the first layer with its bias as one more column.
        rank: how many of them stand out of the noise: the most samples that can be told apart.
        clear: whether that number is: there is a gap in the singular values, or the small ones are noise.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    has_bias: tuple[bool, ...]
    target_weights: tuple[Tensor, ...]
    target_biases: tuple[Tensor, ...]
    basis: Float[Tensor, "d r"]
    singular_values: Float[Tensor, " k"]
    rank: int
    clear: bool

    @property
    def out(self) -> int:
        """Number of outputs."""
        return self.weights[-1].shape[0]

    @property
    def directions(self) -> int:
        """Number of different neurons in the first layer."""
        return round(float(distinct_neurons(torch.cat([self.weights[0], self.biases[0][:, None]], 1)).sum()))

    @property
    def brightness(self) -> Float[Tensor, " r"]:
        """The unit input with all entries equal; what the span leaves of it."""
        return self.basis.double().sum(0) / len(self.basis) ** 0.5

    def first_augmented(self) -> Float[Tensor, "h r1"]:
        """Target of the first layer, [W b] in span coordinates; without a bias W alone."""
        parts = (
            [self.target_weights[0], self.target_biases[0][:, None]] if self.has_bias[0] else self.target_weights[:1]
        )
        return torch.cat(list(parts), 1)

    def augmented(self, z: Float[Tensor, "*m r"]) -> Float[Tensor, "*m r1"]:
        """Candidates with the 1 that multiplies the bias."""
        return torch.cat([z, torch.ones_like(z[..., :1])], -1) if self.has_bias[0] else z


def span_chain(model: nn.Module, reference: Mapping[str, Tensor] | None, dtype: torch.dtype) -> Chain | None:
    """A ReLU MLP with a hidden layer and a trainable first layer, or None for any other module."""
    found = find_relu_chain(model)
    if found is None or found.depth < 2 or first_linear(model) is None or not found.layers[0].weight.requires_grad:
        return None
    names = found.names
    state = {k: v.detach().to(dtype) for k, v in model.named_parameters()}
    weights = [state[f"{n}.weight"] for n in names]
    has_bias = tuple(f"{n}.bias" in state for n in names)
    biases = [state.get(f"{n}.bias", w.new_zeros(len(w))) for n, w in zip(names, weights, strict=True)]
    reference = reference or {}
    target_w = [
        w - reference[f"{n}.weight"].to(w) if f"{n}.weight" in reference else w
        for n, w in zip(names, weights, strict=True)
    ]
    target_b = [
        b - reference[f"{n}.bias"].to(b) if f"{n}.bias" in reference else b for n, b in zip(names, biases, strict=True)
    ]
    _, spectrum, right = torch.linalg.svd(target_w[0].double(), full_matrices=False)
    columns = [target_w[0].double()] + ([target_b[0].double()[:, None]] if has_bias[0] else [])
    singular = torch.linalg.svdvals(torch.cat(columns, 1))
    h, d = target_w[0].shape
    r, _ = numerical_rank(spectrum, (h, d))
    rank, clear = numerical_rank(singular, (h, d + has_bias[0]))
    basis = right[:r].T.to(dtype).contiguous()
    return Chain(
        weights=(weights[0] @ basis, *weights[1:]),
        biases=tuple(biases),
        has_bias=has_bias,
        target_weights=(target_w[0] @ basis, *target_w[1:]),
        target_biases=tuple(target_b),
        basis=basis,
        singular_values=singular,
        rank=rank,
        clear=clear,
    )


def forgot_start(chain: Chain, skipped: int = 0) -> bool:
    """Whether nothing is left of what the first layer was drawn with, as weight decay does it.

    Args:
        chain: the network.
        skipped: singular values behind those counted that may be faint samples.
    """
    values, after = chain.singular_values, chain.rank + skipped
    return after >= len(values) or float(values[after]) < FORGOTTEN * float(values[chain.rank - 1])
