"""Reads a question again and derives its answer from the words, knowing nothing of the plan it was told from.

Place in the flow: draft -> **answer, or "not checked"**. Sentence after sentence it keeps who has how many things and how much
money; a sentence that it has no pattern for (`patterns`), or that speaks of what it does not know, ends the attempt. It shares
nothing with the rules, so a story that says something other than what its solution computes is caught where it can be read.

Example::

    derive("Ann picks 3 baskets of figs. Each basket holds 4 figs. How many figs does Ann pick in all?")     # Fraction(12)
"""

from __future__ import annotations

import re
from fractions import Fraction

from sei.arithmetic import ArithmeticRefused, parse_number
from sei.teacher.symbolic.story.patterns import NAME, SENTENCES, Impossible, Lost, Reading

_PRONOUN = re.compile(r"\b(?:He|She)\b")
_NO_NAMES = frozenset(
    "On In Today This One Then Later After Now At Every Each The There For Of They All Monday Tuesday Wednesday Thursday Friday "
    "Saturday Sunday June July August May Half From With Together Before It How What A But To Gift".split()
)


def derive(question: str) -> Fraction | None:
    """The answer as far as the words give it; None where they are not understood ("not checked"). May raise Impossible."""
    sentences = re.split(r"(?<=[.?!])\s+(?=\S)", question.strip())
    reading = Reading()
    try:
        for sentence in sentences[:-1]:
            _read(reading, sentence.rstrip("."))
        return _answer(reading, sentences[-1])
    except (
        Lost,
        ZeroDivisionError,
        IndexError,
    ):  # IndexError: a person whose name is taken for another word (May, June)
        return None


def agrees(question: str, answer: str) -> bool | None:
    """Whether the answer derived from the question is this one, False where its story is impossible; None: not checked."""
    try:
        derived = derive(question)
        return None if derived is None else derived == parse_number(answer)
    except ArithmeticRefused:
        return None
    except Impossible:
        return False


def _read(reading: Reading, sentence: str) -> None:
    if reading.subject:
        sentence = _PRONOUN.sub(reading.subject, sentence, count=1)
    for pattern, handler in SENTENCES:
        if match := pattern.fullmatch(sentence):
            groups = [group for group in match.groups() if group]
            numbers = [Fraction(group) for group in groups if group[0].isdigit()]
            people = [group for group in groups if group[0].isupper() and group.split()[0] not in _NO_NAMES]
            words = [group.lower() for group in groups if not group[0].isdigit() and group not in people]
            handler(reading, people, numbers, words)
            break
    else:
        raise Lost
    people = _people(re.split(r" than | of | to | from ", sentence)[0])
    if people:
        reading.subject = people[0]


def _people(text: str) -> list[str]:
    return [word for word in re.findall(NAME, text) if word not in _NO_NAMES]


def _answer(r: Reading, question: str) -> Fraction | None:
    people = _people(question)
    if r.lots or r.hours or not (r.things or r.money or r.cost):  # not all of it, or nothing at all, was understood
        return None
    if r.each is not None:
        countable = r"\beach\b|weeks|days|bags|boxes|cartons|parcels|albums|cases|shelves|does [A-Z]\w+ buy"
        return r.each if re.search(countable, question) else None
    if re.search(r"change|back\?|need|missing", question) or (r.missing is not None and "left" in question):
        return r.missing
    if r.part is not None and not r.money and re.search(r"How many of the|is that|save", question):
        return r.all_things() - r.part if " not " in question else r.part
    if re.search(r"\b(?:money|dollars)\b|\bearn\b|\bpay\b|\bcost\b", question):
        return _money_asked(r, question, people)
    return None if r.part is not None else _things_asked(r, question, people)


def _money_asked(r: Reading, question: str, people: list[str]) -> Fraction | None:
    if " than " in question:
        return (
            abs(r.money[people[0]] - r.money[people[1]]) if len(people) == 2 and {*people} <= r.money.keys() else None
        )
    if r.cost is not None:
        return r.cost if not r.money and r.missing is None and "do the" not in question else None
    if r.part is not None and len(r.money) == 1 and re.search(r"keep|left|save|is that", question):
        return r.part if re.search(r"save|is that", question) else next(iter(r.money.values())) - r.part
    if "they" in r.money or (len(people) == 2 and {*people} <= r.money.keys()):
        return sum(r.money.values(), Fraction(0)) if len(people) == 2 or len(r.money) == 1 else None
    if len(people) == 1 and re.search(r"make|earn|have|keep|left|save", question):
        return r.money.get(people[0])
    return next(iter(r.money.values())) if not people and len(r.money) == 1 else None


def _things_asked(r: Reading, question: str, people: list[str]) -> Fraction | None:
    if " than " in question:
        return (
            abs(r.things[people[0]] - r.things[people[1]])
            if len(people) == 2 and {*people} <= r.things.keys()
            else None
        )
    if re.search(r"\b(?:together|altogether|in all)\b", question) and re.search(r"\bdo\b", question):
        return r.all_things() if len(r.things) > 1 else None
    if re.search(r"How many [a-z -]+ (?:are left|remain)\?", question) and len(r.things) == 1:
        return next(iter(r.things.values()))
    owned = (
        r"(?:How many|What is the total number of) [a-z -]+ (?:does|that) [A-Z]\w+ \w+"
        r"(?: (?:in all|altogether|now|left|in the end))?\?"
    )
    return r.things.get(people[0]) if len(people) == 1 and re.fullmatch(owned, question) else None
