"""Where does a causal language model stop counting: exact counts against the number of distinct tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from vestige.core.cite import Paper, paper
from vestige.core.modes import evaluating
from vestige.core.outcome import OnStep, Step
from vestige.core.outputs import logits_of
from vestige.core.rng import spawn

PROMPT = "List: {items}\nThe number of times {query} occurs in the list is"


@runtime_checkable
class Tokenizer(Protocol):
    """What turns a text into ids, and ids into a text."""

    def encode(self, text: str) -> Sequence[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True, kw_only=True)
class CountingAudit:
    """How often a language model wrote the exact count.

    Attributes:
        distinct: words in a list, one entry for each size that was tried.
        exact: share of exact counts among that many distinct words.
        error: mean distance from the count, of answers that are numbers.
        unread: share of answers that are no number.
        binary: share of exact counts in lists of two words, as long as the list of that many words is.
        constant: share of the most frequent count: what always saying it gets.
    """

    distinct: tuple[int, ...]
    exact: tuple[float, ...]
    error: tuple[float, ...]
    unread: tuple[float, ...]
    binary: tuple[float, ...]
    constant: tuple[float, ...]
    source: tuple[Paper, ...] = field(default=(paper("2407.15160"),), repr=False)


def counting_audit(
    model: nn.Module,
    tokenizer: Tokenizer,
    *,
    distinct: Sequence[int] = (2, 4, 8, 16, 32),
    mean_count: int = 5,
    samples: int = 20,
    words: Sequence[str] = (),
    prompt: str = PROMPT,
    new_tokens: int = 3,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> CountingAudit:
    """Ask a causal language model how often a word occurs, among more and more distinct words at the same mean count.

    Lists of m words have m times `mean_count` entries, so that longer ones are harder for two reasons; lists of two
    words of the same length tell them apart. The answer is the first number that greedy decoding writes.

    Args:
        model: from ids (batch, n) to logits (batch, n, vocabulary), or to what names them `logits`; it stays as it is.
        tokenizer: with `encode` and `decode`.
        distinct: numbers of words, each at least 2.
        mean_count: of a word in a list, at least 1.
        samples: questions for each number of words, and for its binary list.
        words: to draw from, as many as the largest number; () for two-letter words.
        prompt: with {items} and {query}.
        new_tokens: that are decoded for an answer.
        generator: of the lists; None for seed 0.
        on_step: told the number of questions asked.

    Raises:
        ValueError: sizes out of range, too few words, or a prompt without its two places.

    Source: arXiv 2407.15160, Section 6; prompts and words are ours.
    """
    words = list(words) or [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    if not distinct or min(distinct) < 2 or min(mean_count, samples, new_tokens) < 1:
        raise ValueError(f"distinct={list(distinct)}, mean_count={mean_count}, samples={samples}: 2, 1 and 1 at least.")
    if max(distinct) > len(set(words)) or "{items}" not in prompt or "{query}" not in prompt:
        raise ValueError(
            f"{len(set(words))} words for {max(distinct)} given, prompt {prompt!r}: enough, and two places."
        )
    total, wide, narrow = 2 * samples * len(distinct), [], []
    with evaluating(model), torch.no_grad():
        for m in distinct:
            for many, scores in ((m, wide), (2, narrow)):
                draw, answers = spawn(generator, "lists", f"{m}.{many}"), []
                for _ in range(samples):
                    text, count = _question(words, many, m * mean_count, prompt, draw)
                    answers.append((count, _answer(model, tokenizer, text, new_tokens)))
                    if on_step is not None:
                        asked = samples * (len(wide) + len(narrow)) + len(answers)
                        on_step(Step(asked, total, float(asked), f"{many} words"))
                scores.append(_scores(answers))
    exact, error, unread, constant = zip(*wide, strict=True)
    binary = tuple(score[0] for score in narrow)
    return CountingAudit(
        distinct=tuple(distinct), exact=exact, error=error, unread=unread, binary=binary, constant=constant
    )


def _question(words: Sequence[str], many: int, length: int, prompt: str, draw: torch.Generator) -> tuple[str, int]:
    """A list in which every word occurs, and one of them."""
    order: list[int] = torch.randperm(len(words), generator=draw)[:many].tolist()
    chosen = [words[k] for k in order]
    drawn = [*range(many), *torch.randint(many, (length - many,), generator=draw).tolist()]
    places: list[int] = torch.randperm(length, generator=draw).tolist()
    items = [chosen[drawn[k]] for k in places]
    query = chosen[int(torch.randint(many, (), generator=draw))]
    return prompt.replace("{items}", " ".join(items)).replace("{query}", query), items.count(query)


def _answer(model: nn.Module, tokenizer: Tokenizer, text: str, new_tokens: int) -> int | None:
    """The number that greedy decoding begins with."""
    ids = list(tokenizer.encode(text))
    start = len(ids)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    for _ in range(new_tokens):
        ids.append(int(logits_of(model(torch.tensor([ids], device=device)), 1)[0, -1].argmax()))
    written = tokenizer.decode(ids[start:]).strip()
    digits = written[: next((k for k, c in enumerate(written) if c not in "0123456789"), len(written))]
    return int(digits) if digits else None


def _scores(answers: Sequence[tuple[int, int | None]]) -> tuple[float, float, float, float]:
    """Exact answers, mean error of those that are numbers, answers that are none, and the best constant."""
    n = len(answers)
    read = [(count, found) for count, found in answers if found is not None]
    counts = [count for count, _ in answers]
    return (
        sum(count == found for count, found in read) / n,
        sum(abs(count - found) for count, found in read) / len(read) if read else torch.nan,
        1 - len(read) / n,
        max(map(counts.count, counts)) / n,
    )
