"""The one table of kinds of constructions, and how a kind is added to it.

A kind says how its network is written, what its specification is, and who checks its file. To add one:

1. Write the specification: a frozen dataclass with a class attribute `kind` and a method `check`, as
   `vestige.construct.construction.Specification` describes it. Its fields are stored as they are.
2. Pick a `NetworkFormat`: EXACT for integer networks, CHAIN for chains of linear layers, or a new pair of functions,
   which turn the network into JSON and named tensors and back. A module of its own stores its sizes as JSON and its
   state dict as tensors.
3. Write the checker in a module `file/check_....py` of its own: a function from `Stored` and `Question` to `Derived`.
   It reads the file's numbers, derives every claim of the specification again, and imports nothing that makes such
   networks. What it cannot read raises ValueError.
4. Add an entry to KINDS, and a row to `tests/conformance/test_constructions.py`.

`Construction`, `save`, `load` and `verify` stay as they are. A kind that lives outside of vestige is passed to these
three as `kinds=`, a mapping from its name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from vestige.construct.construction import Construction
from vestige.construct.exact.exact_construction import ExactConstruction
from vestige.construct.exact.interpolation import Interpolation
from vestige.construct.file.check import Derived, Question
from vestige.construct.file.check_balls import derive_balls
from vestige.construct.file.check_masks import derive_masks
from vestige.construct.file.check_narrow import derive_narrow
from vestige.construct.file.check_points import derive_interpolation
from vestige.construct.file.check_recall import derive_recall
from vestige.construct.file.check_recurrent import derive_recurrent
from vestige.construct.file.check_signs import derive_signs
from vestige.construct.file.check_transformer import derive_transformer
from vestige.construct.file.network_format import CHAIN, EXACT, NetworkFormat
from vestige.construct.file.stored import Stored
from vestige.construct.narrowing.agreement import Agreement
from vestige.construct.prune.approximation import Approximation
from vestige.construct.prune.mask_format import MASKS
from vestige.construct.robust.balls import Balls
from vestige.construct.robust.sign_balls import SignBalls
from vestige.construct.transformer.composition.recurrent import RECURRENT, Recurs
from vestige.construct.transformer.computes import Computes
from vestige.construct.transformer.file_format import TRANSFORMER
from vestige.construct.transformer.recall.recalls import Recalls


@dataclass(frozen=True)
class Kind:
    """How constructions of one kind are saved, loaded and verified.

    Attributes:
        specification: a class that fulfills `Specification`; `specification.kind` is the name of the kind.
        network: how the network is written and read.
        check: derives every claim from a file, without the code that made the network.
        construction: the class of what `load` returns.
        takes_target: whether some claims can be derived only beside the network that this one stands for.
    """

    specification: type[Any]
    network: NetworkFormat
    check: Callable[[Stored, Question], Derived]
    construction: type[Construction] = Construction
    takes_target: bool = False


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.specification.kind: kind
        for kind in (
            Kind(Interpolation, EXACT, derive_interpolation, ExactConstruction),
            Kind(Balls, EXACT, derive_balls, ExactConstruction),
            Kind(Agreement, EXACT, derive_narrow, ExactConstruction),
            Kind(SignBalls, CHAIN, derive_signs),
            Kind(Approximation, MASKS, derive_masks, takes_target=True),
            Kind(Computes, TRANSFORMER, derive_transformer),
            Kind(Recalls, TRANSFORMER, derive_recall),
            Kind(Recurs, RECURRENT, derive_recurrent),
        )
    }
)
