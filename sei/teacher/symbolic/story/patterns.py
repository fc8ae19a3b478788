"""Patterns of sentences and what each says of people's things and money.

Place in the flow: `check` reads questions with them. A handler gets the reading so far, the people, the numbers and the other words of
the sentence, in order. Where a sentence could mean two things, it raises `Lost`: nothing is guessed.

Example::

    pattern, handler = SENTENCES[0]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeAlias

NAME = r"([A-Z][a-z]+)"
_P, _C = NAME, r"(\d+)"  # a person, a number of things
_M = r"\$(\d+(?:\.\d+)?)"  # an amount of money
_T = r"(?:[a-z -]|T-)+"  # words that do not matter
_LEAD = r"(?:(?:On|In|Today|This|One|Then|Later|Now)\b[^,.$\d]{0,22},? )?"
_BOX = r"(?:packs|trays|baskets|sets|crates|rows)"
_OWN = r"(?:all of (?:his|her|the)|the remaining|the other)"
_SHARES = {"half": 2, "a third": 3, "a quarter": 4, "a fifth": 5}
_SHARE = r"([Hh]alf|[Aa] third|[Aa] quarter|[Aa] fifth)"


class Lost(Exception):
    """A sentence that cannot be read, or not for sure."""


class Impossible(Exception):
    """Somebody gives away or pays more than there is."""


class Reading:
    """What has been read so far."""

    def __init__(self) -> None:
        self.things: dict[str, Fraction] = {}
        self.money: dict[str, Fraction] = {}
        self.lots: dict[str, Fraction] = {}  # containers, before it is said how much is in each
        self.hours: dict[str, Fraction] = {}  # worked, before it is said what is paid for one
        self.subject = ""
        self.cost: Fraction | None = None  # of what is bought
        self.rate: Fraction | None = None  # of one hour or one thing, before it is said how many
        self.missing: Fraction | None = None
        self.each: Fraction | None = (
            None  # how many each of several gets, or how many containers, days or weeks there are
        )
        self.part: Fraction | None = None  # how many are of the sort spoken of, how much of the money is put aside

    def thing(self, name: str) -> Fraction:
        return known(self.things.get(name))

    def cash(self, name: str) -> Fraction:
        return known(self.money.get(name))

    def all_things(self) -> Fraction:
        return sum(self.things.values(), Fraction(0))

    def gets(self, name: str, number: Fraction, *, more: bool = False) -> None:
        if more:
            self.things[name] = self.thing(name) + number
        elif name in self.things:
            raise Lost  # said twice: once more, or the same?
        else:
            self.things[name] = number

    def gives(self, name: str, number: Fraction, other: str = "") -> None:
        self.things[name] = self.thing(name) - number
        if self.things[name] < 0:
            raise Impossible
        if other in self.things:
            self.things[other] += number

    def earns(self, name: str, amount: Fraction) -> None:
        if name in self.money:
            raise Lost
        self.money[name] = amount

    def pays(self, amount: Fraction) -> None:
        self.cost = (self.cost or Fraction(0)) + amount

    def splits(self, number: Fraction, by: Fraction) -> None:
        if self.each is not None or self.lots:
            raise Lost
        self.each = number / by


def known(number: Fraction | None) -> Fraction:
    """The number; raises Lost where nothing has been said of it."""
    if number is None:
        raise Lost
    return number


People: TypeAlias = Sequence[str]
Numbers: TypeAlias = Sequence[Fraction]
Words: TypeAlias = Sequence[str]
Handler: TypeAlias = Callable[[Reading, People, Numbers, Words], object]


def _product(r: Reading, p: People, n: Numbers, w: Words) -> None:
    r.gets(p[0], n[0] * n[1])


def _both(r: Reading, p: People, n: Numbers, w: Words) -> None:
    r.gets(p[0], n[0] + n[1])


def _more(r: Reading, p: People, n: Numbers, w: Words) -> None:
    r.gets(p[0], n[0], more=True)


def _containers(r: Reading, p: People, n: Numbers, w: Words) -> None:
    if p[0] in r.lots or p[0] in r.things:
        raise Lost
    r.lots[p[0]] = sum(n, Fraction(0))


def _in_each(r: Reading, p: People, n: Numbers, w: Words) -> None:
    if len(r.lots) != 1:
        raise Lost
    owner = next(iter(r.lots))
    r.gets(owner, r.lots.pop(owner) * n[0])


def _compared(
    r: Reading, one: str, other: str, forth: Callable[[Fraction], Fraction], back: Callable[[Fraction], Fraction]
) -> None:
    """`one` has what `forth` makes of the other's number; whichever of them is known gives the other."""
    if other in r.things and one not in r.things:
        r.things[one] = forth(r.things[other])
    elif one in r.things and other not in r.things:
        r.things[other] = back(r.things[one])
    else:
        raise Lost


def _times(r: Reading, p: People, n: Numbers, w: Words) -> None:
    _compared(r, p[0], p[1] if len(p) > 1 else r.subject, lambda x: x * n[0], lambda x: x / n[0])


def _more_than(r: Reading, p: People, n: Numbers, w: Words) -> None:
    _compared(r, p[0], p[1], lambda x: x + n[0], lambda x: x - n[0])


def _fewer(r: Reading, p: People, n: Numbers, w: Words) -> None:
    _compared(r, p[0], p[1], lambda x: x - n[0], lambda x: x + n[0])


def _lost(r: Reading, p: People, n: Numbers, w: Words) -> None:
    """Some are gone: of the one who has any, or of all of them together."""
    name = next(iter(r.things)) if len(r.things) == 1 else "they"
    r.things = {name: r.all_things() - n[0]}


def _parted(r: Reading, p: People, n: Numbers, w: Words) -> None:
    if r.part is not None:
        raise Lost
    r.part = r.all_things() * (n[0] / 100 if n else Fraction(1, _SHARES[w[0]]))


def _split(r: Reading, p: People, n: Numbers, w: Words) -> None:
    number = r.thing(p[0]) if p else r.all_things()
    r.splits(number - (r.part or 0), n[0])


def _needed(r: Reading, p: People, n: Numbers, w: Words) -> None:
    if p and len(r.things) != 1:
        raise Lost
    r.missing = n[0] - r.all_things()


def _sold(r: Reading, p: People, n: Numbers, w: Words) -> None:
    what = w[0] if w else "the other"
    if not p and len(r.things) != 1:
        raise Lost
    seller = p[0] if p else next(iter(r.things))
    if r.part is not None and what not in ("these", "the other"):
        raise Lost
    r.earns(seller, (known(r.part) if what == "these" else r.thing(seller) - (r.part or 0)) * n[0])
    r.part = None


def _wages(r: Reading, p: People, n: Numbers, w: Words) -> None:
    if len(r.hours) != 1:
        raise Lost
    name = next(iter(r.hours))
    r.earns(name, r.hours.pop(name) * n[0])


def _hours_changed(r: Reading, name: str, by: Fraction) -> None:
    r.hours[name] = known(r.hours.get(name)) + by


def _cash_changed(r: Reading, name: str, by: Fraction) -> None:
    r.money[name] = r.cash(name) + by


def _bought(r: Reading, p: People, n: Numbers, w: Words) -> None:
    if p[0] in r.money:
        _cash_changed(r, p[0], -n[0] * n[1])
    else:
        r.pays(n[0] * n[1])


def _gives_two(r: Reading, p: People, n: Numbers, w: Words) -> None:
    r.gives(p[0], n[0], p[1])
    r.gives(p[0], n[1], p[2])


def _boxes_sold(r: Reading, p: People, n: Numbers, w: Words) -> None:
    """What boxes bring in: to the person, or to both ("they")."""
    r.earns(p[0] if p else "they" if len(r.things) > 1 else r.subject, known(r.each) * n[0])
    r.each = None


def _missing_bought(r: Reading, p: People, n: Numbers, w: Words) -> None:
    r.pays(known(r.missing) * n[0])
    r.missing = None


def _one_costs(r: Reading, p: People, n: Numbers, w: Words) -> None:
    r.pays(known(r.rate) * n[0])
    r.rate = None


def _rate(r: Reading, p: People, n: Numbers, w: Words) -> None:
    if r.rate is not None:
        raise Lost
    r.rate = n[0]


_TABLE: tuple[tuple[str, Handler], ...] = (
    # getting
    (rf"{_LEAD}{_P} \w+s {_C} {_BOX} of {_T} with {_C} {_T} in (?:each|every) \w+", _product),
    (rf"Every \w+ holds {_C} {_T}, and {_P} \w+s {_C} \w+ of them", _product),
    (rf"{_LEAD}{_P} \w+s {_C} {_BOX} of {_T}", _containers),
    (rf"{_P} \w+s {_C} {_BOX} of {_T} (?:in|on) [\w ]+ and {_C} {_BOX} (?:in|on) [\w ]+", _containers),
    (rf"(?:In|On) [\w ]+, {_P} \w+s {_C} {_BOX} of {_T}, and (?:in|on) [\w ]+ another {_C} \w+", _containers),
    (rf"{_P} gives {_C} of these {_BOX} to [A-Z]\w+", lambda r, p, n, w: r.lots.update({p[0]: known(r.lots.get(p[0])) - n[0]})),
    (rf"(?:Each|Every) (?:pack|tray|basket|set|crate|row) (?:holds|has) {_C} [a-z -]+?(?: in it)?", _in_each),
    (rf"There are {_C} {_T} in each (?:pack|tray|basket|set|crate|row)", _in_each),
    (rf"In (?:one|an) hour, {_P} \w+s {_C} {_T}", _rate),
    (rf"{_P} works for {_C} hours", lambda r, p, n, w: r.gets(p[0], known(r.rate) * n[0])),
    (rf"{_LEAD}{_P} \w+s (?:{_C} more|another {_C})(?: {_T})?", lambda r, p, n, w: r.gets(p[0], n[0], more=p[0] in r.things)),
    (rf"After that, {_P} \w+s {_C} more {_T} at the weekend|(?:Then )?{_P} finds {_C} more {_T}", _more),
    (rf"{_P} \w+s {_C} {_T} (?:in|on) [\w ]+ and {_C} {_T} (?:in|on) [\w ]+", _both),
    (rf"{_P} \w+s {_C} {_T} that are \w+ and {_C} that are \w+|{_P} \w+s {_C} {_T} and {_C} {_T}", _both),
    (rf"{_P} \w+s {_C} {_T} an hour and keeps at it for {_C} hours|{_P} \w+s {_C} {_T} every hour for {_C} hours", _product),
    (rf"{_P} \w+s {_C} {_T} a day for {_C} days|Every day for {_C} days, {_P} \w+s {_C} {_T}", _product),
    (rf"{_P} \w+s {_C} {_T} every day for a week|Every day of the week, {_P} \w+s {_C} {_T}", lambda r, p, n, w: r.gets(p[0], 7 * n[0])),
    (rf"{_LEAD}{_P} (?!has|had|works|keeps)\w+s {_C} (?!more|fewer|times|dozen|hours|of)[a-z -]+", lambda r, p, n, w: r.gets(p[0], n[0])),
    (rf"Later, {_P} gets {_C} {_T} from {_P}", lambda r, p, n, w: r.gives(p[1], n[0], p[0]) if p[1] in r.things else r.gets(p[0], n[0], more=True)),
    (rf"(?:Before this, )?{_P} (?:already )?had {_C} [a-z -]+?(?: before that)?", _more),
    # comparing
    (rf"{_LEAD}{_P} \w+s {_C} times as many {_T} as {_P}|{_P} \w+s {_C} times as many", _times),
    (rf"{_LEAD}{_P} \w+s {_C} (?:more {_T} than|[a-z -]+ more than) {_P}(?: does)?", _more_than),
    (rf"{_LEAD}{_P} \w+s {_C} fewer {_T} than {_P}", _fewer),
    # giving and losing
    (rf"{_P} gives {_P} {_C} more {_T}", lambda r, p, n, w: r.gives(p[0], n[0], p[1]) if p[0] in r.things else r.gets(p[1], n[0], more=True)),
    (rf"{_P} gives {_C} of (?:his|her) {_T} to {_P}", lambda r, p, n, w: r.gives(p[0], n[0], p[1])),
    (rf"Then {_P} gives {_P} {_C} of (?:his|her) {_T}", lambda r, p, n, w: r.gives(p[0], n[0], p[1])),
    (rf"{_P} asks for some {_T} and gets {_C} of them from {_P}", lambda r, p, n, w: r.gives(p[1], n[0], p[0])),
    (rf"{_P} gives {_C} {_T} to each of (?:his |her )?{_C} \w+|Then {_P} gives each of (?:his|her) {_C} \w+ {_C} {_T}", lambda r, p, n, w: r.gives(p[0], n[0] * n[1])),
    (rf"{_P} gives {_C} of (?:his|her) {_T} to {_P} and {_C} to {_P}", _gives_two),
    (rf"From {_P}, {_P} gets {_C} of the {_T} and {_P} gets {_C}", _gives_two),
    (rf"{_P} gives {_SHARE} of (?:his|her) {_T} to {_P}", lambda r, p, n, w: r.gives(p[0], r.thing(p[0]) / _SHARES[w[0]], p[1])),
    (rf"{_C} of the {_T} (?:get|break|are|do|go|fall|tear|turn|arrive)\b[^.]*", _lost),
    (rf"(?:The family eats|The goats eat|Rabbits eat|Visitors borrow) {_C} of the {_T}", _lost),
    # sorts, shares, containers
    (rf"(?:Of the {_T}, )?{_C} percent (?:of the {_T} )?are {_T}", _parted),
    (rf"(?:[A-Z]\w+ sees that |It turns out that )?{_SHARE} of the {_T} are {_T}", _parted),
    (rf"{_P} (?:shares|divides|puts) {_OWN} {_T} (?:equally among|into) {_C} [a-z ]+(?:, the same number in each)?", _split),
    (rf"{_P} (?:packs|puts) {_OWN} {_T} into [a-z ]+ of {_C}|{_P} puts {_OWN} {_T} into [a-z ]+, {_C} {_T} in each [a-z ]+", _split),
    (rf"(?:They share a|A)ll of the {_T} equally among {_C} \w+|(?:All of the|The remaining) {_T} are (?:packed|put|divided|shared) ?(?:equally )?(?:into|by|among) (?:[a-z ]+ of )?{_C}(?: [a-z ]+)?(?:, the same number in each)?", _split),
    (rf"For the [a-z ]+, {_C} {_T} are needed|They need {_C} {_T} in all for the [a-z ]+|{_P} needs {_C} {_T} in all for the [a-z ]+", _needed),
    (rf"(?:From now on, )?[A-Z]\w+ can \w+ {_C} (?:more )?{_T} (?:a|each) day", lambda r, p, n, w: r.splits(known(r.missing), n[0])),
    # earning
    (rf"(?:In a shop, such {_T} cost|The missing {_T} can be bought for) {_M} each", _missing_bought),
    (rf"{_P} sells ({_OWN}|these) {_T} (?:for {_M} each|at {_M} apiece)|The other {_T} are sold for {_M} each", _sold),
    (rf"At the market, {_P} gets {_M} for each of (the remaining|the) {_T}", _sold),
    (rf"They sell all of the {_T} for {_M} each", lambda r, p, n, w: r.earns("they", r.all_things() * n[0])),
    (rf"They sell every [a-z ]+ for {_M}", _boxes_sold),
    (rf"(?:Each [a-z ]+ is sold|{_P} sells every [a-z ]+) for {_M}", _boxes_sold),
    (rf"{_P} has (?:saved )?{_M}", lambda r, p, n, w: r.earns(p[0], n[0])),
    (rf"{_P} earns {_M} an hour [a-z ]+ and works for {_C} hours", lambda r, p, n, w: r.earns(p[0], n[0] * n[1])),
    (rf"{_P} is paid {_M} an hour [a-z ]+", _rate),
    (rf"This week, {_P} works {_C} hours", lambda r, p, n, w: r.earns(p[0], known(r.rate) * n[0])),
    (rf"{_P} works {_C} hours a day for {_C} days [a-z ]+|For {_C} days, {_P} works {_C} hours a day [a-z ]+", lambda r, p, n, w: r.hours.update({p[0]: n[0] * n[1]})),
    (rf"{_P} works {_C} hours on \w+ and {_C} hours on \w+ [a-z ]+", lambda r, p, n, w: r.hours.update({p[0]: n[0] + n[1]})),
    (rf"On Sunday, {_P} works another {_C} hours", lambda r, p, n, w: _hours_changed(r, p[0], n[0])),
    (rf"For {_C} of these hours, {_P} is in training and gets no pay", lambda r, p, n, w: _hours_changed(r, p[0], -n[0])),
    (rf"For every hour, [A-Z]\w+ gets {_M}|The pay is {_M} an hour", _wages),
    (rf"{_P} saves {_M} a week for {_C} weeks|Every week for {_C} weeks, {_P} saves {_M}", lambda r, p, n, w: r.earns(p[0], n[0] * n[1])),
    (rf"{_P} earns {_C} times as much money as {_P}", lambda r, p, n, w: r.earns(p[0], r.cash(p[1]) * n[0])),
    (rf"{_P} earns {_M} more than {_P}", lambda r, p, n, w: r.earns(p[0], r.cash(p[1]) + n[0])),
    (rf"(?:This happens|{_P} does the same) every week for {_C} weeks", lambda r, p, n, w: r.money.update({p[0] if p else r.subject: r.cash(p[0] if p else r.subject) * n[0]})),
    (rf"{_P} already had {_M} in a (?:drawer|savings box)|Before that, {_P} had {_M}", lambda r, p, n, w: _cash_changed(r, p[0], n[0])),
    (rf"(?:Then )?{_P} (?:also )?gets {_M} (?:as a birthday present|from [A-Z]\w+)", lambda r, p, n, w: _cash_changed(r, p[0], n[0])),
    (rf"{_P} owes {_P} {_M} and pays it back", lambda r, p, n, w: _cash_changed(r, p[1], n[0])),
    # spending what one has
    (rf"{_P} spends {_M} of it on {_T}|{_P} pays {_M} for [\w ,-]+|From this money, {_P} buys {_T} for {_M}|Of this money, {_P} spends {_M} on [\w ,-]+", lambda r, p, n, w: _cash_changed(r, p[0], -n[0])),
    (rf"{_P} spends {_M} on {_T} and {_M} on {_T}|{_P} buys an? {_T} for {_M} and {_T} for {_M}", lambda r, p, n, w: _cash_changed(r, p[0], -n[0] - n[1])),
    (rf"[A-Z][\w ,]+ costs? {_P} {_M}", lambda r, p, n, w: _cash_changed(r, p[0], -n[0])),
    (rf"{_P} (?:has to pay|gives|puts) {_C} percent of (?:this|it|this money)(?: in taxes| to charity| into a savings account)", lambda r, p, n, w: setattr(r, "part", r.cash(p[0]) * n[0] / 100)),
    (rf"{_P} saves {_SHARE} of this money", lambda r, p, n, w: setattr(r, "part", r.cash(p[0]) / _SHARES[w[0]])),
    (rf"{_P} (?:gives|spends) {_SHARE} of the money (?:to|on) {_T}", lambda r, p, n, w: _cash_changed(r, p[0], -r.cash(p[0]) / _SHARES[w[0]])),
    (rf"They divide all of this money equally among {_C} \w+", lambda r, p, n, w: r.splits(sum(r.money.values(), Fraction(0)), n[0])),
    (rf"{_P} (?:divides all of|shares) this money equally among {_C} \w+", lambda r, p, n, w: r.splits(r.cash(p[0]), n[0])),
    (rf"With (?:all of this|the rest of the) money, {_P} buys {_T} that cost {_M} each|{_P} spends (?:all of this|the rest of the) money on {_T} at {_M} each", lambda r, p, n, w: r.splits(r.cash(p[0]), n[0])),
    (rf"{_P} (?:wants to buy|is saving for) [a-z ]+?,? (?:that|which) costs {_M}", lambda r, p, n, w: setattr(r, "missing", n[0] - r.cash(p[0]))),
    (rf"(?:From now on, [A-Z]\w+ saves|[A-Z]\w+ can put aside) {_M} (?:a|each) week", lambda r, p, n, w: r.splits(known(r.missing), n[0])),
    # shopping
    (rf"(?:With this money, )?{_P} (?:then )?buys {_C} {_T} (?:for|at) {_M} each", _bought),
    (rf"{_P} puts {_C} {_T} at {_M} each into the basket|[A-Z][A-Za-z -]+ cost {_M} each, and {_P} buys {_C} of them", _bought),
    (rf"{_P} buys an? [a-z]+ for {_M}|{_P} also pays {_M} for delivery|Gift wrapping costs another {_M}", lambda r, p, n, w: r.pays(n[0])),
    (rf"One {_T} costs {_M}", _one_costs),
    (rf"The cashier takes {_M} off, because something is scratched|[A-Z]\w+ has a coupon for {_M} off", lambda r, p, n, w: setattr(r, "cost", known(r.cost) - n[0])),
    (rf"There is a discount of {_C} percent|The shop takes {_C} percent off the price|[A-Z]\w+ has a card that gives {_C} percent off", lambda r, p, n, w: setattr(r, "cost", known(r.cost) * (100 - n[0]) / 100)),
    (rf"On top of that, there is a sales tax of {_C} percent|[A-Z]\w+ also pays {_C} percent of that as tax", lambda r, p, n, w: setattr(r, "cost", known(r.cost) * (100 + n[0]) / 100)),
    (rf"[A-Z]\w+ pays with {_M}|[A-Z]\w+ hands the cashier {_M}|[A-Z]\w+ came to the shop with {_M}|Before, [A-Z]\w+ had {_M}", lambda r, p, n, w: setattr(r, "missing", n[0] - known(r.cost))),
    (rf"[A-Z]\w+ has only {_M}|But [A-Z]\w+ has just {_M}", lambda r, p, n, w: setattr(r, "missing", known(r.cost) - n[0])),
    (rf"The cost is split equally among {_C} people|[A-Z]\w+ and (?:his|her) friends, {_C} people in all, share the cost equally", lambda r, p, n, w: r.splits(known(r.cost), n[0])),
    (rf"To pay for this, [A-Z]\w+ saves {_M} a week|[A-Z]\w+ can save {_M} a week for it", lambda r, p, n, w: r.splits(known(r.cost), n[0])),
)  # fmt: skip
SENTENCES = tuple((re.compile(pattern), handler) for pattern, handler in _TABLE)
