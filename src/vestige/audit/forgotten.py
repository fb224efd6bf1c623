"""Which samples to forget: given positions, or those that leak."""

from torch import Tensor

from vestige.unlearning.request import Forget as Positions
from vestige.unlearning.request import forget_positions

Forget = str | Positions


def read_request(forget: Forget, n: int) -> str:
    """As text: positions with commas, "leaked" for all that leak, or "leaked:5" for the five that leak most.

    Raises:
        ValueError: unknown text, or positions that n samples do not have.
    """
    if isinstance(forget, str):
        kind, _, count = forget.partition(":")
        if kind == "leaked" and (not count or (count.isdecimal() and int(count) > 0)):
            return forget
        parts = [part.strip() for part in forget.split(",")]
        if not all(part.isdecimal() and int(part) < n for part in parts):
            raise ValueError(
                f"forget={forget!r} given; leaked, leaked:5, or positions from 0 to {n - 1} with commas are allowed."
            )
        forget = [int(part) for part in parts]
    return ",".join(map(str, forget_positions(forget, n).tolist()))


def picked(request: str, similarity: Tensor, recovered: Tensor) -> Tensor:
    """Positions to forget, given how each sample came back.

    Raises:
        ValueError: no sample leaks, or all of them do.
    """
    kind, _, count = request.partition(":")
    if kind != "leaked":
        return forget_positions([int(part) for part in request.split(",")], len(similarity))
    order = similarity.argsort(descending=True, stable=True)
    leaked = order[recovered[order]]
    if not len(leaked):
        raise ValueError(
            "no sample leaks: none was recovered beyond chance, so there is nothing to pick. To forget samples anyway, "
            "give their positions as forget, such as 0,3."
        )
    chosen = leaked[: int(count)] if count else leaked
    if len(chosen) == len(similarity):
        raise ValueError(
            f"all {len(leaked)} samples leak, and forgetting all of them would leave nothing. Give forget="
            f"leaked:{max(1, len(leaked) // 4)} for those that leak most."
        )
    return chosen.sort().values
