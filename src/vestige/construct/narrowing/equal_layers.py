"""Any ReLU chain as a narrow one that computes the same function everywhere (arXiv 2202.03841, theorem 7, corrected).

The narrow network carries x through all its layers, visits the neurons of the target one at a time, and keeps two
accumulators a level, because a signed number does not pass a ReLU:

    level 1:    t     =  relu(<w_i, x> + b_i)
    level l:    P_l  +=  max(a_i, 0) t,  Q_l += max(-a_i, 0) t,     then  t = relu(P_l - Q_l + b)  for the level above.

The printed two-layer case adds to the accumulator before the ReLU, which computes another function. Two repairs:

- ROTATING, two registers a coordinate: z = B x + c is carried as relu(z), relu(-z), where B is the identity but for one
  row, a multiple of w_i; so relu(<w_i, x> + b_i) is there for free. Changing rows divides by the largest entry.
- PIPELINED, one register more: it holds relu(<w_{i+1}, x> + b_{i+1}) while that of i is added. No division: with
  weights that are floats, every weight of the narrow network is a float.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from vestige.construct.exact.layers import ONE, plus
from vestige.construct.exact.rounding import power_below
from vestige.construct.narrowing.registers import Form, Registers, Row, start
from vestige.core.choices import ChoiceEnum
from vestige.core.relu_chain import ReluChain


class ExactWidth(ChoiceEnum):
    """How the first layer of the target is visited."""

    ROTATING = "2d+2"
    PIPELINED = "2d+3"


def exact_width(chain: ReluChain, base: ExactWidth) -> int:
    """2 (d + L - 1) for one output, two more for each further one and one more if pipelined."""
    return 2 * (chain.inputs + chain.depth - 2 + chain.outputs) + (base is ExactWidth.PIPELINED)


def exact_depth(chain: ReluChain) -> int:
    """Layers of weights: 1 + n_{L-1} (1 + n_{L-2} (... (1 + n_1))), counting the neurons that look at x in layer 1."""
    visits = 1
    for width in (int(chain.weights[0].any(1).sum()), *chain.hidden[1:]):
        visits = 1 + width * visits
    return visits


def exact_rows(chain: ReluChain, base: ExactWidth) -> list[list[Row]]:
    """The narrow network, in exact numbers: layers of rows {column: weight} with a bias."""
    return _Visit(chain, base).rows()


@dataclass
class _Visit:
    """The registers, and the basis that x is written in: row `pivot` is scale * (<w, .> + b) of neuron `current`."""

    chain: ReluChain
    base: ExactWidth
    registers: Registers = field(init=False)
    basis: tuple[int, list[Fraction], Fraction] | None = None

    def __post_init__(self) -> None:
        names = [f"x{j}" for j in range(self.chain.inputs)]
        self.registers = start(names)
        self.z: list[Form] = [{name: 1} for name in names]  # the rotated input, as forms in what the last layer holds

    def rows(self) -> list[list[Row]]:
        """Visit every neuron of the layer before the last once, for all outputs together."""
        top = self.chain.depth
        for k in range(self.chain.outputs):
            self._clear(top, k)
        for level in range(2, top):
            self._clear(level, 0)
        for i in range(self.chain.hidden[-1]):
            value = self._neuron(top - 1, i)
            for k in range(self.chain.outputs):
                self._add(top, k, Fraction(self.chain.weights[-1][k, i]), value)
        outputs = (self._difference(top, k, Fraction(b)) for k, b in enumerate(self.chain.biases[-1]))
        return self.registers.rows(outputs)

    def _neuron(self, level: int, i: int) -> Form:
        """Neuron i of a level after its ReLU, as a form; higher levels stay as they are."""
        bias = Fraction(self.chain.biases[level - 1][i])
        if level == 1:
            return self._first(i, bias)
        self._clear(level, 0)
        for j in range(self.chain.hidden[level - 2]):
            self._add(level, 0, Fraction(self.chain.weights[level - 1][i, j]), self._neuron(level - 1, j))
        before = self._difference(level, 0, bias)
        self._clear(level, 0)
        self.registers.forms[_plus(level, 0)] = before
        self._tick()
        return {_plus(level, 0): 1}

    def _first(self, i: int, bias: Fraction) -> Form:
        row = [Fraction(w) for w in self.chain.weights[0][i]]
        if not any(row):
            return {ONE: max(bias, Fraction(0))}
        if self.base is ExactWidth.PIPELINED:
            self.registers.forms["t"] = plus((1, {ONE: bias}), *zip(row, self.z, strict=True))
            self._tick()
            return {"t": 1}
        pivot = max(range(len(row)), key=lambda j: abs(row[j]))
        scale = 1 / power_below(abs(row[pivot]))
        self.z = self._unrotated()
        self.z[pivot] = plus((scale * bias, {ONE: 1}), *((scale * w, z) for w, z in zip(row, self.z, strict=True)))
        self.basis = (pivot, [scale * w for w in row], scale * bias)
        self._tick()
        return {f"+{pivot}": 1 / scale}

    def _unrotated(self) -> list[Form]:
        """x from the rotated input: coordinate `pivot` is solved for, the others are there."""
        if self.basis is None:
            return list(self.z)
        pivot, row, bias = self.basis
        others = [(-w / row[pivot], z) for j, (w, z) in enumerate(zip(row, self.z, strict=True)) if j != pivot]
        solved = plus((1 / row[pivot], self.z[pivot]), (-bias / row[pivot], {ONE: 1}), *others)
        return [solved if j == pivot else z for j, z in enumerate(self.z)]

    def _tick(self) -> None:
        """End the layer; both parts of every coordinate go along."""
        for j, z in enumerate(self.z):
            self.registers.forms[f"+{j}"], self.registers.forms[f"-{j}"] = z, plus((-1, z))
        if self.base is ExactWidth.PIPELINED:
            self.registers.forms.setdefault("t", {})
        self.registers.tick()
        self.z = [{f"+{j}": 1, f"-{j}": -1} for j in range(self.chain.inputs)]

    def _clear(self, level: int, k: int) -> None:
        self.registers.forms[_plus(level, k)] = {}
        self.registers.forms[_minus(level, k)] = {}

    def _add(self, level: int, k: int, weight: Fraction, value: Form) -> None:
        name = _plus(level, k) if weight > 0 else _minus(level, k)
        self.registers.forms[name] = plus((1, self.registers.forms[name]), (abs(weight), value))

    def _difference(self, level: int, k: int, bias: Fraction) -> Form:
        forms = self.registers.forms
        return plus((1, forms[_plus(level, k)]), (-1, forms[_minus(level, k)]), (bias, {ONE: 1}))


def _plus(level: int, k: int) -> str:
    return f"P{level}.{k}"


def _minus(level: int, k: int) -> str:
    return f"Q{level}.{k}"
