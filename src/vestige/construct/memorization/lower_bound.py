"""What counting demands of every network that can memorize (arXiv 2110.03187, section 6)."""

from collections.abc import Callable


def memorization_lower_bound(n: int, weights: int | None = None, bits: int | None = None, *, inputs: int = 1) -> int:
    """The fewest bits a weight (or the fewest weights) with which networks can give n points any labels 0 and 1.

    A network is the list of its weights and biases that are not 0: where each leads from (a neuron, one of the inputs,
    or the constant) and to, its sign, its digits and where its binary point stands. With W of them of B digits there
    are at most ((W + inputs + 1) (W + 1) 2**(B + 1) (B + 1))**W networks, and 2**n labelings.

    Args:
        n: points.
        weights: W, weights and biases that are not 0; None to ask for their number.
        bits: B, digits of one as `ExactNetwork.weight_bits` counts them; None to ask for it.
        inputs: coordinates of a point.

    Returns:
        The least B, or the least W, that counting does not exclude.

    Raises:
        ValueError: n below 1, or not exactly one of weights and bits.

    Example:
        >>> memorization_lower_bound(10_000, weights=200)
        29
        >>> memorization_lower_bound(10_000, bits=53)
        136
    """
    given = [value for value in (weights, bits) if value is not None]
    if len(given) != 1 or min(n, inputs, *given) < 1:
        raise ValueError(
            f"n={n}, weights={weights}, bits={bits}, inputs={inputs} given; n and inputs must be at least 1, and "
            "exactly one of weights and bits given, at least 1: the other is computed."
        )
    if weights is not None:
        return least_enough(lambda b: _enough(n, weights, b, inputs))
    assert bits is not None
    return least_enough(lambda w: _enough(n, w, bits, inputs))


def _enough(n: int, weights: int, bits: int, inputs: int) -> bool:
    """There are at least as many networks as labelings; in integers, since n may be large."""
    choices = (weights + inputs + 1) * (weights + 1) * (bits + 1) << (bits + 1)
    # choices**weights >= 2**n, without the power where the number of digits decides.
    length = choices.bit_length()
    if (length - 1) * weights >= n:
        return True
    return length * weights > n and choices**weights >= 1 << n


def least_enough(enough: Callable[[int], bool]) -> int:
    """The first number from 1 on that is enough, as all after it are, by doubling and halving."""
    high = 1
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
