"""Growth of the readers of outside text: CPU seconds for one hostile text of 10 kB, 100 kB and 1 MB.

Run from the repository root; it needs no data and no network:

    python benchmarks/outside_text.py

Prints a table, asserts nothing. Each reader should take a second at most for its largest text, and ten times the text ten times
as long: what grows faster would stop a run with one row of a file or one reply. "read" and "refused" say what came of the
largest text. The grader's own table, by style and kind of text, is in `benchmarks/grading.py`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sei import answers, equations, reading, steps
from sei.data import files, formats
from sei.data.rows import Skip
from sei.errors import UserError
from sei.llm.account import Account
from sei.llm.answer import read_completion
from sei.llm.door import Secret, loads
from sei.llm.faults import Transient
from sei.llm.request import Request, user
from sei.llm.settings import ApiSettings
from sei.llm.store import Store
from sei.records import Problem, Verdict
from sei.teacher.api.replies import DiagnosisReply, GroupItem
from sei.teacher.api.structured import ParseError, parse, parse_list

SIZES = (10_000, 100_000, 1_000_000)
REFUSED = (files.Fault, Skip, ParseError, Transient, UserError, ValueError)


def gold(text: str) -> str | None:
    """A gold answer, as a data file gives it."""
    problem = Problem.make(question="q", answer=text, solution="s", source="x")
    if complaint := answers.check_gold(problem, "gsm8k"):
        raise ValueError(complaint)
    return answers.extract(text)


def choices(text: str) -> Any:
    """A question's options, and an output that picks among them."""
    row = formats.csqa({"question": "q", "choices": {"label": ["A", "B"], "text": [text, "b"]}, "answerKey": "A"})
    if answers.grade(text, row["answer"], "choice") is Verdict.UNGRADABLE:
        raise ValueError("ungradable")
    return formats.sat_math({"question": "q", "options": [f"(A){text}", "(B)4"], "label": "A"})


def formula(text: str) -> Any:
    """An output and a gold answer of style math; what needs symbols has time limits of its own."""
    if answers.grade(f"\\boxed{{{text}}}", text, "math") is Verdict.UNGRADABLE:
        raise ValueError("ungradable")
    return answers.grade(text, "5", "math")


def attempt(text: str) -> Any:
    """A model's output: its solution, steps and equations."""
    found = reading.read(text)
    return equations.read_equations(steps.split_steps(found.text)[0])


def data_file(text: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text(text, encoding="utf-8")
        found = [row for _, row in files.rows(path)]
    if any(isinstance(row, files.Fault) for row in found):
        raise ValueError("a fault")
    return found


def reply(text: str) -> Any:
    """A teacher's reply, asked for an object and for a list."""
    return parse(text, DiagnosisReply)


def one_step(text: str) -> Any:
    """A step of any solution."""
    return equations.read_equations([text])


class Envelope:
    """A server's answer, before anyone reads the reply in it."""

    def __init__(self, folder: Path) -> None:
        settings = ApiSettings("m", ("http://127.0.0.1:9/v1",))
        self._account = Account(settings, Store(folder / "store.sqlite"), "benchmark")
        self._request = Request((user("2 + 3?"),), "teacher/solve", "h", 64)
        self._secret = Secret("sk-secret-of-the-benchmark")

    def read(self, text: str) -> Any:
        return read_completion(
            text,
            key="k",
            request=self._request,
            account=self._account,
            url="u",
            mode="live",
            latency_s=0.0,
            redact=self._secret.redact,
        )


# What is read, who reads it, and the text: before "^" stands what comes first, once, after "|" what closes a unit, as often, and
# after "~" what comes last, once.
READERS: list[tuple[str, Callable[[str], Any], str]] = [
    ("gold line after ####, digits", gold, "#### ^1"),
    ("gold line after ####, digits apart", gold, "#### ^1 "),
    ("gold line after ####, groups", gold, "#### 1^,000"),
    ("gold lines", gold, "#### 1\n"),
    ("nested brackets in choices", choices, "("),
    ("nested brackets in choices, closed", choices, "(|)"),
    ("letters in brackets", choices, "(A) "),
    ("relations in relations", formula, "x={|}"),
    ("fractions in fractions", formula, "\\frac{|}{1}"),
    ("boxes in boxes", formula, "\\boxed{|}"),
    ("sets in sets", formula, "\\{1,|\\}"),
    ("attempt of headings", attempt, "\nQuestion 2: "),
    ("attempt of headings, answered", attempt, "#### 5^\n\n## Question:\n"),
    ("attempt of special tokens", attempt, "<|im_end|>"),
    ("attempt of reasoning marks", attempt, "</think>"),
    ("attempt of equations in one line", attempt, "1+1=2 "),
    ("step of equations", one_step, "1+1=2 "),
    ("attempt of annotations", attempt, "<<1+1=2>>2 "),
    ("attempt of one repeated line", attempt, "The answer is 5.\n"),
    ("data file: open objects", data_file, '{"a":'),
    ("data file: nested objects", data_file, '{"a":|}'),
    ("data file: nested array", data_file, "[|]"),
    ("data file: empty objects", data_file, "{}\n"),
    ("data file: halves of characters", data_file, '{"a": "^\\ud83d~"}'),
    ("reply: braces", reply, "{"),
    ("reply: objects among braces", reply, '{"a": {'),
    ("reply: empty objects", reply, "{} "),
    ("reply: text of quotes", reply, '{"'),
    ("reply: backslashes", reply, '{"reason": "^\\frac~"}'),
    ("reply: reasoning marks", reply, "</think>{"),
    ("reply: list of objects", lambda text: parse_list(text, "groups", GroupItem), '[{"name": "a"},'),
    ("JSON of any kind: brackets", loads, "["),
]


def of_a_server(folder: Path) -> list[tuple[str, Callable[[str], Any], str]]:
    """The readers of what a server sends."""
    read = Envelope(folder).read
    return [
        ("server: nested envelope", read, '{"choices": [|]}'),
        ("server: digits", read, '{"created": ^1~}'),
        ("server: content of key's letters", read, '{"choices": [{"message": {"content": "^sk-secret~"}}]}'),
        ("server: content of backslashes", read, '{"choices": [{"message": {"content": "^\\\\~"}}]}'),
        ("server: content in parts", read, '{"choices": [{"message": {"content": ["^","~"]}}]}'),
    ]


def text_of(pattern: str, size: int) -> str:
    body, _, last = pattern.partition("~")
    first, _, rest = body.rpartition("^")
    unit, _, closing = rest.partition("|")
    times = size // (len(unit) + len(closing))
    middle = "1" if closing else ""
    return first + unit * times + middle + closing * times + last


def main() -> None:
    answers.grade("$\\sqrt{12}$", "2\\sqrt{3}", "math")  # starts the grader's workers
    print(f"{'one text':<38}" + "".join(f"{size // 1000:>9} kB" for size in SIZES) + "   the largest is")
    with tempfile.TemporaryDirectory() as folder:
        for name, read, pattern in [*READERS, *of_a_server(Path(folder))]:
            show(name, read, pattern)


def show(name: str, read: Callable[[str], Any], pattern: str) -> None:
    """One line of the table."""
    cells, outcome = [], "read"
    for size in SIZES:
        text = text_of(pattern, size)
        started = time.process_time()
        try:
            read(text)
            outcome = "read"
        except REFUSED:
            outcome = "refused"
        cells.append(f"{time.process_time() - started:>10.3f} s")
    print(f"{name:<38}" + "".join(cells) + f"   {outcome}")


if __name__ == "__main__":
    main()
