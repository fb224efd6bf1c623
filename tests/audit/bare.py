"""Results with the fields that a test is about, and nothing else that could decide it."""

import torch

from vestige.core.cite import paper
from vestige.core.outcome import Outcome
from vestige.reconstruct.result import Reconstruction


def bare(kind, **fields):
    """An instance of a frozen class with these fields only: reading any other raises."""
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def reconstruction(samples):
    """A whole reconstruction that offers these samples."""
    n = len(samples)
    ones, index = torch.ones(n), torch.arange(n)
    return Reconstruction(
        samples=samples,
        confidence=ones,
        support=index,
        spread=ones,
        cotangents=ones[:, None],
        label=index,
        verified=index > 0,
        candidates=samples,
        candidate_cotangents=ones[:, None],
        restart=index,
        cluster=index,
        residual=torch.ones(1),
        residual_per_layer={},
        history=(),
        singular_values=ones,
        identifiable=n,
        collapse=False,
        gradient_evaluations=7,
        outcome=Outcome.BUDGET_SPENT,
        warnings=(),
        source=(paper("2206.07758"),),
    )
