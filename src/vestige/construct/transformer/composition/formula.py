"""Boolean formulas as trees: names, `~`, `&`, `|` and parentheses, with negations moved to the names."""

import re
from typing import Any

Tree = tuple[Any, ...]
TOKEN = re.compile(r"\s*(?:([A-Za-z_]\w*)|([~&|()]))")
LONGEST, DEEPEST = 100_000, 40


def parsed(text: str) -> Tree:
    """("or" | "and", part, part, ...), ("name", a) or ("not", a).

    Raises:
        ValueError: what cannot be read, and where.
    """
    if len(text) > LONGEST:
        raise ValueError(f"a formula of {len(text):,} characters given; up to {LONGEST:,} are read.")
    tokens, place = [], 0
    text = text.rstrip()
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"formula {text[:60]!r}, character {place}: a name, ~, &, | or a parenthesis is needed.")
        tokens.append((match[1] or match[2], place))
        place = match.end()
    reader = _Reader([*tokens, ("", len(text))], text)
    tree = reader.level("|", 0)
    reader.take("")
    return _negated(tree, False)


class _Reader:
    def __init__(self, tokens: list[tuple[str, int]], text: str) -> None:
        self.tokens, self.text, self.at = tokens, text, 0

    def take(self, wanted: str) -> None:
        word, place = self.tokens[self.at]
        if word != wanted:
            raise ValueError(
                f"formula {self.text[:60]!r}, character {place}: {word or 'the end'!r}; "
                f"{wanted or 'an operator or the end'!r} is needed."
            )
        self.at += 1

    def level(self, operator: str, depth: int) -> Tree:
        """Parts joined by | or by &."""
        if depth > DEEPEST:
            raise ValueError(f"a formula of more than {DEEPEST} nested parentheses given.")
        below = (lambda: self.level("&", depth)) if operator == "|" else (lambda: self.factor(depth))
        parts = [below()]
        while self.tokens[self.at][0] == operator:
            self.at += 1
            parts.append(below())
        return parts[0] if len(parts) == 1 else ("or" if operator == "|" else "and", *parts)

    def factor(self, depth: int) -> Tree:
        """A name, a negation or parentheses."""
        word, place = self.tokens[self.at]
        self.at += 1
        if word == "~":
            return ("not", self.level_below(depth))
        if word == "(":
            tree = self.level("|", depth + 1)
            self.take(")")
            return tree
        if not word or not (word[0].isalpha() or word[0] == "_"):
            raise ValueError(f"formula {self.text[:60]!r}, character {place}: {word or 'the end'!r}; a name is needed.")
        return ("name", word)

    def level_below(self, depth: int) -> Tree:
        """What ~ stands before."""
        if depth > DEEPEST:
            raise ValueError(f"a formula of more than {DEEPEST} nested negations given.")
        return self.factor(depth + 1)


def _negated(tree: Tree, flip: bool) -> Tree:
    """By De Morgan's laws."""
    kind = tree[0]
    if kind == "not":
        return _negated(tree[1], not flip)
    if kind == "name":
        return ("not" if flip else "name", tree[1])
    return ("and" if (kind == "or") == flip else "or", *(_negated(part, flip) for part in tree[1:]))
