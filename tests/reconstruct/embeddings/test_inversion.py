from itertools import product

import pytest
import torch
import torch.nn.functional as F
from scipy.fft import dctn, idctn
from torch import nn

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.reconstruct.embeddings.image_parametrization import DeepPrior, Prior, Spectrum, moved, variation
from vestige.reconstruct.embeddings.inversion import invert_embedding

SHAPE = (1, 16, 16)


class Blocks(nn.Module):
    """Mean of each 2 x 2 block: what it embeds, it determines."""

    def forward(self, x):
        return F.avg_pool2d(x, 2).flatten(1)


def picture(seed=0, count=2):
    nodes = torch.rand(count, 1, 4, 4, generator=child(seed, "picture"), dtype=torch.float64)
    return F.interpolate(nodes, size=(16, 16), mode="bicubic", align_corners=True).clamp(0, 1)


def correlation(a, b):
    a, b = a.flatten(1), b.flatten(1)
    return F.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True))


@pytest.mark.parametrize("prior", list(Prior))
def test_an_embedding_that_determines_the_image_gives_it_back(prior):
    truth = picture()
    center = torch.full((64,), 0.5).double()
    found = invert_embedding(
        Blocks(), Blocks()(truth), SHAPE, prior=prior, steps=70, total_variation=0.02, center=center, generator=child(0)
    )
    assert found.similarity.min() > 0.93 and correlation(found.images, truth).min() > 0.85
    assert (found.images >= 0).all() and (found.images <= 1).all()
    unrelated = invert_embedding(
        Blocks(),
        Blocks()(picture(seed=1)),
        SHAPE,
        prior=prior,
        steps=70,
        total_variation=0.02,
        center=center,
        generator=child(0),
    )
    assert correlation(unrelated.images, truth).max() < 0.8  # the target, not the prior, made the picture


def test_similarity_is_that_of_the_images_returned_and_the_backbone_is_left_alone():
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 10)).double()
    before = [p.clone() for p in net.parameters()]
    target = net(picture()).detach()
    found = invert_embedding(net, target, SHAPE, steps=30, total_variation=0.02, generator=child(0))
    torch.testing.assert_close(F.cosine_similarity(net(found.images), target), found.similarity)
    assert all(p.grad is None and torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))
    again = invert_embedding(net, target, SHAPE, steps=30, total_variation=0.02, generator=child(0))
    assert torch.equal(found.images, again.images)
    assert found.outcome is Outcome.CONVERGED and found.evaluations == 2 * found.history[-1].index < 60


def test_images_of_one_batch_share_nothing():
    net = DeepPrior(2, 3, (16, 16), child(0))
    assert net().shape == (2, 3, 16, 16)
    grads = torch.autograd.grad(net()[0].sum(), [net.last])[0].chunk(2)
    assert grads[0].abs().sum() > 0 and grads[1].abs().sum() == 0


def test_a_spectrum_is_a_sum_of_scipys_cosines_in_three_colors():
    drawing = Spectrum(2, 3, (16, 20), child(0)).double()
    scaled = (drawing.z * drawing.get_buffer("scale")).detach()
    mixed = torch.einsum("kc,mkab->mcab", drawing.get_buffer("colors"), scaled)
    pixels = torch.from_numpy(idctn(mixed.numpy(), axes=(2, 3), norm="ortho"))
    torch.testing.assert_close(drawing().detach(), (4 * pixels).sigmoid(), atol=1e-6, rtol=0)
    torch.testing.assert_close(drawing.get_buffer("scale").square().mean().sqrt().item(), 0.25)
    with torch.no_grad():
        drawing.z.zero_()
    assert (drawing() == 0.5).all() and not drawing.penalty().any()


def test_images_of_a_spectrum_fall_with_frequency_and_are_mostly_gray():
    drawing = Spectrum(50, 3, (32, 32), child(0))
    with torch.no_grad():
        drawing.z.normal_(generator=child(1))
        x = drawing()
    power = torch.from_numpy(dctn(x.mean(1).numpy(), axes=(1, 2), norm="ortho")).square().mean(0)
    assert power[1:4, 1:4].mean() > 100 * power[16:, 16:].mean()
    assert (x - x.mean(1, keepdim=True)).var() < 0.3 * x.var()


def test_moving_shifts_all_images_alike_and_keeps_their_size():
    x = torch.arange(64.0).reshape(1, 1, 8, 8).expand(2, 1, 8, 8)
    y = moved(x, 1, child(0))
    assert y.shape == x.shape and torch.equal(y[0], y[1]) and moved(x, 0, child(0)) is x
    inside = y[..., 2:6, 2:6]
    shifts = [s for s in product(range(1, 4), repeat=2) if torch.equal(inside, x[..., s[0] :, s[1] :][..., :4, :4])]
    assert len(shifts) == 1
    torch.testing.assert_close(variation(x), torch.tensor([9.0, 9.0]))


def test_photographs_are_drawn_by_their_spectrum_and_all_else_by_a_network():
    net = nn.Sequential(nn.Flatten(), nn.Identity())
    for shape, prior in (((3, 16, 16), "spectrum"), ((3, 8, 8), "deep"), (SHAPE, "deep")):
        net[1] = nn.Linear(shape[0] * shape[1] * shape[2], 6).double()
        target = torch.ones(1, 6).double()
        given, default = (invert_embedding(net, target, shape, prior=p, steps=3) for p in (prior, None))
        assert torch.equal(given.images, default.images)


def test_more_total_variation_is_smoother():
    rough = torch.rand(1, *SHAPE, generator=child(0), dtype=torch.float64)
    image = [
        invert_embedding(Blocks(), Blocks()(rough), SHAPE, prior="pixels", steps=150, total_variation=t).images
        for t in (0.0, 5.0)
    ]
    variation = [float((x[..., 1:] - x[..., :-1]).abs().mean()) for x in image]
    assert variation[1] < 0.7 * variation[0]


def test_weak_inversions_are_named():
    direction = torch.tensor([[1.0, 0, 0, 0]]).double()

    def constant(x):
        return direction + 1e-9 * x.flatten(1)[:, :4]

    found = invert_embedding(constant, -direction, SHAPE, steps=5)
    assert found.similarity.item() == pytest.approx(-1, abs=1e-3) and "less than half" in found.warnings[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target": torch.zeros(1, 5).double()}, "must agree"),
        ({"target": torch.full((1, 64), torch.nan).double()}, "finite"),
        ({"input_shape": (16, 16)}, "channels, height, width"),
        ({"prior": "magic"}, "allowed are"),
        ({"steps": 0}, "steps"),
        ({"backbone": lambda x: Blocks()(x).detach()}, "no gradient"),
    ],
)
def test_bad_input_is_refused(change, words):
    given = {"backbone": Blocks(), "target": torch.ones(1, 64).double(), "input_shape": SHAPE, **change}
    options = {k: given.pop(k) for k in list(given) if k in ("prior", "steps")}
    with pytest.raises(ValueError, match=words):
        invert_embedding(given["backbone"], given["target"], given["input_shape"], **options)
