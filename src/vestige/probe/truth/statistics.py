"""Do false statements keep company in real documents? (arXiv 2510.15804, section 5)"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import chi2

from vestige.core.cite import Paper
from vestige.probe.truth.cooccurrence import SOURCE


@dataclass(frozen=True, kw_only=True)
class TruthStatistics:
    """How false statements are spread over documents.

    Attributes:
        documents: with two statements or more.
        statements: in them.
        p_false: share of false statements, p.
        both_false: share of pairs within a document of which both are false.
        expected: p^2, what independence would give.
        variance_ratio: chi2 / degrees of freedom: 1 where documents do not matter.
        chi2: sum over documents of (false - n p)^2 / (n p (1 - p)).
        p_value: of a chi2 that large if documents did not matter, by its asymptotic law.
        warnings: what a reader must know.
        source: the paper.
    """

    documents: int
    statements: int
    p_false: float
    both_false: float
    expected: float
    variance_ratio: float
    chi2: float
    p_value: float
    warnings: tuple[str, ...]
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)


def truth_statistics(documents: Sequence[Sequence[int]]) -> TruthStatistics:
    """Whether false statements co-occur in documents more than independence would make them.

    Args:
        documents: labels of the statements of each, 1 for true and 0 for false; those with fewer than two are left out.

    Raises:
        ValueError: labels other than 0 and 1, fewer than two documents with two statements, or statements of one kind.

    >>> found = truth_statistics([[1, 1], [0, 0], [1, 1], [0, 0]])
    >>> found.p_false, found.both_false, found.expected, round(found.variance_ratio, 2)
    (0.5, 0.5, 0.25, 2.67)
    """
    if any(label not in (0, 1) for document in documents for label in document):
        raise ValueError("labels other than 0 and 1 given; 1 is true and 0 is false.")
    kept = [document for document in documents if len(document) >= 2]
    sizes = np.array([len(d) for d in kept], dtype=float)
    wrong = np.array([len(d) - sum(d) for d in kept], dtype=float)
    if len(kept) < 2 or not 0 < wrong.sum() < sizes.sum():
        raise ValueError(
            f"{len(kept)} documents of two statements or more with {wrong.sum():.0f} false ones of {sizes.sum():.0f} "
            "given; two documents, and statements of both kinds, are needed."
        )
    p = float(wrong.sum() / sizes.sum())
    statistic = float(((wrong - sizes * p) ** 2 / (sizes * p * (1 - p))).sum())
    few = float((sizes * p < 5).mean())
    note = f"{few:.0%} of the documents expect fewer than 5 false statements: the p-value is rough."
    return TruthStatistics(
        documents=len(kept),
        statements=int(sizes.sum()),
        p_false=p,
        both_false=float((wrong * (wrong - 1)).sum() / (sizes * (sizes - 1)).sum()),
        expected=p**2,
        variance_ratio=statistic / (len(kept) - 1),
        chi2=statistic,
        p_value=float(chi2.sf(statistic, len(kept) - 1)),
        warnings=(note,) if few else (),
    )
