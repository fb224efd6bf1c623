"""Language models that count right, count to a limit, or say nothing: what the audit makes of them."""

import pytest
import torch
from torch import nn

import vestige as vg


class Words:
    """Words, numbers and marks, one id each."""

    def __init__(self):
        self.ids = {}

    def encode(self, text):
        return [self.ids.setdefault(word, len(self.ids)) for word in text.split()]

    def decode(self, ids):
        back = {k: word for word, k in self.ids.items()}
        return " ".join(back[k] for k in ids)


class Counts(nn.Module):
    """Reads "List: a b a , a ?" and writes the count, up to a limit, or always the same."""

    def __init__(self, words, limit=10**9, answer=None):
        super().__init__()
        self.words, self.limit, self.answer = words, limit, answer
        self.drop = nn.Dropout()

    def forward(self, x):
        said = self.answer or str(min(self.count(x), self.limit))
        logits = torch.zeros(1, x.shape[1], 400)
        logits[0, -1, self.words.encode(said)[0]] = 1
        return logits

    def count(self, x):
        text = self.words.decode(x[0].tolist())
        items, query = text.removeprefix("List: ").split(" ?")[0].split(" , ")
        return items.split().count(query)


PROMPT = "List: {items} , {query} ?"


def audited(model, words, **options):
    return vg.construct.counting_audit(model, words, distinct=[2, 6], samples=8, prompt=PROMPT, **options)


def test_a_model_that_counts_is_always_exact():
    words = Words()
    model = Counts(words).train()
    steps = []
    found = audited(model, words, on_step=lambda step: steps.append((step.index, step.total)))
    assert found.exact == found.binary == (1.0, 1.0) and found.error == (0.0, 0.0) and found.unread == (0.0, 0.0)
    assert steps[-1] == (32, 32) and model.drop.training
    assert audited(model, words) == found


def test_a_limit_shows_in_the_binary_lists_too():
    """Lists of 2 and of 6 words have the same mean count; two words in a list of 30 occur far oftener."""
    words = Words()
    found = audited(Counts(words, limit=9), words)
    assert found.exact[1] > 0.9 and found.binary[1] < 0.3 and found.error[1] < 1


def test_null_models_get_what_a_constant_gets_or_nothing():
    words = Words()
    always = audited(Counts(words, answer="5"), words)
    assert all(exact <= constant for exact, constant in zip(always.exact, always.constant, strict=True))
    mute = audited(Counts(words, answer="many"), words)
    assert mute.exact == (0.0, 0.0) and mute.unread == (1.0, 1.0) and all(e != e for e in mute.error)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"distinct": [1]}, "2, 1 and 1 at least"),
        ({"samples": 0}, "2, 1 and 1 at least"),
        ({"distinct": [100]}, "60 words for 100"),
        ({"prompt": "List: {items}"}, "two places"),
    ],
)
def test_what_the_audit_refuses(options, said):
    words = Words()
    with pytest.raises(ValueError, match=said):
        vg.construct.counting_audit(Counts(words), words, **{"prompt": PROMPT} | options)
