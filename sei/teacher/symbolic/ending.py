"""What is wrong with a solution's end: it stops early, goes on after the answer, or states another answer than it found.

Place in the flow: `diagnose` asks `judge_end` where every equation is right, and `after_answer` about a step that no right
solution has.

Example::

    judge_end(comparison).keyphrases      # ("gives an intermediate result as the final answer",)
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from sei.arithmetic import format_number
from sei.equations import Equation, flatten
from sei.teacher.symbolic.certainty import doubt_about
from sei.teacher.symbolic.comparison import Comparison
from sei.teacher.symbolic.doubts import states_a_result
from sei.teacher.symbolic.finding import Finding, Kind
from sei.teacher.symbolic.wording import operation_of


def judge_end(comparison: Comparison) -> Finding:
    """What is wrong where every equation is right."""
    if not comparison.equations:
        return _no_work(comparison)
    doubt = doubt_about(comparison, len(comparison.verdicts), comparison.equations[-1].step, None)
    if not comparison.gold_is_plain:
        doubt = "unread_gold"
    elif any(states_a_result(step, comparison.question) for step in comparison.steps[comparison.equations[-1].step :]):
        doubt = "unread_steps"
    last = comparison.equations[-1]
    given = comparison.given_answer()
    values = {equation.claimed for equation in comparison.equations}
    if last.claimed == comparison.answer or (given is not None and given != last.claimed):
        return replace(_answer_line(comparison, last, given, values), doubt=doubt)
    missing = [equation for equation in comparison.gold if equation.claimed not in values] or [comparison.gold[-1]]
    operations = [operation_of(flatten(equation.expression)) for equation in missing]
    final = missing[-1]
    names = [
        comparison.name(value, comparison.gold, comparison.gold_steps[final.step - 1])
        for value in flatten(final.expression).values
    ]
    goal = comparison.goal(0, final)
    many = "several steps early" if len(missing) > 2 else "early"
    phrase = f"stops {many}, before {operations[-1].gerund} {names[0]} to find {goal}"
    explanation = (
        "This result is not the answer yet: it takes "
        f"{'; '.join(f'{equation.text}, that is {format_number(equation.claimed)}' for equation in missing[-3:])}."
    )
    return Finding(last.step, "missing_step", (phrase,), explanation, doubt)


def after_answer(comparison: Comparison, index: int) -> Finding | None:
    """The gold answer was reached and the solution continued: this step was one too many."""
    extra = comparison.equations[index]
    final = sum(one.claimed == comparison.answer for one in comparison.gold) == 1  # else reaching it may be on the way
    reached = final and any(one.claimed == comparison.answer for one in comparison.equations[:index])
    if not reached or not any(abs(value) == abs(comparison.answer) for value in extra.operands):
        return None
    operation = operation_of(flatten(extra.expression))
    others = [value for value in extra.operands if abs(value) != abs(comparison.answer)]
    name = (
        comparison.name(others[0], comparison.equations[:index], comparison.steps[extra.step - 1])
        if others
        else "itself"
    )
    phrase = f"goes on after the answer and {operation.verb} {name}"
    answer = format_number(comparison.answer)
    explanation = f"The answer {answer} stood already before this step, which goes on with {extra.text}."
    return Finding(extra.step, "extra_step", (phrase,), explanation)


def _answer_line(comparison: Comparison, last: Equation, given: Fraction | None, values: set[Fraction]) -> Finding:
    if given is None:
        phrase = "gives no number as the final answer"
    elif last.claimed >= 1000 and str(int(last.claimed)).startswith(str(int(abs(given)))):
        phrase = "final answer cut off at the thousands comma"
    elif 0 < abs(given - last.claimed) < 1:
        phrase = "final answer rounded or cut to a whole number"
    elif given in values:
        phrase = "gives an intermediate result as the final answer"
    elif given in comparison.stated:
        phrase = "gives a number of the question as the final answer"
    else:
        phrase = "final answer is not the last computed result"
    kind: Kind = "unit_or_rounding" if "rounded" in phrase else "answer_not_last_result"
    result = format_number(last.claimed)
    explanation = f"The steps end with {result}, but the answer line says {comparison.answer_text!r}."
    return Finding(last.step, kind, (phrase,), explanation)


def _no_work(comparison: Comparison) -> Finding:
    if not comparison.steps:
        return Finding(0, "no_usable_work", ("gives an answer without any step",), "There is no step to check.")
    given = comparison.given_answer()
    if given is not None and given in comparison.stated:
        phrase = "repeats a number of the question as the answer without computing"
    else:
        phrase = f"states a result without arithmetic when finding {comparison.goal(1)}"
    return Finding(1, "no_usable_work", (phrase,), "No step holds an equation that can be checked.", "no_equations")
