"""Writes new problems for an error type from the programs of its mistakes.

Place in the flow: error type + seeds -> drafts. A seed gets other numbers, and names and things from the other seeds. If the
result is too similar, it gets new names and things, other phrases, one more step, an aside, another frame, or a second seed
chained to it. Question and solution are written together and the solution is executed, so a draft's answer is right by
construction.

Example::

    synthesize(request)[0].answer
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from sei.arithmetic import format_number
from sei.data.overlap import SimilarityFilter
from sei.records import Rejected
from sei.steps import join_steps
from sei.teacher.base import Draft, Seed, SynthesisRequest
from sei.teacher.symbolic.program import Instance, Program, read_program
from sei.teacher.symbolic.quantities import WORDS
from sei.teacher.symbolic.rewriting import FixedNumber, check_solution, substitute
from sei.teacher.symbolic.wording import (
    aside,
    find_names,
    new_names,
    new_things,
    paraphrase,
    reframe,
    reorder,
    replace_words,
    sentences,
    some_name,
)

_TRIES = 7  # wordings tried for one draft, each bolder than the one before
_HARDER_SHARE = 0.1  # of drafts that get one more step at once; others get one if they must differ more
_ASKS_FOR_MONEY = re.compile(
    r"how many dollars|money|in dollars|how much (?:do|does|did|will|would|must|should|is|are)\b[^?]*"
    r"\b(?:pay|cost|earn|spend|make|owe|save|gain|get paid|worth)",
    re.IGNORECASE,
)
_ASKS_FOR_A_COUNT = re.compile(r"How many (?!times|more|less|hours|minutes|days|weeks|months|years|percent)(\w+)")


@dataclass(frozen=True)
class Source:
    """A seed and its program."""

    seed: Seed
    program: Program


def synthesize(request: SynthesisRequest) -> list[Draft | Rejected]:
    """Up to `count` drafts, a Rejected for each draft that is missing, and one for each seed that cannot be used at all."""
    rng = random.Random(request.seed)
    seeds = [*request.mistakes, *request.synthesized]
    output: list[Draft | Rejected] = []
    sources: list[Source] = []
    for seed in seeds:
        program = read_program(seed.question, seed.solution, seed.answer)
        if isinstance(program, str):
            output.append(Rejected.make(seed.id, program, "seed cannot be given other numbers", seed.solution))
        else:
            sources.append(Source(seed, program))
    if not sources:
        return output
    similar = SimilarityFilter(request.rouge_threshold, [seed.question for seed in seeds])
    names = sorted({name for seed in seeds for name in find_names(seed.question)})
    writer = Writer(rng, sources, names)
    order = rng.sample(sources, len(sources))
    place = 0
    while order and place < request.count:
        result = writer.draft(order[place % len(order)], similar)
        output.append(result)
        if isinstance(result, Rejected) and result.reason == "no_sensible_numbers":
            order.pop(place % len(order))  # its numbers cannot be changed: the other seeds are used instead
        else:
            place += 1
    return output


@dataclass(frozen=True)
class _Change:
    """What a further question does with the answer before it."""

    operator: str
    operand: str
    value: Fraction  # the new answer


@dataclass(frozen=True)
class _Further:
    """A further question and the step that answers it."""

    sentence: str
    words: str  # of the step; `{}` stands for the calculation
    change: _Change


def _about_money(name: str, number: str, times: _Change, more: _Change) -> list[_Further]:
    return [
        _Further(f"{name} has {number} times that sum. How much does {name} have?", f"{name} has {{}} dollars.", times),
        _Further(
            f"{name} has {more.operand} dollars more than that. How many dollars does {name} have?",
            f"{name} has {{}} dollars.",
            more,
        ),
        _Further(
            f"If {name} then adds {more.operand} dollars to it, what is the sum?",
            "With these dollars the sum is {}.",
            more,
        ),
    ]


def _about_a_count(name: str, number: str, noun: str, times: _Change, more: _Change, fewer: _Change) -> list[_Further]:
    """`noun` is what was counted, with a blank before it, or empty."""
    ask, words = f"How many{noun} does {name} have?", f"{name} has {{}}{noun}."
    found = [
        _Further(f"{name} has {number} times that number. {ask}", words, times),
        _Further(f"{name} has {more.operand} more than that. {ask}", words, more),
    ]
    if fewer.value > 0:
        found.append(_Further(f"{name} has {fewer.operand} fewer than that. {ask}", words, fewer))
    return found


def _about_parts(result: Fraction) -> list[_Further]:
    return [
        _Further(
            f"That number is split into {parts} equal parts. How many are in each part?",
            "Each part has {}.",
            _Change("/", str(parts), result / parts),
        )
        for parts in (2, 3, 4, 5, 6, 8, 10)
        if result % parts == 0 and result > parts
    ]


def _about_a_number(number: str, times: _Change, more: _Change) -> list[_Further]:
    return [
        _Further(
            f"Take that number {number} times. What do you get?", f"Taken {times.operand} times, it is {{}}.", times
        ),
        _Further(f"Add {more.operand} to that number. What do you get?", "The sum is {}.", more),
    ]


class Writer:
    """Writes one draft after another from `sources`; `names` are first names to use more often than others."""

    def __init__(self, rng: random.Random, sources: Sequence[Source], names: Sequence[str]) -> None:
        self._rng, self._sources, self._names = rng, sources, names
        self._text = " ".join(source.seed.question for source in sources)
        self._exhausted: set[str] = set()  # seeds for which no sensible numbers were found

    def draft(self, source: Source, similar: SimilarityFilter) -> Draft | Rejected:
        """A draft unlike everything in `similar`, to which it is then added."""
        level = 2 if self._rng.random() < _HARDER_SHARE else 0
        reason, question = "no_sensible_numbers", source.program.question
        for attempt in range(_TRIES):
            parents = [source.seed.id]
            if attempt >= _TRIES - 2 and len(self._sources) > 1:
                other = self._rng.choice([one for one in self._sources if one is not source])
                parents.append(other.seed.id)
                instance = self._chain(source.program, other.program) or self._chain(other.program, source.program)
                if instance is None and attempt == _TRIES - 1:
                    instance = self._add_answers(source.program, other.program)
            else:
                instance = self._vary(source.program, level)
                level += 1
                if instance is None:
                    self._exhausted.add(source.seed.id)
            if instance is None:
                if source.seed.id in self._exhausted:
                    break
                continue
            question, reason = instance.question, "too_similar"
            if similar.check(question) is None:
                answer = format_number(instance.answer)
                solution = join_steps(list(instance.steps), answer)
                if (problem := check_solution(solution, instance.answer)) is not None:
                    reason = f"draft_{problem}"
                    continue
                similar.add(question)
                return Draft(question, solution, answer, tuple(parents))
        return Rejected.make(source.seed.id, reason, f"after {_TRIES} tries", question)

    def _vary(self, program: Program, level: int) -> Instance | None:
        """`reworded`, from level 2 on with one more step if there is one."""
        instance = self.reworded(program, level)
        if instance is not None and level >= 2:
            return self.one_more_step(instance) or instance
        return instance

    def reworded(self, program: Program, level: int) -> Instance | None:
        """Other numbers, names and things; from level 1 on such as no seed has, and in other phrases."""
        instance = self._renamed(program, taken=(), near=level == 0)
        if instance is None:
            return None
        question, steps, answer = instance.question, instance.steps, instance.answer
        if level >= 1:
            question = reorder(paraphrase(question, self._rng, 0.3 + 0.2 * level), self._rng)
        if level >= 3 or (level >= 1 and self._rng.random() < 0.25):
            question = reframe(question, self._rng)
        if self._rng.random() < 0.2 * level - 0.1:
            question = aside(question, self._rng)
        return Instance(question, steps, answer)

    def _renamed(
        self,
        program: Program,
        taken: tuple[str, ...],
        forced: dict[Fraction, Fraction] | None = None,
        *,
        near: bool = False,
    ) -> Instance | None:
        values = program.draw(self._rng, forced)
        instance = program.instantiate(values) if values is not None else None
        if instance is None:
            return None
        text = program.question
        things = new_things(text, self._rng, only=self._text if near else None)
        words = new_names(text, self._rng, taken, self._names, near=near) | things
        question, *steps = replace_words([instance.question, *instance.steps], words)
        return Instance(question, tuple(steps), instance.answer)

    # -- harder variants -----------------------------------------------------------------------------------------

    def one_more_step(self, instance: Instance) -> Instance | None:
        """A further question about the answer: several times it, more, fewer, or shares of it."""
        result = instance.answer
        ask = sentences(instance.question)[-1]
        if result <= 1 or not ask.endswith("?"):
            return None
        options = self._further(instance, ask)
        if not options:
            return None
        further = self._rng.choice(options)
        expression = f"{format_number(result)} {further.change.operator} {further.change.operand}"
        visible = any(re.search(r"\d\s*[-+*/x×]\s*\$?\d[^<>]*<<", step) for step in instance.steps)
        shown = f"{expression} = " if visible else ""
        value = format_number(further.change.value)
        step = further.words.format(f"{shown}<<{expression.replace(' ', '')}={value}>>{value}")
        return Instance(f"{instance.question} {further.sentence}", (*instance.steps, step), further.change.value)

    def _further(self, instance: Instance, ask: str) -> list[_Further]:
        """Possible further questions about the answer that `ask` asks for."""
        rng, result = self._rng, instance.answer
        name = some_name(rng, instance.question)
        factor = rng.randint(2, 9)
        amount = Fraction(rng.randint(2, max(3, min(60, int(result)))))
        number = rng.choice([WORDS[factor], str(factor)])
        times = _Change("*", str(factor), result * factor)
        more = _Change("+", format_number(amount), result + amount)
        fewer = _Change("-", format_number(amount), result - amount)
        if "cent" not in ask and _ASKS_FOR_MONEY.search(ask):
            return _about_money(name, number, times, more)
        if (counted := _ASKS_FOR_A_COUNT.match(ask)) and result.denominator == 1:
            noun = f" {counted[1]}" if counted[1].endswith("s") else ""
            return _about_a_count(name, number, noun, times, more, fewer) + _about_parts(result)
        return _about_a_number(number, times, more)

    def _chain(self, first: Program, second: Program) -> Instance | None:
        """Two problems, the answer of the first being a number of the second; None if it does not fit."""
        rng = self._rng
        one = self._renamed(first, taken=tuple(find_names(second.question)))
        if one is None:
            return None
        taken = tuple(find_names(one.question))
        for variable in rng.sample(second.variables, len(second.variables)):
            places = [quantity for quantity in second.quantities if quantity.value == variable.value]
            fits = variable.value / 3 <= one.answer <= variable.value * 4 and one.answer.denominator == 1
            if len(places) != 1 or not fits or variable.percent or "$" in variable.text or variable.kind != "digits":
                continue
            two = self._renamed(second, taken, forced={variable.value: one.answer})
            if two is None:
                continue
            letter = rng.choice("NKMX")
            question = _replace_once(two.question, one.answer, letter)
            if question is None or re.search(rf"\b{letter}\b", one.question):
                continue
            link = rng.choice(("Call this number {}.", "Let {} be that number.", "Write {} for the answer."))
            return Instance(f"{one.question} {link.format(letter)} {question}", (*one.steps, *two.steps), two.answer)
        return None

    def _add_answers(self, first: Program, second: Program) -> Instance | None:
        """Both problems, and the sum of their answers."""
        one = self._renamed(first, taken=tuple(find_names(second.question)))
        two = self._renamed(second, tuple(find_names(one.question))) if one is not None else None
        if one is None or two is None or one.answer.denominator != 1 or two.answer.denominator != 1:
            return None
        total = one.answer + two.answer
        text = f"{format_number(one.answer)}+{format_number(two.answer)}"
        step = f"The sum of both answers is <<{text}={total}>>{total}."
        question = f"{one.question} {two.question} What is the sum of the two answers?"
        return Instance(question, (*one.steps, *two.steps, step), total)


def _replace_once(question: str, value: Fraction, letter: str) -> str | None:
    """The question with its only mention of `value` written as `letter`; None unless there is exactly one."""
    marker = Fraction(987654321)
    try:
        marked = substitute(question, {value: marker})
    except FixedNumber:
        return None
    if marked.count("987654321") != 1 or "987,654,321" in marked:
        return None
    return re.sub(r"\b[Aa]n? (?=987654321)", "a ", marked).replace("987654321", letter)
