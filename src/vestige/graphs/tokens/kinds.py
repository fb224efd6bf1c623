"""How a graph becomes tokens, one for each node: the kinds, and what each loses (arXiv 2605.22471)."""

from dataclasses import dataclass

from vestige.core.choices import ChoiceEnum


class TokenKind(ChoiceEnum):
    """What a node's token holds."""

    SPECTRAL = "spectral"
    RANDOM_WALK = "random_walk"
    ADJACENCY = "adjacency"
    COMBINED = "combined"


class Laplacian(ChoiceEnum):
    """L = D - A of the theory, or I - D^-1/2 A D^-1/2 of the experiments."""

    COMBINATORIAL = "combinatorial"
    SYMMETRIC = "symmetric"


class Sign(ChoiceEnum):
    """What is done about eigenvectors that are only determined up to a sign or a basis."""

    CANONICAL = "canonical"
    FLIP = "flip"
    INVARIANT = "invariant"


@dataclass(frozen=True, kw_only=True)
class Tokenization:
    """How tokens are made.

    spectral: x_v = (u_1(v) .. u_k(v), lambda_1 .. lambda_k) of a Laplacian; random_walk: x_v = ((P^1)_vv .. (P^t)_vv)
    with P = D^-1 A; adjacency: x_v = row v of A, or of A R with a Gaussian R that all nodes and graphs share;
    combined: the three in a row, as published: eigenvectors of the symmetric Laplacian without the first and without
    eigenvalues, then the walk, then the row.

    Attributes:
        kind: of the tokens.
        k: eigenvectors; None for all. A graph with fewer has zeros in their place.
        t: steps of the walk; None for as many as the largest graph has nodes.
        width: columns of R; None for the rows as they are.
        laplacian: whose eigenvectors they are.
        largest: the last k eigenvectors instead of the first.
        eigenvalues: whether eigenvalues stand beside the eigenvectors.
        trivial: whether the eigenvector of the smallest eigenvalue is kept.
        sign: "canonical" (the entry of largest size is positive), "flip" (random, and drawn again in each step of a
            training), or "invariant": ((U_l U_l^T)_vv / m) of each eigenvalue l of multiplicity m, which depends on
            neither sign nor basis.

    Raises:
        ValueError: a number below 1.
    """

    kind: TokenKind | str = TokenKind.SPECTRAL
    k: int | None = None
    t: int | None = None
    width: int | None = None
    laplacian: Laplacian | str = Laplacian.COMBINATORIAL
    largest: bool = False
    eigenvalues: bool = True
    trivial: bool = True
    sign: Sign | str = Sign.CANONICAL

    def __post_init__(self):
        for name, choice in (("kind", TokenKind), ("laplacian", Laplacian), ("sign", Sign)):
            object.__setattr__(self, name, choice(getattr(self, name)))
        if any(number is not None and number < 1 for number in (self.k, self.t, self.width)):
            raise ValueError(f"k={self.k}, t={self.t}, width={self.width} given; each must be at least 1.")
        if self.kind is TokenKind.COMBINED:
            for name, value in (("laplacian", Laplacian.SYMMETRIC), ("eigenvalues", False), ("trivial", False)):
                object.__setattr__(self, name, value)

    @property
    def spectral(self) -> bool:
        """Whether eigenvectors are among the tokens."""
        return self.kind in (TokenKind.SPECTRAL, TokenKind.COMBINED)

    @property
    def walks(self) -> bool:
        """Whether return probabilities are."""
        return self.kind in (TokenKind.RANDOM_WALK, TokenKind.COMBINED)

    @property
    def rows(self) -> bool:
        """Whether rows of the adjacency matrix are."""
        return self.kind in (TokenKind.ADJACENCY, TokenKind.COMBINED)

    def blocks(self, size: int) -> dict[str, slice]:
        """Which columns hold what, for graphs of up to `size` nodes.

        >>> Tokenization(kind="combined").blocks(4)["adjacency"]
        slice(7, 11, None)
        """
        most = size if self.trivial else size - 1
        k = most if self.k is None else self.k
        widths = {
            "eigenvectors": k * self.spectral,
            "eigenvalues": k * (self.spectral and self.eigenvalues),
            "random_walk": (self.t or size) * self.walks,
            "adjacency": (self.width or size) * self.rows,
        }
        found, start = {}, 0
        for name, width in widths.items():
            if width:
                found[name] = slice(start, start + width)
                start += width
        return found


def as_tokenization(how: Tokenization | TokenKind | str) -> Tokenization:
    """A kind by its name has its defaults."""
    return how if isinstance(how, Tokenization) else Tokenization(kind=how)
