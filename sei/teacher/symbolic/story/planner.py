"""Finds rules that tell an outline in one scene, and numbers that fit it.

Place in the flow: outline + scene -> **plan** -> `tell`. Rules are matched from the last operation to the first, kinds having to
fit; numbers are drawn from the first operation to the last, so that nothing is divided with a rest or falls below zero.

Example::

    plan = plan_story(outline, rng, SCENES)         # None where no scene tells these operations
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from sei.teacher.symbolic.story.outline import COMMUTATIVE, Node
from sei.teacher.symbolic.story.rules import PLAIN_RANGES, RANGES, Rule
from sei.teacher.symbolic.story.scenes import Scene

_SCENES_TRIED = 6
_DRAWS = 30
_MONEY = frozenset(
    "cash purse rest cost bill change lacking owed saved both theirs gap perweek unitprice bought".split()
)
_MOST = 20_000
_SCENES_WITH = {
    "time in hours or minutes": {"minutes", "job", "drive", "practice"},
    "a length": {"drive", "sponsor"},
    "a fraction": {"bad"},
}
_LIKELIER = 0.7
_SCALED = frozenset(
    "goods some more loss per rate lots pack saving weeks times each price packprice cash dear whole".split()
)
_MOST_OF = {
    "cash": 4000,
    "rest": 4000,
    "both": 6000,
    "theirs": 6000,
    "days": 40,
    "weeks": 60,
    "packs": 80,
    "ourpacks": 80,
    "needpacks": 40,
    "hours": 60,
    "gifts": 60,
    "gallons": 40,
    "dozens": 60,
}
_NOTES = (10, 20, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 400, 500, 600, 800, 1000, 1500, 2000)


@dataclass(eq=False)
class Told:
    """An operation with the rule that tells it. An argument is another one, or a number that the rule states."""

    rule: Rule
    left: Told | None = None
    right: Told | None = None
    a: Fraction = Fraction(0)
    b: Fraction = Fraction(0)
    value: Fraction = Fraction(0)

    @property
    def parts(self) -> list[Told]:
        return [part for part in (self.left, self.right) if part is not None]


@dataclass(frozen=True)
class Plan:
    """An outline told by rules of one scene, with its numbers."""

    scene: Scene
    root: Told
    plain: bool = False


class Book:
    """The scenes and the rules that each of them has, for one register."""

    def __init__(self, scenes: Sequence[Scene], rules: Sequence[Rule], *, plain: bool) -> None:
        self.plain = plain
        self.ranges: Mapping[str, tuple[int, int, int]] = PLAIN_RANGES if plain else RANGES
        self.scenes = tuple(scenes)
        self._rules: dict[str, dict[str, list[Rule]]] = {}
        for scene in scenes:
            by_op: dict[str, list[Rule]] = defaultdict(list)
            for rule in rules:
                if rule.register in ("", "plain" if plain else "full") and _fits(rule.on, scene.has):
                    by_op[rule.op].append(rule)
            self._rules[scene.name] = by_op

    def rules(self, scene: Scene, op: str) -> list[Rule]:
        return self._rules[scene.name].get(op, [])

    def ranges_of(self, scene: Scene) -> dict[str, tuple[int, int, int]]:
        return {**self.ranges, **scene.ranges}


def _fits(wanted: str, has: str) -> bool:
    return all(word == "full" or word in has.split() for word in wanted.split())


def plan_story(outline: Node, rng: random.Random, book: Book, scale: int = 1, phrase: str = "") -> Plan | None:
    """A plan in one of the scenes, with numbers up to `scale` times as large as is usual; None if none is found in a few tries.

    A `phrase` that names a sort of number makes scenes with such numbers likelier.
    """
    pool = book.scenes
    for sort, has in _SCENES_WITH.items():
        if sort in phrase and rng.random() < _LIKELIER:
            pool = tuple(scene for scene in pool if has & set(scene.has.split())) or pool
    scenes = rng.sample(pool, min(_SCENES_TRIED, len(pool)))
    for scene in scenes:
        matcher = _Matcher(rng, book, scene)
        root = matcher.match(outline, None, frozenset())
        if root is None:
            continue
        if _numbers(root[0], rng, book, scene, scale):
            return Plan(scene, root[0], book.plain)
    return None


@dataclass
class _Matcher:
    rng: random.Random
    book: Book
    scene: Scene
    budget: int = field(default=400)

    def match(
        self, node: Node, kinds: Sequence[str] | None, used: frozenset[str]
    ) -> tuple[Told, frozenset[str]] | None:
        """A rule for `node` whose result is one of `kinds` (None: any that can be asked for), and the marks used so far."""
        rules = [
            rule for rule in self.book.rules(self.scene, node.op) if (rule.ask if kinds is None else rule.out in kinds)
        ]
        for rule in self.rng.sample(rules, len(rules)):
            self.budget -= 1
            if self.budget < 0:
                return None
            marks = frozenset(rule.once.split() or ["".join(rule.tell)]) - {""}
            if marks & used:
                continue
            if (found := self._arguments(rule, node, used | marks)) is not None:
                return found
        return None

    def _arguments(self, rule: Rule, node: Node, used: frozenset[str]) -> tuple[Told, frozenset[str]] | None:
        if node.leaf:
            return Told(rule), used
        orders = [node.parts] + ([node.parts[::-1]] if node.op in COMMUTATIVE else [])
        for left, right in orders:
            told, marks = Told(rule), used
            for place, spec, part in (("left", rule.left, left), ("right", rule.right, right)):
                if spec[0] in "#=":
                    if not part.leaf:
                        break
                    continue
                found = self.match(part, spec.rpartition(":")[2].split("|"), marks)
                if found is None:
                    break
                setattr(told, place, found[0])
                marks = found[1]
            else:
                return told, marks
        return None


# -- numbers ---------------------------------------------------------------------------------------------------------------


class _Misfit(Exception):
    """These numbers do not work out."""


def _numbers(root: Told, rng: random.Random, book: Book, scene: Scene, scale: int) -> bool:
    """Draw numbers for a plan; False if none worked out."""
    ranges = book.ranges_of(scene)
    if scale > 1:
        ranges |= {name: (low, high * scale, grain) for name, (low, high, grain) in ranges.items() if name in _SCALED}
    for _ in range(_DRAWS):
        try:
            _Drawer(rng, ranges, plain=book.plain).draw(root)
        except _Misfit:
            continue
        return True
    return False


class _Drawer:
    def __init__(self, rng: random.Random, ranges: Mapping[str, tuple[int, int, int]], *, plain: bool) -> None:
        self._rng, self._ranges, self._plain = rng, ranges, plain
        # Once in a while prices have cents.
        self._cents = not plain and rng.random() < 0.2

    def draw(self, told: Told) -> Fraction:
        rule = told.rule
        if not rule.op:
            told.value = told.a = self._any(rule.left)
            return told.value
        left = self.draw(told.left) if told.left is not None else None
        right = self.draw(told.right) if told.right is not None else None
        told.a, told.b = self._arguments(rule, left, right)
        if told.left is not None and told.left.rule.out == "unitprice" and told.b == told.left.b:
            raise _Misfit  # it would be the price that is told already
        told.value = self._result(rule.op, told.a, told.b)
        if told.value > _MOST_OF.get(rule.out, _MOST):
            raise _Misfit
        whole = told.value.denominator == 1 or (rule.out in _MONEY and (told.value * 100).denominator == 1)
        if told.value <= (0 if self._plain else 1) or not whole or told.value in (told.a, told.b):
            raise _Misfit
        return told.value

    def _arguments(self, rule: Rule, left: Fraction | None, right: Fraction | None) -> tuple[Fraction, Fraction]:
        kind = rule.op[-1]
        if left is not None and right is not None:
            return left, right
        if left is None and right is not None:
            return self._left(rule, kind, right), right
        if left is None:
            if kind in "/%-":
                return self._both(rule, kind)
            return self._any(rule.left), self._any(rule.right)
        return left, self._right(rule, kind, left)

    def _right(self, rule: Rule, kind: str, left: Fraction) -> Fraction:
        spec = rule.right
        if kind == "/" and spec[0] == "#":
            low, high, _ = self._range(spec)
            parts = 4 if rule.out in _MONEY and self._cents else 1  # quarters of a dollar
            return self._one_of([Fraction(n) for n in range(low, high + 1) if left * parts % n == 0 and left != n])
        if kind == "%":
            low, high, grain = self._range(spec)
            return self._one_of([Fraction(n) for n in range(low, high + 1, grain) if (left * n / 100).denominator == 1])
        if kind == "-":
            return self._less(spec, left)
        return self._any(spec)

    def _left(self, rule: Rule, kind: str, right: Fraction) -> Fraction:
        if rule.left == "#bill":
            return self._one_of([note for note in _NOTES if right < note <= 4 * right])
        if kind == "-":  # so much is wanted, so much is there
            low, _, grain = self._range(rule.left)
            grain = max(grain, 10 if right > 60 else 1)
            least = max(low, int(right * Fraction(11, 10)) + 1)
            first = -(-least // grain)
            if rule.left == "#dear" and least > 1200:
                raise _Misfit
            last = max(first, int(right * Fraction(5, 2)) // grain)
            return Fraction(self._rng.randint(first, last) * grain)
        if kind == "/":
            return right * self._rng.randint(3, 12)
        return self._any(rule.left)

    def _both(self, rule: Rule, kind: str) -> tuple[Fraction, Fraction]:
        if kind == "-":
            left = self._any(rule.left)
            return left, self._less(rule.right, left)
        if kind == "%":
            left = self._any(rule.left)
            return left, self._right(rule, kind, left)
        right = self._any(rule.right)
        if rule.left == "#set":
            return right * self._any("#price"), right
        low, high, _ = self._range(rule.left)
        fitting = [n for n in range(low, high + 1) if n % right == 0]
        return Fraction(self._one_of(fitting)), right

    def _less(self, spec: str, left: Fraction) -> Fraction:
        low, high, grain = self._range(spec)
        most = min(high, int(left * Fraction(7, 10)))
        if spec in ("#spent", "#fee"):
            most = min(most, int(left * Fraction(6, 10)))
        if most < low:
            raise _Misfit
        return Fraction(grain * self._rng.randint(-(-low // grain), max(-(-low // grain), most // grain)))

    def _result(self, op: str, a: Fraction, b: Fraction) -> Fraction:
        inner = {"+": a + b, "-": a - b, "*": a * b, "/": a / b, "%": a * b / 100}[op[-1]]
        if op[0] == "x":
            if inner <= 0 or inner.denominator != 1:
                raise _Misfit
            return a + inner if op[1] == "+" else a - inner
        if op in ("+%", "-%"):
            return a + inner if op[0] == "+" else a - inner
        return inner

    def _range(self, spec: str) -> tuple[int, int, int]:
        return self._ranges[spec[1:]]

    def _any(self, spec: str) -> Fraction:
        if spec[0] == "=":
            return Fraction(int(spec[1:]) if spec[1:].isdigit() else self._range(spec)[0])
        low, high, grain = self._range(spec)
        value = Fraction(grain * self._rng.randint(-(-low // grain), high // grain))
        if spec == "#price" and self._cents and high < 15:
            value += self._rng.choice((Fraction(1, 2), Fraction(1, 4), Fraction(3, 4)))
        return value

    def _one_of(self, values: Sequence[Fraction] | Sequence[int]) -> Fraction:
        if not values:
            raise _Misfit
        return self._rng.choice([Fraction(value) for value in values])
