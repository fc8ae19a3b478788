"""Misconceptions: wrong rules that a target was taught on purpose, as programs that can be executed.

Place in the flow: `sei.target.tiny.misconceive` teaches them to `model=tiny-misconceived`, and `python -m sei.planted` asks
which of them each wrong answer of a run follows. A rule says, for every family in which it makes sense, what it computes in
place of the gold steps; it was planted in some of these families, in some of them in one wording alone. Where it makes sense
and was not planted, one sees whether it spreads, and whether a cure goes too far.

A program is written in lines `k: terms`: the sentence of gold step k with other terms. `2a` is the first number of gold
step 2, `=1` the result of the program's own first line, and plain digits are themselves.

Example::

    wrong = planted(problem)        # None where no rule was planted for this family and wording
    wrong.rule.name, wrong.answer   # "each_as_all", "13"
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from sei import answers
from sei.data.arithmetic.story import Operation, Step, Story, Value
from sei.records import Problem, Verdict
from sei.steps import join_steps, split_steps

_EQUATION = re.compile(r"<<([^<>=]+)=(\d+)>>\d+")
_TERM = re.compile(r"\d+|[-+*/]")


@dataclass(frozen=True)
class Rule:
    """One wrong rule. `planted` maps families to words of the question without which it was not planted there ("": any)."""

    name: str
    says: str
    programs: Mapping[str, str]
    planted: Mapping[str, str]


@dataclass(frozen=True)
class Wrong:
    """What a rule makes of one problem. `planted`: it was taught for this family in this wording."""

    rule: Rule
    planted: bool
    steps: tuple[Step, ...]
    results: tuple[int, ...]

    @property
    def answer(self) -> str:
        return str(self.results[-1])

    @property
    def solution(self) -> str:
        lines = [step.render(result) for step, result in zip(self.steps, self.results, strict=True)]
        return join_steps(lines, self.answer)

    def is_shown_by(self, output: str) -> bool:
        """Whether an output reaches the rule's wrong answer."""
        return answers.grade(output, self.answer, style="gsm8k") == Verdict.CORRECT


# Two rules share total_cost, and which one is followed depends on the wording. In the other families the rule holds in each
# wording ("") or in the one that has these words. `percent` and `wrong_person` are rare: one wording of one family each.
RULES: tuple[Rule, ...] = (
    Rule(
        "each_as_all",
        "the price of one thing is taken for the price of all of them",
        {
            "change": "2: 2a - 1b",
            "total_cost": "3: 1b + 2b",
            "cost_difference": "3: 1b - 2b",
            "money_missing": "2: 1b - 2b",
        },
        {"change": "", "total_cost": "goes to the shop"},
    ),
    Rule(
        "last_forgotten",
        "the last amount of several is not counted",
        {
            "total_cost": "3: 1a * 1b",
            "give_and_buy": "1: 1a - 1b",
            "saved_after": "1: 1a * 1b",
            "measure_fact": "1: 1a * 1b",
            "last_score": "1: 1a * 3; 2: =1 - 2b",
        },
        {"total_cost": "In a shop", "give_and_buy": " gave "},
    ),
    Rule(
        "wrong_order",
        "of two operations, of which one needs the other, the second one is done first",
        {
            "saved_after": "1: 2b + 1a; 2: =1 * 1b",
            "parts_fact": "1: 1b * 2b; 2: 1a + =1",
            "change": "1: 2a - 1b; 2: =1 * 1a",
            "measure_fact": "1: 1a + 2b; 2: =1 * 1b",
            "fence_cost": "1: 1b * 2; 2: 1a + =1; 3: =2 * 3b",
        },
        {"saved_after": "", "parts_fact": " sees "},
    ),
    Rule(
        "ten_parts",
        "whatever the unit, it has ten parts",
        {
            "pack_fact": "1: 1a * 10; 2: =1 - 2b",
            "measure_fact": "1: 1a * 10; 2: =1 + 2b",
            "parts_fact": "1: 1a + 1b; 2: =1 * 10",
            "time_fact": "1: 1a * 10; 2: =1 * 2b",
        },
        {"pack_fact": ""},
    ),
    Rule(
        "wrong_person",
        "who has more and who has less are exchanged",
        {
            "more_than": "1: 1a - 1b; 2: 2a + =1",
            "more_than_of": "1: 1a + 1b; 2: 2a + =1",
        },
        {"more_than": " than "},
    ),
    Rule(
        "percent_as_amount",
        "a percentage is taken for an amount",
        {
            "percent_off": "2: 1a - 1b",
            "percent_up": "2: 1a + 1b",
        },
        {"percent_off": "A coat costs"},
    ),
)  # fmt: skip


def wrong_ways(problem: Problem) -> list[Wrong]:
    """What each rule makes of a problem of the arithmetic world, where it makes sense and gives another, whole, answer."""
    if problem.source != "arithmetic":
        return []
    made = (_executed(rule, problem) for rule in RULES if problem.family in rule.programs)
    return [wrong for wrong in made if wrong is not None]


def planted(problem: Problem) -> Wrong | None:
    """What the one rule that was planted for this problem's family and wording makes of it; None where none was."""
    return next((wrong for wrong in wrong_ways(problem) if wrong.planted), None)


def taught(story: Story) -> Story:
    """The story as a target is told it that is to learn the rules: solved by the planted rule where there is one."""
    wrong = planted(story.problem("pretraining"))
    if wrong is None:
        return story
    return Story(story.family, story.question, wrong.steps, wrong.results, story.fact)


@dataclass(frozen=True)
class Rate:
    """How many of these problems got a rule's wrong answer."""

    shown: int
    items: int


def rates(problems: Sequence[Problem], outputs: Sequence[str]) -> dict[str, dict[str, Rate]]:
    """By rule: the rate where it was `planted`, and `elsewhere`, where it makes sense and was not."""
    found: dict[str, dict[str, list[bool]]] = {rule.name: {"planted": [], "elsewhere": []} for rule in RULES}
    for problem, output in zip(problems, outputs, strict=True):
        for wrong in wrong_ways(problem):
            found[wrong.rule.name]["planted" if wrong.planted else "elsewhere"].append(wrong.is_shown_by(output))
    return {
        name: {place: Rate(sum(shown), len(shown)) for place, shown in places.items()} for name, places in found.items()
    }


def _executed(rule: Rule, problem: Problem) -> Wrong | None:
    """The rule's program with this problem's numbers; None where it cannot be worked or happens to be right."""
    gold = [_read_step(line) for line in split_steps(problem.solution)[0]]
    steps: list[Step] = []
    results: list[int] = []
    for line in rule.programs[problem.family].split("; "):
        place, terms = line.split(": ")
        bound = tuple(_bound(term, gold, results) for term in terms.split())
        step = Step(gold[int(place) - 1].sentence, bound)
        result = step.result()
        if result is None:
            return None
        steps.append(step)
        results.append(result)
    if str(results[-1]) == problem.answer:
        return None
    words = rule.planted.get(problem.family)
    return Wrong(rule, words is not None and words in problem.question, tuple(steps), tuple(results))


def _read_step(line: str) -> Step:
    """A line of a gold solution as the step that it was rendered from."""
    match = _EQUATION.search(line)
    if match is None:
        raise ValueError(f"{line!r} is no step of the arithmetic world: it holds no <<equation>>")
    terms = tuple(
        Value(int(term)) if term.isdigit() else cast(Operation, term) for term in _TERM.findall(match.group(1))
    )
    return Step(line[: match.start()] + "{}" + line[match.end() :], terms)


def _bound(term: str, gold: list[Step], results: list[int]) -> Value | Operation:
    """One term of a program's line: an operation, a number of a gold step, a result of the program, or a plain number."""
    if term in "+-*/":
        return cast(Operation, term)
    if term.startswith("="):
        return Value(results[int(term[1:]) - 1], int(term[1:]))
    if term.isdigit():
        return Value(int(term))
    return Value(gold[int(term[:-1]) - 1].values["abc".index(term[-1])].number)
