"""Which equations of a solution a right one may have, which are another way's, and which are neither.

Place in the flow: `diagnose` walks through these verdicts to the first wrong step. An equation on a way of its own is right
if what comes of it is one of gold's results: then the whole way was a right one. Until then it may be the first step
of another route or the mistake itself, and nobody can tell from the equation alone.

Example::

    [verdict.status for verdict in verdicts(equations, routes, quantities)]      # ["right", "wrong"]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from sei.arithmetic import numbers
from sei.equations import Equation, flatten
from sei.teacher.symbolic.quantities import Quantity
from sei.teacher.symbolic.routes import Routes
from sei.teacher.symbolic.shadows import Shadows

Status = Literal["right", "restated", "open", "wrong"]


_NEUTRAL = {Fraction(0), Fraction(1), Fraction(100), Fraction(1, 100)}  # n * 1, n + 0, 100 - n, n / 100


_UNITS: dict[
    str, tuple[int, ...]
] = {  # what a quantity of this sort may be multiplied with or divided by to change its unit
    "time in hours or minutes": (60, 3600),
    "number of days": (24,),
    "number of weeks, months or years": (4, 7, 12, 30, 52, 365),
    "length": (3, 12, 36, 100, 1000),
    "weight": (16, 1000),
}


@dataclass(frozen=True)
class Verdict:
    """One equation of a solution. The status says nothing about its arithmetic: `equation.holds` does."""

    equation: Equation
    status: Status  # restated: a number known before; open: a step of some route, of which nothing has come yet
    parents: tuple[int, ...]  # the equations whose results it takes, by index


def verdicts(equations: Sequence[Equation], routes: Routes, quantities: Sequence[Quantity]) -> list[Verdict]:
    """One verdict an equation, in order."""
    stated = {reading for quantity in quantities for reading in quantity.readings}
    shadows = Shadows(quantities, skipped=routes.results)
    found: list[Verdict] = []
    made_by: dict[Fraction, int] = {}
    for index, equation in enumerate(equations):
        own = shadows.of(equation.expression)
        if "%" in equation.text:  # 100% - 60% = 40%, where gold has 100 - 60
            own |= {tuple(100 * part for part in shadow) for shadow in own}
        known = any(shadows.is_known(shadow) for shadow in own)
        ours = bool(own & routes.own) or equation.claimed in routes.unexplained
        neutral = any(value in _NEUTRAL and value not in stated for value in equation.operands)
        if known and 1 in equation.operands and not own & routes.own:
            status: Status = "open"  # one of them, where gold may have several
        elif known and (neutral or ours):
            status = "restated"
        elif ours:
            status = "right"
        else:
            open_way = own & routes.others or _carries_on(equation, found, routes) or _restates(equation, quantities)
            open_way = open_way or any(shadows.leaves(shadow, routes.own) for shadow in own)
            status = "open" if open_way else "wrong"
        # A number that the question states too need not be the earlier result.
        used = {abs(number.value) for number in numbers(equation.expression)} - stated
        found.append(Verdict(equation, status, tuple(sorted(made_by[value] for value in used & made_by.keys()))))
        if equation.claimed in routes.unexplained:
            own |= Shadows(()).of_number(equation.claimed)
        shadows.learn(equation, own)
        made_by |= dict.fromkeys((abs(equation.claimed), abs(equation.written)), index)
    return _settled(found)


def _carries_on(equation: Equation, before: Sequence[Verdict], routes: Routes) -> bool:
    """Whether an amount is put together with a share of itself, such as a bill with its tip, that gold leaves apart.

    The sum is an amount that exists, unless gold has the difference.
    """
    flat = flatten(equation.expression)
    if flat.kind != "sum" or len(flat.terms) != 2:
        return False
    (one, _), (other, _) = flat.terms
    values = {one + other, abs(one - other)}
    shares = [
        verdict.equation
        for verdict in before
        if verdict.status in ("right", "restated") and flatten(verdict.equation.expression).kind == "product"
    ]
    is_share = any(
        share.claimed == part < whole and whole in share.operands
        for share in shares
        for part, whole in ((one, other), (other, one))
    )
    return is_share and not values & routes.values


def _restates(equation: Equation, quantities: Sequence[Quantity]) -> bool:
    """Whether a number of the question is only said in another way: 3 dozen as 36, n * 1 where the question says one, too."""
    flat = flatten(equation.expression)
    values = equation.operands
    if flat.kind != "product" or len(values) != 2:
        return False
    if 1 in values or (equation.claimed < 1 and any(equation.claimed in one.readings for one in quantities)):
        return True
    return any(
        one.value == stated and (constant in _UNITS.get(one.sort, ()) or (constant == 12 and dozens))
        for dozens in [any(one.text.lower().startswith("dozen") for one in quantities)]
        for one in quantities
        for stated, constant in (values, values[::-1])
    )


def _settled(found: list[Verdict]) -> list[Verdict]:
    """What led to a right result was right."""
    for index in range(len(found) - 1, -1, -1):
        if found[index].status == "right" and found[index].equation.holds:
            for parent in found[index].parents:
                if found[parent].status in ("open", "wrong"):
                    found[parent] = replace(found[parent], status="right")
    return found
