"""What a construction returns: the network, what it must do, and the certificate that it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import nn

from vestige.core.cite import Paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import OnStep, Outcome


@runtime_checkable
class Specification(Protocol):
    """What a network must do, as a check that can be run on any network of its kind.

    A frozen dataclass. Its fields are numbers, text, arrays or exact networks, which is what a file can hold; a field
    with metadata `{"stored": False}` is left out of the file and must have a default.

    Attributes:
        kind: the name of the kind in files, see `vestige.construct.file.table`.
    """

    kind: ClassVar[str]

    def check(self, network: Any, *, on_step: OnStep | None = None) -> tuple[Claim, ...]:
        """Claims measured on this network."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Construction:
    """A network that was written down rather than trained, with what it must do and the proof that it does.

    Any network fits: a torch module, or something that `to_torch` makes one of, such as an exact integer network or a
    random network with masks. `vestige.construct.file.table` says how a new kind is saved, loaded and verified.

    Attributes:
        network: a torch module, an `ExactNetwork`, or another object with a method `to_torch`.
        specification: what the network must do.
        certificate: every claim, those of the specification and those on sizes.
        outcome: CONVERGED where the certificate holds.
        warnings: what a reader must know.
        source: the papers.
        numbers: of the method, by name, such as the number of groups; after `load`, as stated by the file.
    """

    network: Any
    specification: Specification
    certificate: Certificate
    outcome: Outcome
    warnings: tuple[str, ...] = ()
    source: tuple[Paper, ...]
    numbers: Mapping[str, float | int]

    def verify(self, *, on_step: OnStep | None = None) -> Certificate:
        """The specification's claims, measured anew on the network as it is now."""
        return Certificate(self.specification.check(self.network, on_step=on_step))

    def to_torch(self) -> nn.Module:
        """The network as a torch module; a network that is one already is returned itself."""
        return self.network if isinstance(self.network, nn.Module) else self.network.to_torch()
