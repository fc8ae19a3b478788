"""A solution beside its gold solution: both read as equations, with a verdict on each, and names for their numbers.

Place in the flow: `diagnose` makes one for each mistake and hands it to the modules that look for one thing each: `ending`,
`wrong_calculation`, `wrong_result` and `certainty`.

Example::

    compare(mistake.id, question, gold_solution, "7", steps, "8").verdicts[0].status      # "right"
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from sei.arithmetic import ArithmeticRefused, parse_number
from sei.equations import Equation, close_thousands, flatten, read_equations
from sei.records import Rejected
from sei.steps import split_steps
from sei.teacher.symbolic.doubts import has_unknowns
from sei.teacher.symbolic.quantities import Quantity, read_quantities
from sei.teacher.symbolic.routes import Routes
from sei.teacher.symbolic.verdicts import verdicts
from sei.teacher.symbolic.wording import constant_meaning, goal_of, result_name


def compare(
    source_id: str, question: str, gold_solution: str, gold_answer: str, steps: Sequence[str], answer_text: str | None
) -> Comparison | Rejected:
    """The comparison; Rejected if the gold solution or answer contains no arithmetic to compare with."""
    gold_steps = [close_thousands(step) for step in split_steps(gold_solution)[0]]
    gold = read_equations(gold_steps)
    if not gold:
        return Rejected.make(source_id, "gold_has_no_equations", "nothing to align with", gold_solution)
    try:
        answer = parse_number(gold_answer)
    except ArithmeticRefused as refused:
        return Rejected.make(source_id, "gold_answer_not_a_number", str(refused), gold_answer)
    steps = [close_thousands(step) for step in steps]
    return Comparison(close_thousands(question), gold, gold_steps, answer, steps, answer_text)


@lru_cache(maxsize=16)
def _routes(question: str, gold_steps: tuple[str, ...]) -> Routes:
    """The right steps of a problem; several wrong solutions of one problem often come in a row."""
    return Routes(read_equations(gold_steps), gold_steps, read_quantities(question))


class Comparison:
    """One wrong solution compared with its gold solution."""

    def __init__(
        self,
        question: str,
        gold: list[Equation],
        gold_steps: Sequence[str],
        answer: Fraction,
        steps: Sequence[str],
        answer_text: str | None,
    ) -> None:
        self.question = question
        self.quantities = read_quantities(question)
        self.gold, self.gold_steps, self.answer = gold, gold_steps, answer
        self.steps, self.answer_text = steps, answer_text
        self.equations = read_equations(steps)
        routes = _routes(question, tuple(gold_steps))
        self.verdicts = verdicts(self.equations, routes, self.quantities)
        self.right = routes.values | {answer}
        self.stated = {reading for quantity in self.quantities for reading in quantity.readings}
        self.parts = _parts_of_wholes(gold)
        self.gold_is_plain = (
            gold[-1].claimed == answer
            and not any(has_unknowns(step) for step in gold_steps)
            and not any(self._made_up(equation, gold[:index]) for index, equation in enumerate(gold))
        )

    def _made_up(self, equation: Equation, before: Sequence[Equation]) -> bool:
        """Whether gold adds or takes away a number that nobody stated."""
        flat = flatten(equation.expression)
        made = {one.claimed for one in before} | self.stated
        words = f"{self.gold_steps[equation.step - 1]} {self.question}"
        return flat.kind == "sum" and any(
            value not in made and value in equation.operands and not constant_meaning(value, words)
            for value in flat.values
        )

    @property
    def reaches_answer(self) -> bool:
        """Whether the solution ends with the gold answer, on its answer line or in its last equation."""
        last = self.equations[-1] if self.equations else None
        return self.answer == self.given_answer() or (last is not None and self.answer in (last.claimed, last.written))

    def given_answer(self) -> Fraction | None:
        """The number on the answer line; None if there is none."""
        try:
            return parse_number(self.answer_text or "")
        except ArithmeticRefused:
            return None

    def before(self, gold: Equation) -> list[Equation]:
        """The gold equations before this one."""
        return self.gold[: self.gold.index(gold)]

    def goal(self, step: int, gold: Equation | None = None) -> str:
        """What a gold equation, or without one the solution's step, is for."""
        text = self.gold_steps[gold.step - 1] if gold else self.steps[step - 1]
        if goal := goal_of(text):
            return goal
        return "a total" if gold and gold is self.gold[-1] else "an intermediate amount"

    def name(self, value: Fraction, among: Sequence[Equation], context: str) -> str:
        """What sort of number `value` is: a quantity of the question, a result of `among`, a constant, or none of these."""
        value = abs(value)
        made = next((equation for equation in reversed(among) if abs(equation.claimed) == value), None)
        quantity = self._quantity(value)
        if quantity is not None and (made is None or value == abs(quantity.value)):
            article = "an" if quantity.sort[0] in "aei" else "a"
            return f"{article} {quantity.sort}"
        if made is not None:
            return result_name(flatten(made.expression))
        if meaning := constant_meaning(value, context + " " + self.question):
            return f"the constant for {meaning}"
        return "a number found nowhere"

    def _quantity(self, value: Fraction) -> Quantity | None:
        exact = next((quantity for quantity in self.quantities if quantity.value == value), None)
        return exact or next((quantity for quantity in self.quantities if value in quantity.readings), None)


def _parts_of_wholes(gold: Sequence[Equation]) -> set[Fraction]:
    """Results such as a discount: a share of an amount, that is then taken from it or added to it."""
    found = set()
    for index, equation in enumerate(gold):
        flat = flatten(equation.expression)
        if flat.kind == "product":
            for later in gold[index + 1 :]:
                bag = flatten(later.expression)
                if bag.kind == "sum" and equation.claimed in bag.values and set(equation.operands) & set(bag.values):
                    found.add(equation.claimed)
    return found
