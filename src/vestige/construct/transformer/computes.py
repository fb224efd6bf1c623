"""What a constructed transformer must do: a task, at stored inputs, in float64 and in the dtype that it is made for."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from vestige.construct.construction import Construction
from vestige.construct.transformer.blocks import Transformer, constructed_transformer
from vestige.construct.transformer.counting.proof import attend_error
from vestige.construct.transformer.resources import resources
from vestige.construct.transformer.tasks import Task, answers
from vestige.core.cite import Paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import OnStep, Outcome, Step

OFF, ERROR, EVERYWHERE = "inputs where it is off", "largest error", "error at every input, proved"
AT_ONCE = 1 << 22  # numbers of the input that are handled together


@dataclass(frozen=True, eq=False, kw_only=True)
class Computes:
    """The output is the answer of a task, up to a tolerance.

    Attributes:
        task: what is computed.
        points: inputs, one array for each length: (batch, n) ids or (batch, n, features).
        given: what belongs to the task, such as a table of facts; None where nothing does.
        tolerance: largest error allowed in float64.
        rounded: whether answers are integers, so that an output is right if it is less than 1/2 off.
        dtype: the narrowest in which every output at the points is right.
        proved: whether the tolerance is proved for every input, of all lengths, from the weights.
        source: what promises it.
    """

    task: str
    points: tuple[np.ndarray, ...]
    tolerance: float
    source: str
    given: np.ndarray | None = None
    rounded: bool = True
    dtype: str = "float32"
    proved: bool = False
    kind: ClassVar[str] = "transformer"

    def check(self, network: nn.Module, *, on_step: OnStep | None = None) -> tuple[Claim, ...]:
        """Outputs that are off and the largest error, in float64, and outputs that are off in the narrower dtype."""
        errors = self.errors(network, torch.float64, on_step)
        narrow = self.errors(network, getattr(torch, self.dtype), on_step)
        claims = [
            Claim(OFF, 0, self.off(errors), self.source),
            Claim(ERROR, self.tolerance, float(errors.max()), self.source),
            Claim(f"{OFF} in {self.dtype}", 0, self.off(narrow), self.source),
        ]
        if self.proved:
            offset = -1 if self.task == Task.COUNT_BEFORE else 0
            claims.append(
                Claim(
                    EVERYWHERE,
                    self.tolerance,
                    attend_error(constructed_transformer(network), offset=offset),
                    self.source,
                )
            )
        return tuple(claims)

    def off(self, errors: Tensor) -> int:
        """How many of these errors are too large."""
        right = errors < 0.5 if self.rounded else errors <= self.tolerance
        return int((~right).sum())

    def distance(self, output: Tensor, x: Tensor) -> Tensor:
        """Of each input's output from the right one."""
        return (output - answers(Task(self.task), x, self.given)).abs().flatten(1).amax(1)

    def errors(self, network: nn.Module, dtype: torch.dtype, on_step: OnStep | None = None) -> Tensor:
        """The largest error of each input's output, in this dtype."""
        module = copy.deepcopy(network).to(dtype)
        done, count, found = 0, sum(map(len, self.points)), []
        for group in self.points:
            many = max(1, AT_ONCE // max(1, group[0].size * _width(module)))
            for x in torch.from_numpy(group).split(many):
                with torch.no_grad():
                    output = module(x).double()
                found.append(self.distance(output, x))
                done += len(x)
                if on_step is not None:
                    on_step(Step(done, count, float(done), "inputs"))
        return torch.cat(found)


def _width(module: nn.Module) -> int:
    return module.stream.width if isinstance(module, Transformer) else 1


def constructed(
    network: nn.Module,
    specification: Computes,
    *,
    bounds: Mapping[str, float | int],
    numbers: Mapping[str, float | int],
    source: Sequence[Paper],
    warnings: Sequence[str] = (),
    sizes: Mapping[str, float | int] | None = None,
) -> Construction:
    """The network with its certificate: what it computes, what it costs, and what its paper promises of that.

    Args:
        network: the transformer, or another module with its `sizes`.
        specification: what it computes.
        bounds: on its sizes, by the names of `resources`.
        numbers: of the method.
        source: the papers.
        warnings: what a reader must know.
        sizes: of the network; None for those of a transformer.
    """
    sizes = resources(constructed_transformer(network)) if sizes is None else sizes
    claims = [Claim(name, bound, sizes[name], specification.source) for name, bound in bounds.items()]
    certificate = Certificate((*specification.check(network), *claims))
    return Construction(
        network=network,
        specification=specification,
        certificate=certificate,
        outcome=Outcome.CONVERGED if certificate.holds else Outcome.STAGNATED,
        warnings=tuple(warnings),
        source=tuple(source),
        numbers={**sizes, **numbers},
    )
