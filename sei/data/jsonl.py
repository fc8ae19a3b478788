"""A file of the user's own: rows (JSONL, a JSON array, Parquet), their fields named in the configuration.

Place in the flow: `data=jsonl` binds `Jsonl`; after it, the problems are like those of any other data set. Test problems
come from a second file or are held out by seed; then validation problems are held out of what is left.

Example::

    data = Jsonl(path="problems.jsonl", question="problem", answer="answer", validation=50, test=100)
    data.load().tests["jsonl"][0].question
    Jsonl(path="MetaMathQA-395K.json", question="query", answer="response")           # "... The answer is: 18"
    Jsonl(path="sharegpt.json", question="conversations.0.value", answer="conversations.1.value")
    Jsonl(path="alpaca.json", question=("instruction", "input"), answer="output")
    Jsonl(path="llama3_SEI_OSL.json", family="cluster", bad_rows="reject", test=0)    # what SEI's authors trained on
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from sei import answers
from sei.data.base import OverlapLimits
from sei.data.files import WANTED, Fault, Row, data_files, rows
from sei.data.formats import split_gsm8k
from sei.data.rows import as_text, at, optional, to_problems
from sei.data.sources import SOURCES, is_worked
from sei.data.splits import Splits, hold_out
from sei.errors import UserError
from sei.records import Problem, Rejected, Verdict
from sei.steps import split_steps
from sei.values import Count, Whole

HELD_OUT = 200  # test problems held out where neither a number nor a file of them is given
_SOLUTION = "solution"  # the field that is read without being named
_LONG_ANSWER = 80  # characters: longer texts that are no answers are called solutions without one


@dataclass(frozen=True)
class Jsonl:
    """Problems of a file of rows; the fields called `question`, `answer`, ... here name the fields of its rows.

    A field inside others is named by its path, `conversations.0.value`. An answer may be a whole solution that names its
    answer at the end (`#### 18`, `\\boxed{18}`, `The answer is: 18`); a row without the answer field has the answer that
    its solution names.
    """

    has_train: ClassVar[bool] = True

    path: str = ""
    test_path: str | None = None  # a file of test problems; null: they are held out of `path` by seed
    question: str | tuple[str, ...] = "question"  # of several fields the first must be there
    answer: str = "answer"
    solution: str | None = None  # a worked solution; null: `solution`, in the rows that have it
    level: str | None = None  # a number, or a text with one
    family: str | None = None  # subject, topic, ...
    style: answers.Style = "gsm8k"  # answers are numbers; math: LaTeX; choice: letters of options told in the question
    name: str = "jsonl"  # what runs, tables and records call the data
    train: Count | None = None  # the first so many of what is not held out, null: all
    validation: Whole = 100
    test: Whole | None = None  # null: all of test_path, or HELD_OUT of path; 0: no test problems
    bad_rows: Literal["stop", "reject"] = "stop"  # reject: rows of `path` that are no problems are listed and left out
    seed: int = 0
    overlap: OverlapLimits = field(default_factory=OverlapLimits)

    @property
    def test_sets(self) -> tuple[str, ...]:
        """One, with the name of the data, or none."""
        return () if self.test == 0 else (self.name,)

    @property
    def worked(self) -> bool:
        """Whether any row has a worked solution. True also where no row can be read: that is another complaint."""
        bare = False
        try:
            for _, row in rows(Path(self.path)) if Path(self.path).is_file() else ():
                try:
                    if isinstance(row, Fault):
                        continue
                    if is_worked(Problem.make(source=self.name, **self._read(row))):
                        return True
                    bare = True
                except Fault:
                    continue
        except UserError:
            return True
        return not bare

    def complaints(self) -> list[str]:
        """A file that is not given or not there, or the name of another set."""
        complaints = []
        if not self.path:
            complaints.append(
                "data.path: not given. Name the file with your problems, such as JSONL: one JSON object a line"
            )
        for key, path in {"path": self.path, "test_path": self.test_path}.items():
            if path and Path(path).is_dir():
                complaints.append(f"data.{key}={path}: is a folder, not a file.{data_files(Path(path))} Name one file")
            elif path and not Path(path).is_file():
                complaints.append(
                    f"data.{key}={path}: no such file. Name a file of rows, such as one JSON object a line"
                )
        if self.name in SOURCES:
            complaints.append(f"data.name={self.name}: a published set has this name. Choose another")
        return complaints

    def load(self) -> Splits:
        """Its problems; the test set is called `test`. Equal seeds and sizes give equal splits.

        The test problems depend on nothing but the file, `test` and `seed`, so that they stay when other sizes change.
        """
        unread: list[Rejected] = []
        problems = self._problems(self.path, "train", unread if self.bad_rows == "reject" else None)
        size = 0 if self.test_path else HELD_OUT if self.test is None else self.test
        if self.validation + size >= len(problems):
            held = f"data.validation={self.validation}" + (f" and data.test={size}" if size else "")
            fewer = {"validation": len(problems) // 10, "test": max(1, len(problems) // 5)}
            remedy = f"data.validation={fewer['validation']}" + (f" data.test={fewer['test']}" if size else "")
            raise UserError(
                f"data.path={self.path}: {len(problems)} problems, and {held} are to be held out of them: none is left to "
                f"train on. Give more problems or hold out fewer, such as {remedy}."
            )
        if self.test_path and self.test_sets:
            test = self._problems(self.test_path, "test")[: self.test]
        else:
            problems, test = hold_out(problems, size, self.seed, "test")
        train, validation = hold_out(problems, self.validation, self.seed, "validation")
        return Splits(train[: self.train], validation, dict.fromkeys(self.test_sets, test), tuple(unread))

    def _problems(self, path: str, split: str, unread: list[Rejected] | None = None) -> list[Problem]:
        problems = to_problems(
            rows(Path(path)),
            self._read,
            name=self.name,
            split=split,
            style=self.style,
            unread=unread,
            remedy="Mend or remove them, name other fields (data.question, data.answer, data.solution), or set "
            "data.bad_rows=reject to leave them out",
        )
        if not problems:
            first = f" All {len(unread)} rows are bad, the first: {unread[0].detail}." if unread else ""
            raise UserError(f"data={self.name}: {path} holds no problems.{first} {WANTED}.")
        return problems

    def _read(self, row: Row) -> dict[str, Any]:
        """The fields of a `Problem` in one row."""
        question = self._question(row)
        answer, solution = self._answer(row, self._solution(row))
        return {
            "question": question,
            "answer": answer,
            "solution": solution,
            "family": _optional(row, self.family),
            "level": _level(row, self.level),
        }

    def _question(self, row: Row) -> str:
        if isinstance(self.question, str):
            return as_text(at(row, self.question), self.question)
        first, *others = self.question
        parts = [as_text(at(row, first), first), *(optional(row, name) for name in others)]
        return "\n".join(part for part in parts if part)

    def _solution(self, row: Row) -> str:
        """The worked solution, "" where the row has none."""
        name = self.solution or (_SOLUTION if _SOLUTION in row else None)
        return _optional(row, name).replace("\r\n", "\n")

    def _answer(self, row: Row, solution: str) -> tuple[str, str]:
        """(answer, solution). A solution always names its answer where the style looks for it."""
        try:
            written = at(row, self.answer)
        except Fault:
            if not solution:
                raise
            answer = self._named(solution)
            if answer is None:
                named = "\\boxed{answer}" if self.style == "math" else "'#### answer' or 'The answer is ...'"
                raise Fault(f"the solution has no {named} and there is no field '{self.answer}'") from None
        else:
            answer, solution = self._answer_in(as_text(written, self.answer).replace("\r\n", "\n"), solution)
        if self.style == "gsm8k":
            if solution and split_steps(solution)[1] is None:
                solution += f"\n#### {answer}"
            if solution and answers.grade(solution, answer) is Verdict.WRONG:
                raise Fault(f"the solution ends with {split_steps(solution)[1]!r}, but the answer is {answer!r}")
        return answer, solution or f"#### {answer}"

    def _answer_in(self, written: str, solution: str) -> tuple[str, str]:
        """(answer, solution) of an answer field, which may hold a whole solution."""
        split = split_gsm8k(written) if self.style == "gsm8k" else None
        if split and "\n" not in split[1]:
            return split[1], solution or split[0]
        # LaTeX may be anything that has no end of its own; numbers and letters are told from solutions by their form.
        bare = Problem.make(question="", answer=written, solution="", source="")
        if self.style != "math" and answers.check_gold(bare, self.style) is None:
            return written, solution
        named = self._named(written)
        if named is None and len(written) > _LONG_ANSWER:
            raise Fault(f"field '{self.answer}' is no answer and names none, as '#### 18' or 'The answer is 18' do")
        return (written, solution) if named is None else (named, solution or written)

    def _named(self, solution: str) -> str | None:
        """The answer that a solution names as such; its last number, say, would be a guess."""
        found = answers.extract(solution, self.style)
        if found is None:
            return None
        # Of a text that was cut, only what is marked as its answer counts. The line after it says that nothing is cut here.
        verdict = answers.grade(f"{solution}\n.", found, self.style, truncated=True)
        return None if verdict is Verdict.TRUNCATED else found


def _optional(row: Row, name: str | None) -> str:
    """The field as text, "" where none is named or it is null or empty. A field that was named must be in every row."""
    value = None if name is None else at(row, name)
    return "" if value in (None, "") else as_text(value, str(name))


def _level(row: Row, name: str | None) -> int:
    written = _optional(row, name)
    found = re.search(r"\d{1,4}", written, re.ASCII)
    if written and not found:
        raise Fault(f"field '{name}': expected a level such as 3 or 'Level 3', found {written!r}")
    return int(found[0]) if found else 0
