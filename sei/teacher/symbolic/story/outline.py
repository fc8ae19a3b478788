"""A worked solution as an outline: a tree of operations over numbers, without the words and without the numbers' sizes.

Place in the flow: seed -> **outline** -> `planner`. Two equal numbers of a question are two numbers; a result that is used
twice is one node in two places, and the commonest of such pairs are operations of their own ("twice as many, and both
together"), because a story says them in one sentence.

Example::

    read_outline("3*4=<<3*4=12>>12 pens\\n20-12=<<20-12=8>>8\\n#### 8", question)     # 20 - (3 * 4)
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from sei.arithmetic import ArithmeticRefused, Expression, Negative, Number, Operation, parse_number
from sei.equations import read_equations
from sei.steps import split_steps
from sei.teacher.symbolic.quantities import Quantity, read_quantities
from sei.teacher.symbolic.rewriting import check_solution

# `%`: so many percent of it; `-%`, `+%`: it less or more so many percent; `x+*`: x and so many times x together, and so on.
SHARED = ("x+*", "x+/", "x++", "x+-", "x-/")
COMMUTATIVE = frozenset("+*")
_LARGEST = 6  # operations of a story; longer programs are cut at their beginnings


@dataclass(frozen=True, eq=False)
class Node:
    """An operation on two numbers, each an operation again or a leaf (`op` is empty)."""

    op: str
    left: Node | None = None
    right: Node | None = None

    @property
    def leaf(self) -> bool:
        return not self.op

    @property
    def parts(self) -> tuple[Node, ...]:
        return (self.left, self.right) if self.left is not None and self.right is not None else ()

    def __str__(self) -> str:
        return f"({self.left}{self.op}{self.right})" if self.op else "n"


LEAF = Node("")


def nodes(root: Node) -> Iterator[Node]:
    """The operations of an outline, the last one first."""
    if not root.leaf:
        yield root
        for part in root.parts:
            yield from nodes(part)


def size(root: Node) -> int:
    """How many operations an outline has."""
    return sum(1 for _ in nodes(root))


def read_outline(question: str, solution: str, answer: str) -> Node | str:
    """The outline of a worked problem, or the code of the reason why there is none."""
    steps, _ = split_steps(solution)
    equations = read_equations(steps)
    if not any(equation.annotated for equation in equations):
        return "no_annotations"
    try:
        gold = parse_number(answer)
    except ArithmeticRefused:
        return "answer_not_a_number"
    if (fault := check_solution(solution, gold)) is not None:
        return f"gold_{fault}"
    reader = _Reader(read_quantities(question))
    for equation in equations:
        node = reader.read(equation.expression)
        if node is None:
            return "unknown_operation"
        reader.results[equation.claimed] = node
    root = _joined(reader.results[equations[-1].claimed])
    return "no_operation" if root.leaf else root


class _Reader:
    """Turns expressions into nodes, results of earlier equations being nodes already."""

    def __init__(self, quantities: tuple[Quantity, ...]) -> None:
        self.results: dict[Fraction, Node] = {}
        self._percents = {quantity.value for quantity in quantities if quantity.percent}
        self._times = Counter(quantity.value for quantity in quantities)
        self._leaves: dict[Fraction, Node] = {}

    def read(self, expression: Expression) -> Node | None:
        if isinstance(expression, Number):
            return self._number(expression.value)
        if isinstance(expression, Negative):
            return None
        if expression.operator in ("+", "-"):
            left, right = self.read(expression.left), self.read(expression.right)
            return None if left is None or right is None else Node(expression.operator, left, right)
        return self._product(expression)

    def _number(self, value: Fraction) -> Node:
        if value in self.results:
            return self.results[value]
        if self._times[value] > 1:  # stated twice: two numbers
            return Node("")
        return self._leaves.setdefault(value, Node(""))

    def _product(self, expression: Operation) -> Node | None:
        """A product with its percentage, if it has one, taken last; factors of 1 and of 100 go with it or go away."""
        factors: list[tuple[Expression, bool]] = []
        if not _factors(expression, False, factors):
            return None
        percent = ""
        kept: list[tuple[Node, bool]] = []
        for factor, inverse in factors:
            value = factor.value if isinstance(factor, Number) else None
            if value in (1, 100, Fraction(1, 100)) and value not in self.results and len(factors) > 2:
                continue
            if not percent and not inverse and value is not None and (kind := self._percent(value)):
                percent = kind
                continue
            node = self.read(factor)
            if node is None:
                return None
            kept.append((node, inverse))
        kept.sort(key=lambda one: one[1])
        if not kept or kept[0][1]:
            return None
        root = kept[0][0]
        for node, inverse in kept[1:]:
            root = Node("/" if inverse else "*", root, node)
        return Node(percent, root, LEAF) if percent else root

    def _percent(self, value: Fraction) -> str:
        """What a factor does if it comes from a percentage of the question: "" if it does not."""
        for percent in self._percents:
            share = percent / 100
            if value in (share, percent):
                return "%"
            if value in (1 - share, 100 - percent):
                return "-%"
            if value in (1 + share, 100 + percent):
                return "+%"
        return ""


def _factors(expression: Expression, inverse: bool, found: list[tuple[Expression, bool]]) -> bool:
    """Collect the factors of a product, each with whether it divides; False for a power or a sign."""
    if isinstance(expression, Operation) and expression.operator in ("*", "/"):
        right = inverse if expression.operator == "*" else not inverse
        return _factors(expression.left, inverse, found) and _factors(expression.right, right, found)
    found.append((expression, inverse))
    return not isinstance(expression, Negative) and not (
        isinstance(expression, Operation) and expression.operator == "^"
    )


def _joined(node: Node) -> Node:
    """The outline with every pair "x and something of x" as one operation."""
    if node.left is None or node.right is None:
        return node
    for one, other in ((node.left, node.right), (node.right, node.left)):
        if (
            node.op not in "+-"
            or (node.op == "-" and other is not node.right)
            or other.left is not one
            or other.right is None
        ):
            continue
        if other.op == "%":
            return Node(f"{node.op}%", _joined(one), LEAF)
        if (op := f"x{node.op}{other.op}") in SHARED and other.right.leaf:
            return Node(op, _joined(one), LEAF)
    left, right = _joined(node.left), _joined(node.right)
    return node if (left, right) == (node.left, node.right) else Node(node.op, left, right)


def shorter(root: Node, rng: random.Random) -> Node | None:
    """The outline with one of its first operations replaced by a number; None for one operation alone."""
    lowest = [node for node in nodes(root) if all(part.leaf for part in node.parts)]
    if root in lowest:
        return None
    return _replace(root, rng.choice(lowest), Node(""))


def cut(root: Node, rng: random.Random, most: int = _LARGEST) -> Node:
    """The outline with at most `most` operations, its last ones."""
    while size(root) > most and (less := shorter(root, rng)) is not None:
        root = less
    return root


def longer(root: Node, rng: random.Random, op: str = "", *, last: bool | None = None) -> Node:
    """The outline with one more operation (`op`, or any) at its end (`last`) or at one of its beginnings."""
    op = op or rng.choice("+-*/")
    if last if last is not None else rng.random() < 0.7:
        return Node(op, root, Node("")) if op != "-" or rng.random() < 0.6 else Node(op, Node(""), root)
    lowest = rng.choice([node for node in nodes(root) if any(part.leaf for part in node.parts)])
    grown = Node(op, Node(""), Node(""))
    if lowest.left is not None and lowest.left.leaf:
        return _replace(root, lowest, Node(lowest.op, grown, lowest.right))
    return _replace(root, lowest, Node(lowest.op, lowest.left, grown))


def _replace(root: Node, old: Node, new: Node) -> Node:
    if root is old:
        return new
    if root.left is None or root.right is None:
        return root
    return Node(root.op, _replace(root.left, old, new), _replace(root.right, old, new))
