"""What in a solution's words cannot be read as equations, so that a step may be wrong without showing it.

Place in the flow: `diagnose` names the first wrong step only where nothing before it is in doubt. Unknowns (`2x + 5 = 11`),
statements without a calculation ("So Ben has 5") and results that are called something else than in the gold solution
("she needs 10 crayons" where gold pays 10 dollars) may each be the first mistake.

Example::

    states_a_result("So, 5 customers left.", question)      # True
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from fractions import Fraction

from sei.arithmetic import ArithmeticRefused, evaluate, parse
from sei.equations import ANNOTATION, Equation
from sei.teacher.symbolic.quantities import read_quantities

_UNKNOWN = re.compile(
    r"\b[Ll]et\b|\bunknown\b|(?<![\w$'’.])(?![xX]\s*\$?[\d.(])[b-zB-HJ-Z]\s*[=+*/-]"
    r"|[=+*/-]\s*(?:\d+\s*\*?\s*)?[b-wyzB-HJ-WYZ](?![\w'’.])|[=+*/-]\s*\d*[xX](?!\w|\s*\$?[\d.(])"
    r"|(?<![\w$])\d+[xyznabX](?![\w$])(?!\s*\d)|[()]\s*[xX]\b(?!\s*\$?[\d.(])"
)
_RAW_ANNOTATION = re.compile(r"<<.*?>>")
_CONCLUDES = re.compile(
    r"\s*(?:so|thus|therefore|then|hence|this means|that means|this leaves|that leaves)\b", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?<=[.?!])\s+")
_NUMERAL = re.compile(r"(?<![\w.,/])\d(?:[\d,]*\d)?(?:\.\d+)?(?![\w/])")
_WORD = re.compile(r"[A-Za-z]+")
_AFTER = re.compile(r"(?:[A-Za-z]+ ?){0,3}")
_MONEY = {"dollar": "$", "dollars": "$", "bucks": "$", "usd": "$", "cent": "cents", "cents": "cents", "times": "times"}
_NO_NOUN = frozenset(
    "a an the of to in on at by for from and or but so because if then than that this these is are was were be has have had "
    "each every per more less fewer left total as with when which who he she it they his her their after before since "
    "altogether all both remaining extra additional new old long tall".split()
)
_ANY_PER = re.compile(
    r"(?:\bper|\beach|\bevery|/|\ban?(?=\s+(?:minute|hour|day|night|week|month|year)\b))\s*([A-Za-z]+)", re.IGNORECASE
)
_NAME = re.compile(r"\b[A-Z][a-z]+")
_NO_NAME = _NO_NOUN | frozenset(
    "how what if in on at there some one two three four five six seven eight nine ten during while for since i my your we "
    "once however also only now not let find first second third next last finally half twice many much most".split()
)
_CLAUSE = re.compile(r"\b(?:so|then|therefore|meaning|means|which is|that'?s)\b|,|\. ", re.IGNORECASE)
_PER = re.compile(
    r"(?:\bper|\beach|\bevery|/|\ban?(?=\s+(?:minute|hour|day|night|week|month|year)\b))\s*([A-Za-z]+)", re.IGNORECASE
)
_CUES = (  # words that say which amount a result is; a step that has one where gold has none speaks of another amount
    (r"\b(?:left|remain\w*|rest)\b", r"\b(?:left|remain\w*|rest|still|unused|over|now)\b"),
    (r"\b(?:each|every|apiece)\b", r"\b(?:each|every|apiece|per|an?|one|single)\b|/"),
    (r"\ball (?:of )?the\b", r"\b(?:all|total|altogether|sum)\b(?!.{0,60}\bused to)"),
)
_CUE_RULES = tuple((re.compile(own, re.IGNORECASE), re.compile(gold, re.IGNORECASE)) for own, gold in _CUES)
_VISIBLE = re.compile(r"(?<![\d.,%*/+x×-])\s\$?(\d[\d,.]*\s?[-+*/x×]\s?\$?\d[\d,]*(?:\.\d+)?)\s*=\s*\$?$")
_COMPARED = re.compile(r"\b(?:more|less|fewer|cheaper)\b", re.IGNORECASE)
_PART = re.compile(
    r"\b(?:more|less|fewer|off|discount\w*|sav\w+|increas\w*|decreas\w*|rais\w*|tips?|tax\w*|fees?|interest|commission"
    r"|bonus|extra|additional|difference|reduc\w*|drop\w*|los\w+|gain\w*|profit|add\w*|subtract\w*|rise\w*|rose|cheaper"
    r"|younger|older|longer|shorter)\b",
    re.IGNORECASE,
)


def has_unknowns(text: str) -> bool:
    """Whether a text calculates with letters, or holds an annotation that is no plain arithmetic."""
    if any(ANNOTATION.fullmatch(one) is None for one in _RAW_ANNOTATION.findall(text)):
        return True
    return _UNKNOWN.search(_RAW_ANNOTATION.sub(" ", text)) is not None


def states_a_result(step: str, question: str) -> bool:
    """Whether a step without an equation says a number that it does not merely repeat from a sentence of the question."""
    said = {quantity.value for quantity in read_quantities(step)} - {1}
    if not said:
        return False
    words = _stems(step) - _NO_NOUN
    if _CONCLUDES.match(step):
        return True
    return not any(
        said <= {quantity.value for quantity in read_quantities(sentence)}
        and len(words & _stems(sentence)) >= 0.8 * len(words)
        for sentence in _SENTENCE.split(question)
    )


def _stem(word: str) -> str:
    word = word.lower()
    for ending in ("ies", "es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word.removesuffix(ending)
    return word


def _stems(text: str) -> set[str]:
    return {_stem(word) for word in _WORD.findall(text)}


def says_the_same(step: str, line: str) -> bool:
    """Whether two steps have nearly the same words, whatever they calculate."""
    own, other = (_stems(_RAW_ANNOTATION.sub(" ", text)) for text in (step, line))
    return bool(own) and len(own & other) >= 0.8 * len(own)


def _around(step: str, equation: Equation) -> tuple[str, str] | None:
    """The clause that leads to an annotated equation, and what follows its result; None where it is not annotated."""
    for match in ANNOTATION.finditer(step):
        if equation.annotated and match["left"].strip() == equation.text:
            before = _RAW_ANNOTATION.sub(" ", step[: match.start()])
            starts = [cut.end() for cut in _CLAUSE.finditer(before) if _WORD.search(before, cut.end())]
            return before[starts[-1] if starts else 0 :], (match["written"] or "") + step[match.end() :]
    return None


def _unit(before: str, after: str) -> list[str]:
    """What a result is counted in: "$", "cents", "times" or the nouns after it; empty where nothing is said."""
    if before.rstrip().endswith("$") or after.lstrip().startswith("$"):
        return ["$"]
    words = _WORD.findall(_AFTER.match(after.lstrip(" 0123456789.,"))[0])  # type: ignore[index]
    return [_MONEY.get(word.lower(), _stem(word)) for word in words if word.lower() not in _NO_NOUN]


def _another_unit(own: tuple[str, str], gold: tuple[str, str], asked: set[str]) -> bool:
    units, theirs = _unit(*own), _unit(*gold)
    known = asked | set(_MONEY.values())
    return bool(set(units) & known and set(theirs) & known) and not set(units) & set(theirs)


def called_otherwise(
    step: str, equation: Equation, gold: Sequence[tuple[str, Equation]], question: str, parts: Collection[Fraction]
) -> bool:
    """Whether a right result is said to be of another thing than in every gold step that has it.

    `parts` are the results that gold adds to what they are a share of, or takes from it.
    """
    own = _around(step, equation)
    same = [
        (line, around) for line, other in gold if other.claimed == equation.claimed and (around := _around(line, other))
    ]
    if own is None or not same:
        return False
    said, asked = f"{own[0]} {own[1]}", _stems(question)
    if not _stems(said) - _NO_NOUN:
        return False
    if (
        not _PART.search(said)
        and all(_PART.search(" ".join(theirs)) for _, theirs in same)
        and equation.claimed in parts
    ):
        return True
    if any(_stems(_RAW_ANNOTATION.sub(" ", step)) <= _stems(line) | _NO_NOUN for line, _ in same):
        return False
    if equation.claimed in parts and not _PART.search(said):
        telling = _stems(said) - asked - _NO_NOUN
        if not any(telling & _stems(line) for line, _ in same):
            return True
    return all(_differs(step, own, line, theirs, asked) for line, theirs in same)


def _differs(step: str, own: tuple[str, str], line: str, theirs: tuple[str, str], asked: set[str]) -> bool:
    said = " ".join(own)
    if _another_unit(own, theirs, asked):
        return True
    if any(word.search(said) and not gold_word.search(line) for word, gold_word in _CUE_RULES):
        return True
    telling = {word for word in _stems(said) if len(word) > 2 and word not in _NO_NAME}
    if telling and len(telling & _stems(line)) <= 0.5 * len(telling):
        return True
    if _COMPARED.search(own[1]) and not _PART.search(line):
        return True
    rate, other = _PER.search(own[1]), _PER.search(theirs[1])
    if rate is not None and (not _ANY_PER.search(line) if other is None else _stem(rate[1]) != _stem(other[1])):
        return True
    names, other_names = _names(step, asked), _names(line, asked)
    return bool(names) and bool(other_names) and not names & other_names


def _names(text: str, asked: set[str]) -> set[str]:
    """The people and days in a text that the question names too."""
    return {word for word in _NAME.findall(text) if _stem(word) in asked and word.lower() not in _NO_NAME}


def written_otherwise(step: str) -> bool:
    """Whether an annotation calculates something else than the expression that it stands behind: 50*2 = <<30*2=60>>60."""
    for match in ANNOTATION.finditer(step):
        if visible := _VISIBLE.search(_RAW_ANNOTATION.sub(" ", step[: match.start()])):
            try:
                if evaluate(parse(visible[1])) != evaluate(parse(match["left"])):
                    return True
            except ArithmeticRefused:
                continue
    return False


def made_up_number(step: str, question: str, known: Collection[Fraction]) -> bool:
    """Whether the words of a step hold a number that neither the question nor a calculation has."""
    said = _NUMERAL.findall(_RAW_ANNOTATION.sub(" ", step))
    stated = set(_NUMERAL.findall(question))
    return any(text not in stated and Fraction(text.replace(",", "")) not in known for text in said)
