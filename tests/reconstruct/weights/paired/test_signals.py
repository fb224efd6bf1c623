"""What later layers send back to the first: as autograd has it, and narrow only where it is."""

from dataclasses import replace
from functools import cache

import pytest
import torch

import vestige as vg
from vestige.core.rng import child
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.paired.signals import sent_back, signal_space
from vestige.reconstruct.weights.zeros.layer import first_layer


@cache
def _chain(classes: int, hidden: tuple[int, ...] = (300, 50)) -> Chain:
    generator = child(0, "pairs")
    x = torch.randn(20, 64, generator=generator, dtype=torch.float64)
    outputs = 1 if classes == 2 else classes
    start = vg.nets.mlp([64, *hidden, outputs], first_init=1e-3, generator=generator, dtype=torch.float64)
    loss = "logistic" if classes == 2 else "cross_entropy"
    model = vg.train_to_margin(start, x, torch.arange(20) % classes, loss=loss, weight_decay=1e-3).model
    chain = span_chain(model, None, torch.float64)
    assert chain is not None
    return chain


@pytest.mark.parametrize("hidden", [(20,), (20, 12), (20, 12, 9)])
def test_signals_are_the_gradients_of_the_outputs(hidden):
    model = vg.nets.mlp([10, *hidden, 3], generator=child(1), dtype=torch.float64)
    chain = span_chain(model, None, torch.float64)
    assert chain is not None
    z = torch.randn(5, chain.basis.shape[1], generator=child(2), dtype=torch.float64)

    def outputs(first: torch.Tensor) -> torch.Tensor:
        for weight, bias in zip(chain.weights[1:], chain.biases[1:], strict=True):
            first = first.relu() @ weight.T + bias
        return first

    u = z @ chain.weights[0].T + chain.biases[0]
    gradient = torch.func.vmap(torch.func.jacrev(outputs))(u)
    assert torch.allclose(gradient, sent_back(chain, z) * (u > 0)[:, None])


def test_two_classes_send_back_two_signals_that_hold_what_is_sent():
    chain = _chain(2)
    layer = first_layer(chain)
    space = signal_space(chain, layer, 0)
    assert space is not None and space.output.shape[1] == 2
    z = torch.randn(20, chain.basis.shape[1], generator=child(3), dtype=torch.float64)
    back = sent_back(chain, z)[:, 0, layer.alive]
    assert (back - back @ space.output @ space.output.T).norm() < 1e-3 * back.norm()
    assert float(space.weight.sum()) == pytest.approx(layer.directions)


def test_one_output_of_two_layers_sends_back_one_signal():
    chain = _chain(2, (300,))
    layer = replace(first_layer(chain), directions=2 * chain.rank)  # as a wider network has them
    space = signal_space(chain, layer, 0)
    assert space is not None and space.output.shape[1] == 1


def test_many_classes_send_back_too_many_signals():
    chain = _chain(10)
    layer = first_layer(chain)
    assert chain.clear and layer.directions >= 2 * chain.rank
    assert signal_space(chain, layer, 0) is None


def test_few_neurons_tell_nothing():
    """The same network, had its neurons fewer directions."""
    chain = _chain(2)
    layer = replace(first_layer(chain), directions=2 * chain.rank + 17)
    assert signal_space(chain, layer, 17) is not None and signal_space(chain, layer, 18) is None


def test_a_layer_that_remembers_its_start_tells_nothing():
    """The same network, had it singular values of noise behind those of the samples; a faint sample is none."""
    chain = _chain(2)
    last = chain.singular_values[chain.rank - 1 : chain.rank]
    values, none = chain.singular_values[: chain.rank], 1e-6 * last
    noisy = replace(chain, singular_values=torch.cat([values, 0.9 * last, 0.8 * last, 0.7 * last]))
    faint = replace(chain, singular_values=torch.cat([values, 0.1 * last, none, none]))
    assert signal_space(noisy, first_layer(chain), 0) is None
    assert signal_space(faint, first_layer(chain), 0) is not None
