import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.reconstruct.inversion import DeepPrior, Prior, invert_embedding

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
    centre = torch.full((64,), 0.5).double()
    found = invert_embedding(
        Blocks(), Blocks()(truth), SHAPE, prior=prior, steps=70, total_variation=0.02, centre=centre, generator=child(0)
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
        centre=centre,
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
        ({"image_shape": (16, 16)}, "channels, height, width"),
        ({"prior": "magic"}, "allowed are"),
        ({"steps": 0}, "steps"),
        ({"backbone": lambda x: Blocks()(x).detach()}, "no gradient"),
    ],
)
def test_bad_input_is_refused(change, words):
    given = {"backbone": Blocks(), "target": torch.ones(1, 64).double(), "image_shape": SHAPE, **change}
    options = {k: given.pop(k) for k in list(given) if k in ("prior", "steps")}
    with pytest.raises(ValueError, match=words):
        invert_embedding(given["backbone"], given["target"], given["image_shape"], **options)
