"""Mistakes whose first wrong step is known: one step of a gold solution is spoiled, the steps after it continue from there.

Place in the flow: `mistakes` measures a teacher on these. Only solutions are used in which it is clear where a number comes
from.

Example::

    arithmetic_items(100, seed=0)[0].step      # the number of the step that was spoiled
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from sei.arithmetic import ArithmeticRefused, evaluate, parse
from sei.data.arithmetic.corrupt import corrupt
from sei.data.arithmetic.generate import IN_DOMAIN, stories
from sei.equations import ANNOTATION
from sei.records import Mistake, Problem, content_id
from sei.steps import join_steps, split_steps

_TOKEN = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+|[-+*/()]")
_NUMBER = re.compile(r"(?<![\d.,])\d[\d,]*(?:\.\d+)?(?!\d)")
_GAP = r"[\s$A-Za-z]*"  # what may stand between the tokens of an expression in the words: units, `$`
_MOST_TRIES = 20  # attempts to spoil one solution before it is skipped


@dataclass(frozen=True)
class Item:
    """A planted mistake and the 1-based number of its first wrong step."""

    mistake: Mistake
    step: int


def arithmetic_items(count: int, seed: int) -> list[Item]:
    """`count` spoiled solutions of the arithmetic world, of problems that no training split contains."""
    rng = random.Random(f"calibrate/{seed}")
    items = (
        Item(_mistake(story.problem("test"), join_steps(list(spoiled.lines), str(spoiled.answer))), spoiled.step)
        for story in stories(IN_DOMAIN, "test", "calibrate", seed)
        for spoiled in [corrupt(story, rng)]
        if len(spoiled.lines) == len(story.lines)  # a missing step leaves no wrong step to point at
    )
    return _distinct(items, count)


def annotated_items(problems: Sequence[Problem], count: int, seed: int) -> list[Item]:
    """Up to `count` spoiled gold solutions of `problems`, at most one each.

    Only solutions with one whole-number annotation per step are used, and only if it is clear which numbers are earlier
    results.
    """
    rng = random.Random(f"calibrate/{seed}")
    shuffled = rng.sample(list(problems), len(problems))
    return _distinct((item for problem in shuffled if (item := spoil(problem, rng)) is not None), count)


def spoil(problem: Problem, rng: random.Random) -> Item | None:
    """The problem's gold solution with one step's operation, operand or result made wrong; None if it cannot be spoiled."""
    steps = _read(problem)
    if steps is None:
        return None
    for _ in range(_MOST_TRIES):
        index = rng.randrange(len(steps))
        change = rng.choice((_wrong_operation, _wrong_operand, _wrong_result))
        earlier = [_value(token) for step in steps[: index + 1] for token in step.tokens if token[0].isdigit()]
        tokens, value = change(steps[index], earlier, rng)
        if value in (None, steps[index].value):
            continue
        if output := _continued(steps, index, tokens, value):
            return Item(_mistake(problem, output), index + 1)
    return None


@dataclass(frozen=True)
class _Step:
    """A line `before <<tokens=value>> after`; `after` begins with the result as written."""

    line: str
    before: str
    tokens: tuple[str, ...]
    value: Fraction
    after: str

    def rewritten(self, tokens: tuple[str, ...], value: Fraction, renamed: dict[Fraction, Fraction]) -> str:
        """The line with another expression and result, in its annotation and its words; `renamed` are earlier results."""
        places = self.visible() or []
        before, at = "", 0
        for (start, end), token in zip(places, tokens, strict=bool(places)):
            before += _rename(self.before[at:start], renamed) + token
            at = end
        before += _rename(self.before[at:], renamed)
        after = _rename(self.after, renamed if value == self.value else {**renamed, self.value: value})
        return f"{before}<<{''.join(tokens)}={value}>>{after}"

    def visible(self) -> list[tuple[int, int]] | None:
        """Where the tokens are in the words just before the annotation, None if the words do not repeat them."""
        pattern = _GAP.join(f"({re.escape(token)})" for token in self.tokens)
        found = list(re.finditer(rf"(?<![\d.,]){pattern}{_GAP}=\s*\$?$", self.before))
        return [found[0].span(group) for group in range(1, len(self.tokens) + 1)] if found else None


def _read(problem: Problem) -> list[_Step] | None:
    """The solution as steps, None unless it is plain enough to be spoiled unambiguously."""
    lines, answer = split_steps(problem.solution)
    steps: list[_Step] = []
    for line in lines:
        found = list(ANNOTATION.finditer(line))
        if len(found) != 1:
            return None
        match = found[0]
        tokens = tuple(_TOKEN.findall(match["left"]))
        value, claimed = _value("".join(tokens)), _value(match["right"])
        if "".join(tokens) != "".join(match["left"].split()) or len(tokens) < 3 or value is None or value != claimed:
            return None
        after = line[match.end("right") + 2 :]
        shown = _NUMBER.match(after.lstrip(" $"))
        step = _Step(line, line[: match.start()], tokens, value, after)
        if value.denominator != 1 or shown is None or _value(shown[0]) != value:
            return None
        if "=" in after or ("=" in step.before and step.visible() is None):
            return None
        steps.append(step)
    results = [step.value for step in steps]
    given = {_value(text) for text in _NUMBER.findall(problem.question)}
    # A number that may be a result or given in the question cannot be traced through the steps.
    clear = len(set(results)) == len(results) and not given & set(results)
    return steps if clear and answer is not None and results and _value(answer) == results[-1] else None


def _wrong_operation(
    step: _Step, earlier: Sequence[Fraction | None], rng: random.Random
) -> tuple[tuple[str, ...], Fraction | None]:
    places = [place for place, token in enumerate(step.tokens) if token in "+-*/"]
    place = rng.choice(places)
    return _with(step, place, rng.choice([sign for sign in "+-*/" if sign != step.tokens[place]]))


def _wrong_operand(
    step: _Step, earlier: Sequence[Fraction | None], rng: random.Random
) -> tuple[tuple[str, ...], Fraction | None]:
    places = [place for place, token in enumerate(step.tokens) if token[0].isdigit()]
    others = [value for value in earlier if value is not None and value.denominator == 1]
    place = rng.choice(places)
    right = _value(step.tokens[place]) or Fraction(0)
    return _with(step, place, str(rng.choice([*others, right + 1, right * 2])))


def _wrong_result(
    step: _Step, earlier: Sequence[Fraction | None], rng: random.Random
) -> tuple[tuple[str, ...], Fraction | None]:
    shown = step.value + rng.choice((-10, -2, -1, 1, 2, 10))
    return step.tokens, shown if shown > 0 else None


def _with(step: _Step, place: int, token: str) -> tuple[tuple[str, ...], Fraction | None]:
    tokens = (*step.tokens[:place], token, *step.tokens[place + 1 :])
    return tokens, _whole("".join(tokens))


def _continued(steps: Sequence[_Step], index: int, tokens: tuple[str, ...], value: Fraction) -> str | None:
    """The solution with step `index` replaced and continued from its value; None if it cannot continue or ends right."""
    lines = [step.line for step in steps[:index]]
    lines.append(steps[index].rewritten(tokens, value, {}))
    renamed = {steps[index].value: value}
    for step in steps[index + 1 :]:
        replaced = tuple(_rename(token, renamed) for token in step.tokens)
        result = _whole("".join(replaced))
        if result is None:
            return None
        lines.append(step.rewritten(replaced, result, renamed))
        if result != step.value:
            renamed[step.value] = result
    answer = renamed.get(steps[-1].value)
    return None if answer is None else join_steps(lines, str(answer))


def _rename(text: str, renamed: dict[Fraction, Fraction]) -> str:
    def other(match: re.Match[str]) -> str:
        value = _value(match[0])
        return str(renamed[value]) if value in renamed else match[0]

    return _NUMBER.sub(other, text)


def _value(text: str) -> Fraction | None:
    try:
        return evaluate(parse(text))
    except ArithmeticRefused:
        return None


def _whole(text: str) -> Fraction | None:
    """The value of an expression if it is a positive whole number, as the results of school problems are; else None."""
    value = _value(text)
    return value if value is not None and value.denominator == 1 and value > 0 else None


def _mistake(problem: Problem, output: str) -> Mistake:
    return Mistake(
        content_id("mistake", problem.id, "calibrate", output),
        problem_id=problem.id,
        attempt_id="",
        question=problem.question,
        gold_answer=problem.answer,
        gold_solution=problem.solution,
        output=output,
        model="calibrate",
        family=problem.family,
    )


def _distinct(items: Iterator[Item], count: int) -> list[Item]:
    """The first `count` items with different mistakes."""
    found: dict[str, Item] = {}
    for item in items:
        if len(found) == count:
            break
        found[item.mistake.id] = item
    return list(found.values())
