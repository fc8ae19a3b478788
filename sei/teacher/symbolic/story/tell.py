"""Writes a plan as a question and its solution.

Place in the flow: plan -> **story** -> `check`, `aim`. What happens is told in the order of the operations, the question last.
A person is called by name, and "he" or "she" where the sentence before begins with the same person and names nobody else who
could be meant.

Example::

    tell(plan, rng, names).question
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from sei.arithmetic import format_number
from sei.teacher.symbolic.story.planner import Plan, Told
from sei.teacher.symbolic.story.scenes import COMMON, DAYS, TIMES

_PERSON = re.compile(r"⟦(\d)⟧")
_SUBJECT = re.compile(r"(?:(?!\b(?:than|of|from|is|to|for|gives)\b)[^⟦])*⟦(\d)⟧")  # whom a sentence begins with
_PARTS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}


@dataclass(frozen=True)
class Line:
    """One step: its words around the calculation, and the calculation."""

    words: str
    terms: tuple[Fraction | str, ...]  # a op b [op c]
    value: Fraction
    sources: tuple[int | None, ...] = ()  # for each number, the line whose result it is; None for one of the question

    @property
    def expression(self) -> str:
        return "".join(term if isinstance(term, str) else format_number(term) for term in self.terms)


@dataclass(frozen=True)
class Story:
    """A told problem."""

    question: str
    lines: tuple[Line, ...]
    answer: Fraction
    scene: str

    def steps(self, *, visible: bool) -> list[str]:
        """The solution's lines, with the calculation written out before its annotation if `visible`."""
        return [step_text(line, visible=visible) for line in self.lines]


def step_text(line: Line, *, visible: bool, expression: str = "", value: Fraction | None = None) -> str:
    """One line as text; with another calculation or value where a mistake is wanted."""
    written = expression or line.expression
    result = format_number(line.value if value is None else value)
    shown = f"{written} = " if visible else ""
    return line.words.replace("{}", f"{shown}<<{written}={result}>>{result}", 1)


@dataclass(frozen=True)
class Person:
    name: str
    female: bool


@dataclass(frozen=True)
class _View:
    """Who and what a rule speaks of."""

    people: tuple[int, ...] = (0, 1, 2, 3)
    thing: int = 0

    def of_another(self, mentioned: Collection[int]) -> _View:
        """The same of somebody who is not in the story yet, if there is anybody."""
        first = next((one for one in self.people if one not in mentioned), self.people[1])
        others = sorted((one for one in self.people if one != first), key=lambda one: one in mentioned)
        return replace(self, people=(first, *others))

    def turned(self) -> _View:
        first, second, *others = self.people
        return replace(self, people=(second, first, *others))


def tell(plan: Plan, rng: random.Random, people: Sequence[Person]) -> Story:
    """The plan in words; `people` are four who may occur in it."""
    teller = _Teller(plan, rng, people)
    teller.facts_of(plan.root, _View())
    ask = teller.fill(teller.choice(plan.root.rule.ask), plan.root, teller.last)
    question = teller.named([*teller.facts, ask])
    return Story(
        question,
        tuple(replace(line, words=teller.named([line.words])) for line in teller.lines),
        plan.root.value,
        plan.scene.name,
    )


class _Teller:
    def __init__(self, plan: Plan, rng: random.Random, people: Sequence[Person]) -> None:
        self._plan, self._rng, self._people = plan, rng, people
        self.facts: list[str] = []
        self.lines: list[Line] = []
        self._line: dict[int, int] = {}  # the line that a told operation ends with
        self._in_order = False  # whether the story has said "in the morning" or the like
        self.last = _View()  # how the result told last is spoken of
        pairs = plan.scene.pairs
        self._things = rng.sample(pairs, min(3, len(pairs)))
        self._words = {name: rng.choice(options) for name, options in COMMON.items()}
        if self._words["friends"].endswith("s"):
            self._words["friend"] = self._words["friends"][:-1]
        self._words |= plan.scene.words
        if "supplies" in self._words:
            supplies = self._words["supplies"]
            self._words["Supplies"] = supplies[0].upper() + supplies[1:]
        first, second, third = rng.choice(TIMES)
        self._words |= {
            "first_": first,
            "second": second,
            "second_": _capital(second),
            "first": _capital(first),
            "third": _capital(third),
        }
        self._words["day1"], self._words["day2"] = (DAYS[index] for index in sorted(rng.sample(range(len(DAYS)), 2)))

    def facts_of(self, told: Told, view: _View) -> _View:
        """Tell what `told` and everything before it says; returns how its result is spoken of."""
        rule, after = told.rule, view
        if told.left is not None:
            after = self.facts_of(told.left, view)
        if told.right is not None:
            spec = rule.right
            mentioned = {int(mark) for fact in self.facts for mark in _PERSON.findall(fact)}
            other = after.of_another(mentioned) if spec.startswith("F:") else after
            other = replace(other, thing={"U:": 1, "V:": 2}.get(spec[:2], after.thing))
            seen = self.facts_of(told.right, other)
            if told.left is None:
                after = seen
            elif spec.startswith("F:"):
                first, *rest = after.people
                after = replace(after, people=(first, seen.people[0], *(one for one in rest if one != seen.people[0])))
        if text := self.choice(rule.tell):
            self.facts.append(self.fill(text, told, after))
        self._lines_of(told, after)
        self.last = after
        return after.turned() if rule.turns else after

    def choice(self, texts: Sequence[str]) -> str:
        """One of the texts, with the scene's own text for a `@name` in it."""
        fitting = [text for text in texts if self._fits(text)]
        text = self._rng.choice(fitting or texts)
        self._in_order |= "{first" in text
        for name, options in self._plan.scene.texts.items():
            if f"@{name}" in text.split():
                text = text.replace(f"@{name}", self._rng.choice(options))
        return text

    def _fits(self, text: str) -> bool:
        """Whether the scene has the text asked for, and "today" or "on Wednesday" comes where it can."""
        named = [word[1:] for word in text.split() if word.startswith("@")]
        return (
            all(name in self._plan.scene.texts for name in named)
            and not (self.facts and "{when}" in text)
            and ("{third}" not in text or self._in_order)
        )

    def _lines_of(self, told: Told, view: _View) -> None:
        op, a, b = told.rule.op, told.a, told.b
        if not op:
            return
        compound = op[0] == "x" or op in ("+%", "-%")
        texts = told.rule.says if compound else [self._rng.choice(told.rule.says)]
        says = [self.fill(text, told, view, calculation=True) for text in texts]
        left, right = (self._line.get(id(part)) if part is not None else None for part in (told.left, told.right))
        hundredth = ("/", Fraction(100)) if op[-1] == "%" else ()
        first: tuple[Fraction | str, ...] = (a, "*" if hundredth else op[-1], b, *hundredth)
        if compound:
            inner = abs(told.value - a)
            self.lines.append(Line(says[0], first, inner, (left, right, None)[: len(first) // 2 + 1]))
            self.lines.append(
                Line(says[1], (a, op[1] if op[0] == "x" else op[0], inner), told.value, (left, len(self.lines) - 1))
            )
        elif self._continues(op, left) and left is not None and self._rng.random() < 0.5:
            before = self.lines.pop()  # 3 + 4 and 7 + 5 in one line
            self.lines.append(Line(says[0], (*before.terms, op, b), told.value, (*before.sources, right)))
        else:
            self.lines.append(Line(says[0], first, told.value, (left, right, None)[: len(first) // 2 + 1]))
        self._line[id(told)] = len(self.lines) - 1

    def _continues(self, op: str, left: int | None) -> bool:
        """Whether the calculation before goes on with `op`, in the same line if one likes."""
        if left is None or left != len(self.lines) - 1 or op not in ("+", "-", "*"):
            return False
        operators = {*self.lines[left].terms[1::2], op}
        return (operators <= {"+", "-"} or operators == {"*"}) and len(self.lines[left].terms) < 7

    def fill(self, text: str, told: Told, view: _View, *, calculation: bool = False) -> str:
        """The text with its words filled in; people stay marks until `named`."""
        first = self._people[view.people[0]]
        thing = self._things[min(view.thing, len(self._things) - 1)]
        second = self._things[min(1, len(self._things) - 1)]
        values = {
            **self._words,
            **{letter: f"⟦{view.people[place]}⟧" for place, letter in enumerate("SFG")},
            "T": thing[1], "t": thing[0], "T_": _capital(thing[1]), "U": second[1],
            "a": format_number(told.a), "b": _money(told.b) if "${b}" in text else format_number(told.b),
            "n": format_number(told.left.a) if told.left is not None else "",
            "his": "her" if first.female else "his", "him": "herself" if first.female else "himself",
        }  # fmt: skip
        part = int(told.b)
        values["portion"] = f"1/{part}" if self._plan.plain else _PARTS.get(part, f"1/{part}")
        values["Portion"] = _capital(values["portion"])
        kind = (told.left or told.right or told).rule.out
        values["r"] = "remaining " if kind in ("left", "poolleft") else ""
        values["the"] = (
            "the remaining" if values["r"] else f"all of {values['his']}" if kind in ("made", "stock") else "all of the"
        )
        values["the_"] = "The remaining" if values["r"] else "All of the"
        values["the2"] = "the remaining" if values["r"] else "the"
        pieces = re.split(r"(\{\w*\})", text)
        return "".join(
            piece if piece == "{}" and calculation else values[piece[1:-1]] if piece.startswith("{") else piece
            for piece in pieces
        )

    def named(self, texts: Sequence[str]) -> str:
        """The sentences with people's names, or pronouns where these are clear."""
        sentences = [sentence for text in texts for sentence in re.split(r"(?<=[.?!]) (?=\S)", text)]
        written, before = [], ""
        for sentence in sentences:
            start = _PERSON.match(sentence)
            if start and (last := _SUBJECT.match(before)) and last[1] == start[1]:
                person = self._people[int(start[1])]
                others = set(_PERSON.findall(before + sentence)) - {start[1]}
                if all(self._people[int(mark)].female != person.female for mark in others) and not sentence.startswith(
                    f"⟦{start[1]}⟧'"
                ):
                    sentence_new = ("She" if person.female else "He") + sentence[start.end() :]
                    written.append(sentence_new)
                    before = sentence
                    continue
            written.append(sentence)
            before = sentence
        text = " ".join(written)
        text = _PERSON.sub(lambda match: self._people[int(match[1])].name, text)
        return re.sub(r"\b([Aa])(n?) (?=(8|11|18)\b|[aeiouAEIO])", lambda match: f"{match[1]}n ", text)


def _money(value: Fraction) -> str:
    return format_number(value) if value.denominator == 1 else f"{float(value):.2f}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
