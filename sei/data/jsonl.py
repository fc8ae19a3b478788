"""A file of the user's own: one JSON object a line, its fields named in the configuration.

Place in the flow: `data=jsonl` binds `Jsonl`; after it, the problems are like those of any other data set. Test problems
come from a second file or are held out by seed; then validation problems are held out of what is left.

Example::

    data = Jsonl(path="problems.jsonl", question="problem", answer="answer", validation=50, test=100)
    data.load().tests["jsonl"][0].question
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sei import answers
from sei.data.base import OverlapLimits
from sei.data.formats import split_gsm8k
from sei.data.rows import Fault, Row, json_lines, text, to_problems
from sei.data.sources import SOURCES, is_worked
from sei.data.splits import Splits, hold_out
from sei.errors import UserError
from sei.records import Problem, Verdict
from sei.steps import split_steps
from sei.values import Count, Whole

HELD_OUT = 200  # test problems held out where neither a number nor a file of them is given
_SOLUTION = "solution"  # the field that is read without being named


@dataclass(frozen=True)
class Jsonl:
    """Problems of a JSONL file; the fields called `question`, `answer`, ... here name the fields of its rows.

    An answer that ends in `#### 18` is read as GSM8K's: a solution with its answer. With `style` math, a row without the
    answer field has the last box of its solution as its answer.
    """

    has_train: ClassVar[bool] = True

    path: str = ""
    test_path: str | None = None  # a file of test problems; null: they are held out of `path` by seed
    question: str = "question"
    answer: str = "answer"
    solution: str | None = None  # a worked solution; null: `solution`, in the rows that have it
    level: str | None = None  # a number, or a text with one
    family: str | None = None  # subject, topic, ...
    style: answers.Style = "gsm8k"  # answers are numbers; math: LaTeX; choice: letters of options told in the question
    name: str = "jsonl"  # what runs, tables and records call the data
    train: Count | None = None  # the first so many of what is not held out, null: all
    validation: Whole = 100
    test: Count | None = None  # null: all of test_path, or HELD_OUT of path
    seed: int = 0
    overlap: OverlapLimits = field(default_factory=OverlapLimits)

    @property
    def worked(self) -> bool:
        """Whether any row has a worked solution. True also where no row can be read: that is another complaint."""
        bare = False
        for _, row in json_lines(Path(self.path)) if Path(self.path).is_file() else ():
            with contextlib.suppress(Fault):
                if not isinstance(row, Fault):
                    if is_worked(Problem.make(source=self.name, **self._read(row))):
                        return True
                    bare = True
        return not bare

    def complaints(self) -> list[str]:
        """A file that is not given or not there, or the name of another set."""
        complaints = []
        if not self.path:
            complaints.append("data.path: not given. Name the file with your problems, one JSON object a line")
        for key, path in {"path": self.path, "test_path": self.test_path}.items():
            if path and not Path(path).is_file():
                what = "is a folder, not a file" if Path(path).is_dir() else "no such file"
                complaints.append(f"data.{key}={path}: {what}. Name a file with one JSON object a line")
        if self.name in SOURCES:
            complaints.append(f"data.name={self.name}: a published set has this name. Choose another")
        return complaints

    def load(self) -> Splits:
        """Its problems; the test set is called `test`. Equal seeds and sizes give equal splits.

        The test problems depend on nothing but the file, `test` and `seed`, so that they stay when other sizes change.
        """
        problems = self._problems(self.path, "train")
        size = 0 if self.test_path else self.test or HELD_OUT
        if self.validation + size >= len(problems):
            held = f"data.validation={self.validation}" + (f" and data.test={size}" if size else "")
            fewer = {"validation": len(problems) // 10, "test": max(1, len(problems) // 5)}
            remedy = f"data.validation={fewer['validation']}" + (f" data.test={fewer['test']}" if size else "")
            raise UserError(
                f"data.path={self.path}: {len(problems)} problems, and {held} are to be held out of them: none is left to "
                f"train on. Give more problems or hold out fewer, such as {remedy}."
            )
        if self.test_path:
            test = self._problems(self.test_path, "test")[: self.test]
        else:
            problems, test = hold_out(problems, size, self.seed, "test")
        train, validation = hold_out(problems, self.validation, self.seed, "validation")
        return Splits(train[: self.train], validation, {self.name: test})

    def _problems(self, path: str, split: str) -> list[Problem]:
        problems = to_problems(
            json_lines(Path(path)),
            self._read,
            name=self.name,
            split=split,
            style=self.style,
            remedy="Mend or remove them, or name other fields (data.question, data.answer, data.solution)",
        )
        if not problems:
            raise UserError(f"data={self.name}: {path} holds no problems. Expected one JSON object a line.")
        return problems

    def _read(self, row: Row) -> dict[str, Any]:
        """The fields of a `Problem` in one row."""
        answer, solution = self._answer(row, self._solution(row))
        return {
            "question": text(row, self.question),
            "answer": answer,
            "solution": solution,
            "family": _optional(row, self.family),
            "level": _level(row, self.level),
        }

    def _solution(self, row: Row) -> str:
        """The worked solution, "" where the row has none."""
        name = self.solution or (_SOLUTION if _SOLUTION in row else None)
        return _optional(row, name).replace("\r\n", "\n")

    def _answer(self, row: Row, solution: str) -> tuple[str, str]:
        """(answer, solution). A solution always names its answer where the style looks for it."""
        if self.style == "math" and self.answer not in row and solution:
            boxed = answers.boxed(solution)
            if not boxed:
                raise Fault(f"the solution has no \\boxed{{answer}} and there is no field '{self.answer}'")
            return boxed, solution
        answer = text(row, self.answer)
        if self.style == "gsm8k":
            if split := split_gsm8k(answer):
                answer, solution = split[1], solution or split[0]
            if solution and split_steps(solution)[1] is None:
                solution += f"\n#### {answer}"
            if solution and answers.grade(solution, answer) is Verdict.WRONG:
                raise Fault(f"the solution ends with {split_steps(solution)[1]!r}, but the answer is {answer!r}")
        return answer, solution or f"#### {answer}"


def _optional(row: Row, name: str | None) -> str:
    """The field as text, "" where none is named or it is null or empty. A field that was named must be in every row."""
    if name is None or (name in row and row[name] in (None, "")):
        return ""
    return text(row, name)


def _level(row: Row, name: str | None) -> int:
    written = _optional(row, name)
    found = re.search(r"\d+", written)
    if written and not found:
        raise Fault(f"field '{name}': expected a level such as 3 or 'Level 3', found {written!r}")
    return int(found[0]) if found else 0
