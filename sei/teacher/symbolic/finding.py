"""What a diagnosis finds: the step, the kind of the mistake, its words, and why it may not be the first one.

Place in the flow: the modules that judge a solution return a `Finding`; `diagnose` makes the diagnosis of it.

Example::

    Finding(2, "arithmetic_slip", ("copies a computed result wrongly into the text",), "3 + 4 is 7, but ...")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "arithmetic_slip",
    "wrong_operand",
    "wrong_operation",
    "missing_step",
    "extra_step",
    "wrong_order",
    "unit_or_rounding",
    "answer_not_last_result",
    "no_usable_work",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Finding:
    """What is wrong with one step."""

    step: int
    kind: Kind
    keyphrases: tuple[str, ...]
    explanation: str
    doubt: str = ""  # one of DOUBTS: why another step may be the first wrong one


DOUBTS = {
    "another_route": "a step before this one may belong to another way",
    "unread_steps": "not every step before this one can be read as plain arithmetic",
    "unread_gold": "the gold solution cannot be read as plain arithmetic",
    "said_twice": "a result before this one has been computed twice",
    "other_name": "a result before this one has another name than in the gold solution",
    "unused": "nothing comes of the first calculation that the gold solution does not have",
    "true_sum": "the first calculation that the gold solution does not have is a sum that may be true",
    "comes_right": "what comes of the first calculation that the gold solution does not have is right",
    "right_answer": "the answer is right all the same",
    "no_equations": "there is no equation to check",
}
