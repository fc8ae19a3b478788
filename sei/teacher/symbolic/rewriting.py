"""Changes numbers in questions and steps, and recomputes what follows from them.

Place in the flow: `correct` repairs a student's own steps with it, `synthesize` writes a seed's solution for other
numbers. A rewriting is a map from old to new values; numbers keep the way they are written.

Example::

    recompute_step("4*3=<<4*3=12>>12 pens", {Fraction(4): Fraction(5)})   # ("5*3=<<5*3=15>>15 pens", {..., 12: 15})
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from sei.arithmetic import ArithmeticRefused, evaluate, format_number, parse, parse_number
from sei.equations import ANNOTATION, is_rounding, read_equations
from sei.steps import split_steps
from sei.teacher.symbolic.quantities import WORDS, Quantity, read_quantities

_PLAIN_NUMBER = re.compile(r"(?<![\d.])(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_ARTICLE = re.compile(r"\b([Aa])n?(?= (\$?\d[\d,.]*))")


class FixedNumber(ValueError):
    """A number that would have to change cannot, because of how it is written (a clock time, "half", "2nd")."""


def substitute(text: str, values: Mapping[Fraction, Fraction]) -> str:
    """`text`, which has no annotations, with its numbers replaced according to `values`. Raises FixedNumber."""
    pieces, position = [], 0
    for quantity in read_quantities(text):
        if quantity.kind == "fraction" and "/" in quantity.text:
            # Two numbers with a slash: a division such as 48/2, or a fraction, whose parts have no new values.
            pieces += [text[position : quantity.start], _in_expression(quantity.text, values)]
            position = quantity.end
            continue
        new = values.get(quantity.value, quantity.value)
        if new == quantity.value:
            continue
        if quantity.kind == "fixed":
            raise FixedNumber(quantity.text)
        pieces += [text[position : quantity.start], render(quantity, new)]
        position = quantity.end
    return _ARTICLE.sub(_article, "".join([*pieces, text[position:]]))


def render(quantity: Quantity, value: Fraction) -> str:
    """`value` written like `quantity`: as a word, or with its dollar sign, commas, decimals and percent sign."""
    if quantity.kind == "word" and value.denominator == 1 and 0 <= value <= 20:
        word = WORDS[int(value)]
        return word.capitalize() if quantity.text[0].isupper() else word
    text = quantity.text
    digits = format_number(value)
    decimals = text.strip("$% ").partition(".")[2]
    if len(decimals) == 2 and "$" in text:
        digits = f"{float(value):.2f}"
    if "," in text or (abs(value) >= 10000 and "$" in text):
        whole, point, rest = digits.partition(".")
        digits = f"{int(whole):,}{point}{rest}"
    return ("$" if "$" in text else "") + digits + ("%" if text.endswith("%") else "")


def recompute_step(step: str, values: Mapping[Fraction, Fraction]) -> tuple[str, dict[Fraction, Fraction]]:
    """The step with the new `values`, its equations recomputed, and `values` with the results that changed.

    Raises ArithmeticRefused if an annotation cannot be computed, FixedNumber if a number cannot be replaced.
    """
    known = dict(values)
    for equation in read_equations([step]):
        new = evaluate(parse(_in_expression(equation.text, known)))
        if new != equation.claimed:
            known[equation.claimed] = new
    pieces, position = [], 0
    for match in ANNOTATION.finditer(step):
        pieces.append(substitute(step[position : match.start()], known))
        left = _in_expression(match["left"], known)
        result = format_number(evaluate(parse(left)))
        pieces.append(f"<<{left}={result}>>")
        position = match.start("written") if match["written"] else match.end()
    pieces.append(substitute(step[position:], known))
    return "".join(pieces), known


def _in_expression(text: str, values: Mapping[Fraction, Fraction]) -> str:
    def replace(match: re.Match[str]) -> str:
        value = Fraction(match[0].replace(",", "").rstrip("."))
        return format_number(values[value]) if value in values else match[0]

    return _PLAIN_NUMBER.sub(replace, text)


def _article(match: re.Match[str]) -> str:
    number = match[2].lstrip("$").partition(".")[0].replace(",", "")
    vowel = number.startswith("8") or number in ("11", "18") or (number[:2] in ("11", "18") and len(number) == 5)
    return match[1] + ("n" if vowel else "")


def inspect_solution(solution: str, stated: str, gold: str) -> list[str]:
    """What is wrong with a solution and the answer stated after it, as sentences; [] if the gold answer is not a number."""
    try:
        answer = parse_number(gold)
    except ArithmeticRefused:
        return []
    faults = []
    if fault := check_solution(solution, answer):
        faults.append(f"The steps do not execute to {gold}: {fault.replace('_', ' ')}.")
    try:
        reached = parse_number(stated) == answer
    except ArithmeticRefused:
        reached = False
    if not reached:
        faults.append(f"The answer is {stated or 'missing'}, it should be {gold}.")
    return faults


def check_solution(solution: str, answer: Fraction) -> str | None:
    """Executes a solution: None if every equation holds and the last result is `answer`, else what is wrong."""
    steps, _ = split_steps(solution)
    equations = read_equations(steps)
    if not equations:
        return "no_equations"
    for equation in equations:
        if not equation.holds:
            return "equation_does_not_hold"
        if not is_rounding(equation.claimed, equation.written, format_number(equation.written)):
            return "text_differs_from_annotation"
    return None if equations[-1].claimed == answer else "answer_is_not_the_last_result"
