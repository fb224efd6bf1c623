"""Truth probes over files of statements as a job: within topics, across them, and beside what shortcuts reach."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vestige.audit.job import Tensors
from vestige.audit.study import Study, run_study
from vestige.audit.summary import number, numbers
from vestige.core.files import sha256_of
from vestige.core.outcome import OnStep
from vestige.core.rng import child
from vestige.nets.backbones import embed, load_backbone
from vestige.probe.truth.probes import ProbeKind
from vestige.probe.truth.statements import Confounds, Statements, read_statements, text_confounds
from vestige.probe.truth.transfer import ProbeTransfer, probe_transfer

FOUND = 0.7  # AUC on topics that a probe was not fitted on, from which a direction is more than one topic's
BEYOND = 0.05  # that a probe must have above words alone


def study_truth(
    data: Sequence[Path | str],
    *,
    backbone: str = "minilm",
    most: int = 300,
    kind: ProbeKind | str = ProbeKind.LOGISTIC,
    seed: int = 0,
    out: Path | str | None = None,
    on_step: OnStep | None = None,
) -> Study:
    """Say of a model's embeddings of statements whether a linear probe for truth goes beyond its topic.

    Args:
        data: CSV files with columns statement and label, which may be gzipped; each is a topic.
        backbone: "minilm" (the extra `text`), or package.module:factory of a callable from texts to (n, d): such as
            `vestige.probe.activations` of one layer of your own model.
        most: statements of a topic, drawn at random.
        kind: "logistic" or "mass_mean".
        seed: of the draws.
        out: folder for results and report; None for no files.
        on_step: called as statements are embedded.

    Raises:
        ValueError: no file, one that has no statements, two of one name, or a backbone that is not there.
    """
    topics = [read_statements(path).take(most, generator=child(seed, "statements", str(path))) for path in data]
    names = [topic.name for topic in topics]
    if not topics or len(set(names)) != len(names):
        raise ValueError(f"files named {names} given; at least one, each of another name, is needed.")
    chosen = ProbeKind(kind)

    def work(told: OnStep) -> tuple[dict[str, Any], Tensors]:
        texts = [text for topic in topics for text in topic.texts]
        x = embed(load_backbone(backbone), texts, on_step=told)
        y = torch.cat([topic.y for topic in topics])
        owners = [topic.name for topic in topics for _ in topic.texts]
        groups = [group for topic in topics for group in topic.groups]
        found = probe_transfer(x, y, owners, groups=groups, kind=chosen)
        ordered = sorted(topics, key=lambda topic: topic.name)
        shortcuts = [text_confounds(topic.texts, topic.y, groups=topic.groups) for topic in ordered]
        return _results(found, ordered, shortcuts, backbone), {"auc": found.auc, "y": y}

    files = [{"file": Path(path).name, "sha256": sha256_of(Path(path))} for path in data]
    config = {"data": files, "backbone": backbone, "most": most, "kind": str(chosen), "seed": seed}
    return run_study("probe truth", ("2510.15804",), config, work, out, on_step)


def _results(
    found: ProbeTransfer, topics: Sequence[Statements], shortcuts: Sequence[Confounds], backbone: str
) -> dict[str, Any]:
    within, words = found.auc.diag().tolist(), [s.words for s in shortcuts]
    beyond = [a >= max(w, 0.5) + BEYOND for a, w in zip(within, words, strict=True)]
    across = [bool(value >= FOUND) for value in found.left_out]
    notes = [f"{t.name}: {note}" for t, s in zip(topics, shortcuts, strict=True) for note in s.warnings]
    series = {"within the topic": within, "fitted on the others": numbers(found.left_out), "words alone": words}
    return {
        "title": f"truth in {backbone}",
        "verdict": _verdict(sum(beyond), sum(across), len(topics)),
        "facts": [["topics", len(topics)], ["statements", sum(len(t.texts) for t in topics)]],
        "tables": _tables(found, topics, shortcuts),
        "curves": [
            {
                "title": "AUC by topic",
                "x": [float(i) for i in range(1, len(topics) + 1)],
                "series": {**series, "chance": [0.5] * len(topics)},
                "ticks": [topic.name for topic in topics],
                "xlabel": "topic",
                "ylabel": "AUC",
                "note": "A probe that stays below the words alone has found no more than they say.",
            }
        ],
        "map": None,
        "warnings": [*found.warnings, *_shared(topics), *notes],
    }


def _shared(topics: Sequence[Statements]) -> list[str]:
    """A probe that is fitted on other topics has seen their statements with their labels."""
    places: dict[str, set[str]] = {}
    for topic in topics:
        for text in topic.texts:
            places.setdefault(text, set()).add(topic.name)
    counts = Counter(" and ".join(sorted(names)) for names in places.values() if len(names) > 1)
    return [
        f"{count} statements stand in {names}: a probe of one was fitted on what it is scored on in the other."
        for names, count in counts.items()
    ]


def _tables(found: ProbeTransfer, topics: Sequence[Statements], shortcuts: Sequence[Confounds]) -> list[dict[str, Any]]:
    columns = zip(topics, found.auc.diag().tolist(), found.left_out, found.shuffled.tolist(), shortcuts, strict=True)
    return [
        {
            "title": "AUC by topic",
            "note": "Within: cross-validated, one subject on one side. Others: fitted on all other topics. Shuffled: "
            "with labels shuffled. Words, length and frequency of the last word need no model.",
            "columns": ["topic", "statements", "within", "others", "shuffled", "words", "length", "frequency"],
            "rows": [[t.name, len(t.texts), a, number(o), s, c.words, c.length, c.common] for t, a, o, s, c in columns],
        },
        {
            "title": "From topic to topic",
            "note": "AUC of a probe fitted on the topic of the row and tested on that of the column.",
            "columns": ["fitted on", *found.topics],
            "rows": [[name, *row] for name, row in zip(found.topics, found.auc.tolist(), strict=True)],
        },
    ]


def _verdict(beyond: int, across: int, topics: int) -> str:
    within = f"a probe tells true from false better than single words do within {beyond} of {topics} topics"
    if topics == 1:
        return f"With one topic {within}; nothing follows about others."
    kind = "A direction is" if across == topics else "In part a direction is" if across else "No direction is"
    reach = f"an AUC of {FOUND} is reached on {across} of {topics} topics by a probe fitted on the others"
    return f"{kind} shared across topics: {reach}; {within}."
