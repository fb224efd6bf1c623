"""The claims of a file that recalls facts, derived again: all questions are asked, the right logit is the largest."""

import itertools

import numpy as np

from vestige.construct.file.check import Derived, Question
from vestige.construct.file.check_points import chosen
from vestige.construct.file.check_transformer import FINER, Array, Weights, pieces
from vestige.construct.file.stored import Stored
from vestige.construct.file.transformer_answers import answer
from vestige.core.claims import Claim
from vestige.core.outcome import Step


def derive_recall(stored: Stored, question: Question) -> Derived:
    """Facts that are wrong, in float64 and in the narrower dtype, the margin, questions that are not asked, all sizes.

    Raises:
        ValueError: no transformer, no table of facts, or a margin that is none.
    """
    fields, source = stored.fields, str(stored.fields["source"])
    facts, points = fields["given"], fields["points"]
    narrow = FINER.get(str(fields["dtype"]))
    if narrow is None or not isinstance(points, tuple) or not -1e9 < float(fields["tolerance"]) <= 0:
        raise ValueError(f"dtype {fields['dtype']!r}, tolerance {fields['tolerance']!r}")
    if facts.ndim != 2 or facts.dtype.kind not in "iu" or not 0 <= facts.min() <= facts.max() < len(facts):
        raise ValueError("facts are a table of entities")
    weights = Weights(stored.network, stored.tensors)
    above, wrong = _margin(weights, "float64", stored, question)
    _, wrong_narrow = _margin(weights, narrow, stored, question)
    claims = (
        Claim("facts that it gets wrong", 0, wrong, source),
        Claim("a wrong answer's logit above the right one's", float(fields["tolerance"]), above, source),
        Claim(f"facts that it gets wrong in {narrow}", 0, wrong_narrow, source),
        Claim("questions that are not asked", 0, _unasked(str(fields["task"]), facts, points), source),
    )
    return Derived(claims, weights.sizes(), numbers={"entities": len(facts), "relations": facts.shape[1]})


def _margin(weights: Weights, dtype: str, stored: Stored, question: Question) -> tuple[float, int]:
    """How far the best wrong logit is above the right one, at most, and how often it is as high."""
    task, facts, points = str(stored.fields["task"]), stored.fields["given"], stored.fields["points"]
    worst, wrong, done = -np.inf, 0, 0
    for group in points:
        for rows in np.array_split(chosen(len(group), question.points), pieces(group, weights.width)):
            if not len(rows):
                continue
            logits = weights.run(group[rows], dtype).astype(np.float64)
            right = np.array([answer(task, one, facts) for one in group[rows]]).astype(int)
            best = np.take_along_axis(logits, right, 1)[:, 0].copy()
            np.put_along_axis(logits, right, -np.inf, 1)
            above = logits.max(1) - best
            wrong += int((~(above < 0)).sum())
            worst = max(worst, float(above.max()) if np.isfinite(above).all() else np.inf)
            done += len(rows)
            if question.on_step is not None:
                question.on_step(Step(done, sum(map(len, points)), float(done), "questions"))
    return worst, wrong


def _unasked(task: str, facts: Array, points: tuple[Array, ...]) -> int:
    """Of all paths from all entities; a chain's with every answer that comes before written down."""
    n, relations = facts.shape
    hops = points[0].shape[1] - 1
    paths = itertools.product(range(n), *[range(n, n + relations)] * hops)
    wanted: set[tuple[int, ...]] = set()
    for subject, *path in paths:
        wanted.add((*path, subject))
        if task == "next recall":
            written = [subject]
            for relation in path[:-1]:
                written.append(int(facts[written[-1], relation - n]))
                wanted.add((*path, *written))
    return len(wanted - {tuple(row) for group in points for row in group.tolist()})
