"""What a problem source gives: training and validation problems, and one or more named test sets.

Place in the flow: every data set in `sei.data` loads `Splits`; recipes mine `train`, select on `validation` and report
on each of `tests`.

Example::

    splits = arithmetic.load(train=2000, validation=200, test=500, seed=0)
    splits.tests["in_domain"][0].question
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass

from sei.records import Problem, Rejected


@dataclass(frozen=True)
class Splits:
    """Problems by use. Each list holds distinct questions, and no problem is in two lists."""

    train: list[Problem]
    validation: list[Problem]
    tests: dict[str, list[Problem]]  # by the test set's name, in the order of reports
    unread: tuple[Rejected, ...] = ()  # rows of the training file that are no problems, where the user lets them go


def hold_out(problems: list[Problem], count: int, seed: int, split: str) -> tuple[list[Problem], list[Problem]]:
    """(kept, held out): `count` problems, drawn by seed, go to `split`; both keep the order of the file."""
    held = set(random.Random(seed).sample(range(len(problems)), count))
    kept = [problem for index, problem in enumerate(problems) if index not in held]
    return kept, [dataclasses.replace(problems[index], split=split) for index in sorted(held)]
