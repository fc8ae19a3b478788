"""Rules and scenes in few and plain words, for seeds that are themselves told so.

Place in the flow: data for `planner` (see `rules` for the notation). A small target that was trained on plain problems reads little
else; `Author` takes these rules where nearly all words of the seeds are words of this module. `=fact` is a number that the
question does not state and a seed's solution used (how many legs a crab has): `facts` finds it with its words.

Example::

    is_plain(["Ann has 3 boxes with 4 pens each. How many pens does Ann have?"])        # True
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sei.equations import read_equations
from sei.steps import split_steps
from sei.teacher.symbolic.quantities import read_quantities
from sei.teacher.symbolic.story.rules import Rule
from sei.teacher.symbolic.story.scenes import Scene

_THINGS = "apple, ball, bead, book, card, coin, cup, egg, hat, marble, pear, pen, plum, shell, stamp, toy"
_HAVE = (
    "How many {T} does {S} have now?",
    "How many {T} does {S} have in the end?",
    "How many {T} does {S} have in all?",
)
_TOGETHER = ("How many {T} do they have together?", "How many {T} do {S} and {F} have in all?")
_MONEY = ("How many dollars does {S} have now?", "How much money does {S} have left?")
_PAY = ("How much does {S} pay?", "How many dollars does {S} pay in all?", "What do they cost in all?")
_SUM = ("{F} has {} {T}.", "Together they have {} {T}.")

PLAIN: tuple[Rule, ...] = (
    # things
    Rule("made", "", "#goods", "", ("{S} has {a} {T}.", "{S} had {a} {T}."), (), (), on="own"),
    Rule("made", "*", "#lots", "#per", ("{S} has {a} boxes with {b} {T} each.", "{S} buys {a} boxes of {b} {T}.", "There are {a} boxes of {b} {T}. {S} gets them all."), _HAVE, ("{S} has {} {T}.", "There are {} {T}."), on="own", once="base"),
    Rule("perday", "*", "#rate", "#hours", ("{S} makes {a} {T} an hour and works {b} hours a day.", "In an hour {S} makes {a} {T}. {S} works {b} hours a day."), ("How many {T} does {S} make in a day?",), ("{S} makes {} {T} a day.",), on="own", once="base"),
    Rule("made", "*", "perday", "#days", ("{S} does so for {b} days.", "{S} works {b} days."), _HAVE, ("In {b} days {S} makes {} {T}.",), on="own", once="ask"),
    Rule("asked", "*", "perday", "#days", ("",), ("How many {T} does {S} make in {b} days?", "How many {T} does {S} have after {b} days?"), ("In {b} days {S} makes {} {T}.",), on="own", once="ask"),
    Rule("days", "/", "#total", "perday", ("",), ("How many days does {S} need to make {a} {T}?", "After how many days does {S} have {a} {T}?"), ("{S} needs {} days.",), on="own", once="ask"),
    Rule("made", "+", "made", "#more", ("{S} buys {b} more.", "Then {S} gets {b} more {T}."), _HAVE, ("Now {S} has {} {T}.",), on="own", once="buys"),
    Rule("made", "-", "made", "#loss", ("{S} gives {b} {T} to {F}.", "{S} gives {b} of them to {F}.", "{S} sells {b} of the {T}."), ("How many {T} does {S} have left?", "How many {T} does {S} have now?"), ("{S} has {} {T} left.",), on="own", once="gives"),
    Rule("made", "x-/", "made", "#parts", ("{S} gives {portion} of them to {F}.", "{S} gives {portion} of the {T} to {F}."), ("How many {T} does {S} have now?", "How many {T} does {S} have in the end?"), ("{S} gives away {} {T}.", "{S} has {} {T} left."), on="own", once="gives"),
    Rule("given", "/", "made", "#parts", ("{S} gives {portion} of them to {F}.", "{S} gives {portion} of the {T} to {F}."), ("How many {T} does {F} get?",), ("{S} gives away {} {T}.",), on="own", once="gives"),
    Rule("theirs", "+", "#goods", "given", ("{F} had {a} {T} before.", "{F} has {a} {T} at first."), ("How many {T} does {F} have now?", "How many {T} does {F} have in the end?"), ("{F} has {} {T}.",), on="own"),
    Rule("first", "-", "#goods", "#more", ("{S} buys {b} {T}. Now {S} has {a} {T}.", "{S} got {b} more {T} and has {a} in the end."), ("How many {T} did {S} have at first?", "How many {T} did {S} have before?"), ("Before buying {S} had {} {T}.",), on="own", once="base"),
    Rule("first", "+", "first", "#loss", ("Before that {S} gave {b} {T} to {F}.",), ("How many {T} did {S} have at first?",), ("At first {S} had {} {T}.",), on="own"),
    Rule("made", "*", "made", "#times", ("{F} has {b} times as many {T} as {S}.",), ("How many {T} does {F} have?",), ("{F} has {} {T}.",), on="own", turns=True, once="compare"),
    Rule("made", "/", "made", "#times", ("{S} has {b} times as many {T} as {F}.", "That is {b} times as many as {F}."), ("How many {T} does {F} have?",), ("{F} has {} {T}.",), on="own", turns=True, once="compare"),
    Rule("made", "+", "made", "#more", ("{F} has {b} more {T} than {S}.",), ("How many {T} does {F} have?",), ("{F} has {} {T}.",), on="own", turns=True, once="compare"),
    Rule("made", "-", "made", "#loss", ("{S} has {b} more {T} than {F}.", "That is {b} more than {F}."), ("How many {T} does {F} have?",), ("{F} has {} {T}.",), on="own", turns=True, once="compare"),
    Rule("pool", "x+*", "made", "#times", ("{F} has {b} times as many {T} as {S}.", "{F} has {b} times as many."), _TOGETHER, _SUM, on="own", once="compare"),
    Rule("pool", "x+/", "made", "#times", ("{S} has {b} times as many {T} as {F}.", "That is {b} times as many as {F}."), _TOGETHER, _SUM, on="own", once="compare"),
    Rule("pool", "x++", "made", "#more", ("{F} has {b} more {T} than {S}.", "{F} has {b} more."), _TOGETHER, _SUM, on="own", once="compare"),
    Rule("pool", "x+-", "made", "#loss", ("{S} has {b} more {T} than {F}.", "That is {b} more than {F}."), _TOGETHER, _SUM, on="own", once="compare"),
    Rule("pool", "+", "made", "F:made", ("",), _TOGETHER, ("Together they have {} {T}.",), on="own", once="compare"),
    Rule("gap", "-", "made", "F:made", ("",), ("How many more {T} does {S} have than {F}?",), ("{S} has {} {T} more.",), on="own", once="compare"),
    Rule("share", "/", "made", "#friends", ("{S} shares them with {b} friends.", "{S} gives them all to {b} friends."), ("How many {T} does each friend get?", "How many does each one get?"), ("Each friend gets {} {T}.",), on="own", once="end"),
    Rule("packs", "/", "made", "#pack", ("{S} puts {b} in each box.", "{S} puts the {T} in boxes of {b}."), ("How many boxes does {S} have?", "How many boxes are there?"), ("{S} fills {} boxes.",), on="own", once="end"),
    Rule("cash", "*", "packs", "#packprice", ("{S} sells each box for ${b}.", "{S} sells them for ${b} a box."), ("How much money does {S} get?", "How many dollars does {S} get in all?"), ("{S} gets {} dollars.",), on="own"),
    Rule("cash", "*", "made", "#price", ("{S} sells them all for ${b} each.", "Later {S} sells them for ${b} each."), ("How much money does {S} get?", "How many dollars does {S} get in all?"), ("{S} gets {} dollars.",), on="own", once="end"),
    # money
    Rule("cost", "*", "#few", "#price", ("{S} buys {a} {T} for ${b} each.", "{S} goes to the shop for {a} {T} at ${b} each.", "In a shop {T} cost ${b} each. {S} buys {a} of them."), ("How much does {S} pay?", "How many dollars do the {T} cost?"), ("The {T} cost {} dollars.",), on="own"),
    Rule("bill", "+", "cost", "U:cost", ("",), _PAY, ("{S} pays {} dollars.",), on="own"),
    Rule("gap", "-", "cost", "U:cost", ("",), ("How much more does {S} pay for the {T}?", "How many dollars more do the {T} cost?"), ("The {T} cost {} dollars more.",), on="own"),
    Rule("change", "-", "#bill", "cost|bill", ("{S} had ${a} at first.", "{S} goes there with ${a}."), _MONEY, ("{S} has {} dollars left.",), on="own", once="pay"),
    Rule("lacking", "-", "cost|bill", "#cash", ("{S} has ${b}.", "{S} goes there with ${b}."), ("How much more money does {S} need?", "How many dollars more does {S} need?"), ("{S} needs {} dollars more.",), on="own", once="pay"),
    Rule("each", "-", "#sold", "#price", ("{S} buys {T} for ${b} each and sells them for ${a} each.", "{S} buys {T} at ${b} each. Later {S} sells them all at ${a} each."), ("How much does {S} gain on each?",), ("The gain on each is {} dollars.",), on="own", once="base"),
    Rule("gain", "*", "each", "#few", ("There are {b} {T} in all.", "{S} has {b} of them."), ("How much does {S} gain?", "How many dollars does {S} gain in all?"), ("{S} gains {} dollars.",), on="own"),
    Rule("saved", "*", "#saving", "#weeks", ("{S} saves ${a} a week for {b} weeks.", "{S} saves ${a} every week for {b} weeks."), ("How much does {S} save?",), ("{S} saves {} dollars.",), on="own", once="base"),
    Rule("saved", "+", "saved", "#cash", ("{S} had ${b} at first.", "Before that {S} had ${b}."), ("How much does {S} have in the end?", "How many dollars does {S} have now?"), ("Then {S} has {} dollars.",), on="own"),
    Rule("lacking", "-", "#dear", "#cash", ("{S} has ${b} and needs ${a}.", "{S} needs ${a} for a coat and has ${b} at first."), ("How many dollars more does {S} need?",), ("{S} needs {} dollars more.",), on="own", once="base"),
    Rule("weeks", "/", "lacking", "#saving", ("{S} saves ${b} a week.", "{S} saves ${b} every week."), ("After how many weeks does {S} have it all?", "How many weeks does {S} need?"), ("That takes {} weeks.",), on="own", once="end"),
    Rule("price", "", "#dear", "", ("A coat costs ${a}.", "{S} wants a coat of ${a}."), (), (), on="own", once="base"),
    Rule("bill", "-%", "price|cost|bill", "#off", ("The shop takes {b} percent off for {S}.", "The shop cuts the price by {b} percent."), ("How many dollars does {S} pay?", "How much does {S} pay now?"), ("The price falls by {} dollars.", "{S} pays {} dollars."), on="own", once="off"),
    Rule("bill", "+%", "price|cost|bill", "#off", ("The shop puts {b} percent on top for {S}.", "The shop lifts the price by {b} percent."), ("How many dollars does {S} pay?", "How much does {S} pay now?"), ("The price grows by {} dollars.", "{S} pays {} dollars."), on="own", once="off"),
    Rule("part", "%", "price|cost", "#off", ("The shop takes {b} percent off for {S}.",), ("By how many dollars does the price fall?",), ("The price falls by {} dollars.",), on="own", once="off"),
    # a garden
    Rule("area", "*", "#per", "#rate", ("{S} has a garden {a} yards long and {b} yards wide.", "A garden is {a} yards long and {b} yards wide."), ("How many square yards does the garden have?",), ("The garden has {} square yards.",), on="own", once="base"),
    Rule("bill", "*", "area", "#price", ("Grass costs ${b} a square yard.", "{S} buys grass at ${b} a square yard."), ("How much does {S} pay?", "How many dollars does the grass cost?"), ("That costs {} dollars.",), on="own"),
    Rule("half", "+", "#per", "#rate", ("{S} has a garden {a} yards long and {b} yards wide.", "A garden is {a} yards long and {b} yards wide."), (), ("Two sides have {} yards.",), on="own", once="base"),
    Rule("fence", "*", "half", "=2", ("",), ("How many yards does a fence around it need?",), ("The fence has {} yards.",), on="own"),
    Rule("bill", "*", "fence", "#price", ("A fence costs ${b} a yard.", "{S} buys a fence at ${b} a yard."), ("How much does {S} pay?", "How many dollars does the fence cost?"), ("That costs {} dollars.",), on="own"),
    # games
    Rule("points2", "+", "#goods", "#goods", ("{S} gets {a} and {b} points in 2 games.", "In 2 games {S} scores {a} and {b} points."), ("How many points is that in all?",), ("The sum is {} points.",), on="own", once="base"),
    Rule("points3", "+", "points2", "#goods", ("In one more game {S} gets {b} points.",), ("How many points is that in all?",), ("The sum is {} points.",), on="own", once="more"),
    Rule("average", "/", "points2", "=2", ("",), ("What is the average?", "How many points is {S}'s average?"), ("The average is {} points.",), on="own"),
    Rule("average", "/", "points3", "=3", ("",), ("What is the average?", "How many points is {S}'s average?"), ("The average is {} points.",), on="own"),
    Rule("score", "*", "#per", "=3", ("{S} plays 3 games for an average of {a} points.", "The average of {S} in 3 games is {a} points."), ("How many points is that in all?",), ("The sum must be {} points.",), on="own", once="base"),
    Rule("score", "-", "score", "#few", ("In the first game {S} gets {b} points.",), ("How many points does {S} get in the last 2 games?",), ("The other games need {} points.",), on="own", once="minus"),
    Rule("lastscore", "-", "score", "#few", ("In the next game {S} gets {b} points.",), ("How many points does {S} get in the last game?", "What is the last score?"), ("The last game needs {} points.",), on="own"),
    # facts of the seeds
    Rule("units", "", "#lots", "", ("{S} has {a} {unit}.",), (), (), on="parts"),
    Rule("units", "+", "#lots", "#lots", ("{S} draws {a} {unit} and then {b} more {unit}.", "{S} sees {a} {unit} here and {b} {unit} there."), ("How many {unit} are there?",), ("There are {} {unit}.",), on="parts", once="base"),
    Rule("inner", "*", "units", "=fact", ("",), ("How many {part} do they have in all?", "How many {part} is that?"), ("They have {} {part}.",), on="parts"),
    Rule("inner", "*", "#lots", "=fact", ("{S} buys {a} {unit} {part}.", "{S} has {a} {unit} {part}."), ("How many {part} does {S} have?", "How many {part} is that?"), ("{S} has {} {part}.",), on="packed", once="base"),
    Rule("inner", "*", "#lots", "=fact", ("{S} measures {a} {unit}.",), ("How many {part} is that?",), ("{a} {unit} are {} {part}.",), on="measure", once="base"),
    Rule("inner", "-", "inner", "#loss", ("{S} uses {b} of the {part}.", "{S} gives {b} {part} away."), ("How many {part} are left?", "How many {part} does {S} have left?"), ("Then {} {part} are left.",), on="packed", once="less"),
    Rule("inner", "+", "inner", "#more", ("{S} measures {b} more {part}.", "{S} has {b} more {part}."), ("How many {part} are there in all?", "How many {part} is that?"), ("In all it is {} {part}.",), on="measure", once="more"),
    Rule("inner", "+", "inner", "#more", ("{S} gets {b} more {part}.",), ("How many {part} does {S} have now?",), ("In all {S} has {} {part}.",), on="packed", once="more"),
    Rule("span", "*", "#each", "=fact", ("",), (), ("That is {} {part}.",), on="time"),
    Rule("made", "*", "span", "#rate", ("{S} makes {b} {T} every {one} for {n} {unit}.",), _HAVE, ("{S} makes {} {T}.",), on="time", once="base"),
    Rule("asked", "*", "span", "#rate", ("{S} makes {b} {T} every {one}.", "Every {one} {S} makes {b} {T}."), ("How many {T} does {S} make in {n} {unit}?", "How many are made in {n} {unit}?"), ("{S} makes {} {T}.",), on="time", once="base"),
)  # fmt: skip

OWN = Scene("plain", "own", _THINGS, {"friends": "friends", "friend": "friend"})


@dataclass(frozen=True)
class Fact:
    """A number that a seed's solution knows: 1 of `unit` has `count` of `part`."""

    count: int
    unit: str
    part: str
    shape: str  # "parts" (5 crabs), "measure" (3 yards), "packed" (3 dozen eggs), "time" (2 weeks)

    @property
    def scene(self) -> Scene:
        words = {"unit": self.unit, "part": self.part, "one": self.part.removesuffix("s")}
        return Scene(f"{self.count} {self.part}", self.shape, _THINGS, words, {}, {"fact": (self.count, self.count, 1)})


_TIME = frozenset("seconds minutes hours days weeks months seasons years".split())


def facts(question: str, solution: str) -> list[Fact]:
    """The facts that a worked problem uses, as far as its words show them."""
    steps, _ = split_steps(solution)
    stated = {quantity.value: quantity for quantity in read_quantities(question)}
    used = {operand for equation in read_equations(steps) for operand in equation.operands}
    found = []
    for equation in read_equations(steps):
        count = equation.operands[-1]
        if (
            len(equation.operands) != 2
            or count in stated
            or count.denominator != 1
            or count < 2
            or "*" not in equation.text
        ):
            continue
        part = re.search(r">>\d+ (\w+)", steps[equation.step - 1])
        after = [question[quantity.end :] for value, quantity in stated.items() if value in used]
        units = [
            match[1]
            for text in after
            if part and (match := re.match(r" ((?:[A-Za-z']+ )?(?:\w+ of|dozen))(?= " + part[1] + r"\b)", text))
        ]
        if part and units:
            found.append(Fact(int(count), units[0], part[1], "packed"))
            continue
        nouns = [
            match[1]
            for text in after
            if (match := re.match(r" ([A-Za-z]+s|dice|starfish)\b", text)) and part and match[1] != part[1]
        ]
        if part and nouns and not re.search(r"\d [a-z]+ (?:an?|every) ", question):
            shape = (
                "time" if part[1] in _TIME else "measure" if re.search(r"\bmeasures\b|\bof it\b", question) else "parts"
            )
            found.append(Fact(int(count), nouns[-1] if shape == "time" else nouns[0], part[1], shape))
    return found


@lru_cache(maxsize=1)
def _vocabulary() -> frozenset[str]:
    texts = [text for rule in PLAIN for text in (*rule.tell, *rule.ask)]
    words = set(re.findall(r"[a-z]+", " ".join(texts).lower()))
    for singular, plural in OWN.pairs:
        words |= {singular, plural}
    return frozenset(
        words | {"he", "she", "is", "it", "of", "in", "the", "are", "year", "miles", "away", "day", "friends"}
    )


def is_plain(questions: Sequence[str]) -> bool:
    """Whether nearly all words of the questions are words of these rules."""
    words = re.findall(r"\b[a-z]+\b", " ".join(questions))
    return bool(words) and sum(word in _vocabulary() for word in words) >= 0.9 * len(words)
