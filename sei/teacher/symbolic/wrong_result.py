"""A calculation that is not worked out right, or whose result is copied wrongly.

Place in the flow: `diagnose` asks here about the first equation that does not hold. The expression may be the right one.

Example::

    slip(equation).keyphrases      # ("addition of two-digit numbers miscalculated, off by a carry",)
"""

from __future__ import annotations

from fractions import Fraction

from sei.arithmetic import format_number
from sei.equations import Equation, flatten
from sei.teacher.symbolic.finding import Finding
from sei.teacher.symbolic.wording import operation_of


def same_display(equation: Equation) -> bool:
    """Whether the number after the annotation is the claim, perhaps rounded."""
    return abs(equation.written - equation.claimed) < Fraction(1, 2)


def miswritten(equation: Equation) -> Finding:
    """The finding about a result that the text takes up as another number."""
    written = format_number(equation.written)
    explanation = f"{equation.text} is {equation.claimed_text}, but the text goes on with {written}."
    return Finding(equation.step, "arithmetic_slip", ("copies a computed result wrongly into the text",), explanation)


def slip(equation: Equation) -> Finding:
    """The finding about a calculation that does not hold."""
    operation = operation_of(flatten(equation.expression))
    off = equation.claimed - equation.value
    if 0 < abs(off) < 1:
        phrase = f"rounds or cuts off the result of a {operation.noun}"
        explanation = f"The result is rounded: {equation.text} is {format_number(equation.value)}."
        return Finding(equation.step, "unit_or_rounding", (phrase,), explanation)
    size = "decimals" if any(value.denominator != 1 for value in equation.operands) else _size(equation)
    how = ""
    if equation.value and off and is_power_of_ten(equation.claimed / equation.value):
        how = ", wrong number of zeros or place of the point"
    elif abs(off) in (1, 10, 100):
        how = ", off by a carry"
    phrase = f"{operation.noun} of {size} miscalculated{how}"
    explanation = f"The result is wrong: {equation.text} is {format_number(equation.value)}."
    return Finding(equation.step, "arithmetic_slip", (phrase,), explanation)


def _size(equation: Equation) -> str:
    if len(equation.operands) > 2:
        return "several numbers"
    digits = max(len(str(int(abs(value)))) for value in equation.operands)
    return {1: "one-digit numbers", 2: "two-digit numbers", 3: "three-digit numbers"}.get(digits, "large numbers")


def is_power_of_ten(ratio: Fraction) -> bool:
    return any(ratio in (Fraction(10**power), Fraction(1, 10**power)) for power in range(1, 7))
