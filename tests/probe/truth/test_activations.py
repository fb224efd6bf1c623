"""Hooks on any module: what is read, which token, and that nothing stays behind."""

import pytest
import torch
from torch import nn

import vestige as vg

P = vg.probe


class Reader(nn.Module):
    """Takes what a tokenizer gives, and returns a tuple inside."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 4)
        self.inner = nn.GRU(4, 4, batch_first=True)

    def forward(self, input_ids, attention_mask):
        return self.inner(self.embedding(input_ids))


def tokenizer(texts, **options):
    """A letter a token, padded on the right."""
    assert options["padding"] and options["return_tensors"] == "pt"
    size = max(map(len, texts))
    ids = torch.tensor([[ord(c) % 100 for c in t] + [0] * (size - len(t)) for t in texts])
    mask = torch.tensor([[1] * len(t) + [0] * (size - len(t)) for t in texts])
    return {"input_ids": ids, "attention_mask": mask}


TEXTS = ["a", "abc", "ab", "zzzzz"]


def test_the_last_token_is_the_last_that_is_not_padding():
    model = Reader().double()
    found = P.activations(model, tokenizer, TEXTS, layer="embedding", batch_size=3)
    torch.testing.assert_close(found, model.embedding.weight[[ord(t[-1]) % 100 for t in TEXTS]].detach())
    alone = torch.cat([P.activations(model, tokenizer, [t], layer="inner") for t in TEXTS])
    torch.testing.assert_close(P.activations(model, tokenizer, TEXTS, layer="inner"), alone)


def test_means_and_numbers_of_tokens():
    model = Reader().double()
    mean = P.activations(model, tokenizer, TEXTS, layer="embedding", position="mean")
    torch.testing.assert_close(mean[1], model.embedding.weight[[97, 98, 99]].mean(0).detach())
    first = P.activations(model, tokenizer, TEXTS, layer="embedding", position=0)
    torch.testing.assert_close(first[3], model.embedding.weight[ord("z") % 100].detach())


def test_half_precision_comes_out_as_float32():
    model = nn.Sequential(nn.Linear(3, 2)).to(torch.bfloat16)
    assert P.activations(model, None, torch.ones(2, 3, dtype=torch.bfloat16), layer="0").dtype == torch.float32


def test_steering_adds_and_stops_adding():
    model, x = nn.Sequential(nn.Linear(3, 3), nn.Identity()).double(), torch.ones(2, 5, 3)
    plain = model(x)
    with P.steered(model, torch.tensor([1.0, 0, 0]), layer="1", strength=2.0, position=-1):
        moved = model(x)
    assert torch.equal(moved[:, :-1], plain[:, :-1]) and torch.equal(moved[:, -1, 1:], plain[:, -1, 1:])
    torch.testing.assert_close(moved[:, -1, 0], plain[:, -1, 0] + 2)
    assert torch.equal(model(x), plain)
    with pytest.raises(RuntimeError), P.steered(model, torch.ones(3), layer="1"):
        raise RuntimeError
    assert torch.equal(model(x), plain)


def test_bad_layers_are_refused():
    model = Reader()
    for call, message in (
        (lambda: P.activations(model, tokenizer, TEXTS, layer="head"), "embedding, inner"),
        (lambda: P.activations(model, tokenizer, [], layer="inner"), "no texts"),
        (lambda: P.activations(nn.Sequential(nn.Flatten(0)), None, torch.ones(2, 3), layer="0"), r"\(n, d\)"),
        (lambda: P.steered(model, torch.ones(3), layer="x").__enter__(), "given; the submodules"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert not any(m._forward_hooks for m in model.modules())
