"""A construction as a job: its sizes, its picture and its claims, as its maker stated them or as derived again."""

from pathlib import Path
from typing import Any

from vestige.audit.job import Tensors
from vestige.audit.study import Study, run_study
from vestige.audit.summary import number
from vestige.construct.construction import Construction
from vestige.construct.exact.layers import digits
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.check import CHANGED, DIGEST, LEFT_OUT, NOT_DERIVED, STATED
from vestige.construct.file.saved import load
from vestige.construct.file.stored import Stored, read_stored
from vestige.core.claims import Certificate, Claim
from vestige.core.files import sha256_of
from vestige.core.outcome import OnStep
from vestige.nets.weights_file import CheckpointError
from vestige.reconstruct.fingerprint import fingerprint
from vestige.report import Level

MOST = 40  # tensors whose sizes are drawn one by one


def study_construction(
    path: Path | str, certificate: Certificate | None = None, *, out: Path | str | None = None
) -> Study:
    """Say of a constructed network's file what it claims, how large the network is, and whether the claims hold.

    Args:
        path: a file that `vestige.construct.save` wrote.
        certificate: what `vestige.construct.verify` derived from it; None: the claims as their maker stated them.
        out: folder for results and report; None for no files.

    Raises:
        CheckpointError: a damaged file, or one of another kind; without a certificate a changed one too.
    """
    path = Path(path)
    stored = read_stored(path)

    def work(told: OnStep) -> tuple[dict[str, Any], Tensors]:
        notes, made = list(stored.warnings), None
        try:
            made = load(path)
        except CheckpointError as error:
            if certificate is None:
                raise
            notes.insert(0, f"The network is not shown: {str(error).partition('. ')[0]}.")
        return _results(path.name, stored, made, certificate) | {"warnings": notes}, {}

    derived = {} if certificate is None else {"certificate": fingerprint(certificate)}
    verb = "construct" if certificate is None else "verify"
    return run_study(verb, stored.source, {"file": sha256_of(path), **derived}, work, out, None)


def _results(name: str, stored: Stored, made: Construction | None, derived: Certificate | None) -> dict[str, Any]:
    claims = derived or stored.certificate
    failed = [claim.name for claim in claims.claims if not claim.holds]
    return {
        "title": name,
        "level": Level.LEAKS if failed else Level.NOTHING,
        "holds": claims.holds,
        "verdict": _verdict(failed, claims, derived is not None),
        "facts": [["kind", stored.kind.replace("_", " ")], *([] if made is None else _sizes(made))],
        "tables": [_claims(claims, derived is not None), *([] if made is None else _tables(made))],
        "bars": _bounds(claims) + ([] if made is None else _tensors(made)),
        "curves": [] if made is None else _layers(made.network),
        "map": None,
    }


def _verdict(failed: list[str], claims: Certificate, derive: bool) -> str:
    count = len(claims.claims)
    if failed:
        return f"{len(failed)} of {count} claims fail: {'; '.join(failed)}."
    if not derive:
        return f"All {count} claims of its maker hold as measured while it was made; vestige verify derives them again."
    bounds = sum(claim.source.startswith(STATED) for claim in claims.claims)
    of_them = "1 of them has" if bounds == 1 else f"{bounds} of them have"
    aside = f" {of_them} a bound or numbers that only the file states." if bounds else ""
    return f"All {count} claims hold, derived again from the file alone.{aside}"


def _claims(claims: Certificate, derive: bool) -> dict[str, Any]:
    note = (
        "Measured must be at most the bound. Derived: from the content of the file, by code that shares nothing with "
        "what made it. A number that only the file states proves nothing."
        if derive
        else "Measured must be at most the bound, by the code that made the network."
    )
    rows = [
        [
            "holds" if c.holds else "FAILS", c.name, number(c.measured), number(c.bound),
            *([_origin(c)] if derive else []), c.source,
        ]
        for c in claims.claims
    ]  # fmt: skip
    columns = ["verdict", "claim", "measured", "bound", *(["measured value is"] if derive else []), "bound is from"]
    return {"title": "The certificate", "note": note, "columns": columns, "rows": rows, "under": True}


def _origin(claim: Claim) -> str:
    """Where the measured value of a claim comes from."""
    if claim.name == NOT_DERIVED:
        return "stated by the file"
    if claim.name == LEFT_OUT:
        return "not looked at: give the target"
    return "of the file itself" if claim.name in (CHANGED, DIGEST) else "derived"


def _bounds(claims: Certificate) -> list[dict[str, Any]]:
    """How much of each bound is used, where there is something to divide by."""
    used = [(c.name, number(c.measured / c.bound)) for c in claims.claims if _is_bound(c)]
    rows = [[name, share] for name, share in used if share is not None]
    note = "What was measured, divided by its bound: up to 1 a claim holds."
    return [{"title": "How much of each bound is used", "note": note, "rows": rows, "full": 1.0}] if rows else []


def _is_bound(claim: Claim) -> bool:
    """Something is bounded, and not merely counted."""
    return claim.bound > 0 and claim.measured >= 0 and claim.name not in (NOT_DERIVED, LEFT_OUT)


def _sizes(made: Construction) -> list[list[Any]]:
    network = made.network
    if isinstance(network, ExactNetwork):
        return [
            ["layers", network.depth], ["neurons in the widest", network.width],
            ["weights other than 0", network.nonzeros], ["bits of the longest weight", network.weight_bits],
        ]  # fmt: skip
    weights = made.to_torch().state_dict().values()
    return [
        ["weights", sum(w.numel() for w in weights)],
        ["of them other than 0", sum(int(w.count_nonzero()) for w in weights)],
    ]


def _tables(made: Construction) -> list[dict[str, Any]]:
    rows = [[name.replace("_", " "), number(value)] for name, value in made.numbers.items()]
    note = "Of the method that made it, as the file states them."
    return [{"title": "Numbers", "note": note, "columns": ["name", "value"], "rows": rows}] if rows else []


def _tensors(made: Construction) -> list[dict[str, Any]]:
    """Weights other than 0 by tensor, of a network that is a module."""
    if isinstance(made.network, ExactNetwork):
        return []
    counts = {name: int(w.count_nonzero()) for name, w in made.to_torch().state_dict().items()}
    sizes = [[name, count] for name, count in counts.items() if count]
    note = "Weights other than 0."
    if len(sizes) < len(counts):
        note += f" {len(counts) - len(sizes)} of {len(counts)} tensors are zero and not shown."
    if len(sizes) > MOST:
        note += f" The first {MOST} of {len(sizes)} tensors."
    return [{"title": "The network, tensor by tensor", "note": note, "rows": sizes[:MOST]}]


def _layers(network: Any) -> list[dict[str, Any]]:
    """Neurons, weights and bits of each layer of an exact network."""
    if not isinstance(network, ExactNetwork):
        return []
    neurons = [float(layer.outputs) for layer in network.layers]
    weights = [float(sum(len(row.weights) + (row.bias != 0) for row in layer.neurons)) for layer in network.layers]
    bits = [
        float(max((digits(v, row.shift) for row in layer.neurons for v in (*row.weights, row.bias)), default=0))
        for layer in network.layers
    ]
    shared = {"x": [float(k) for k in range(1, len(bits) + 1)], "xlabel": "layer"}
    return [
        {
            **shared, "title": "Neurons and weights, layer by layer", "ylabel": "how many",
            "series": {"weights other than 0": weights, "neurons": neurons}, "note": "From the input on the left.",
        },
        {
            **shared, "title": "Bits, layer by layer", "ylabel": "bits of the longest weight", "series": {"bits": bits},
            "note": "What a float must have so that no weight of the layer is rounded.",
        },
    ]  # fmt: skip
