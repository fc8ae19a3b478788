"""Nothing that nests recurses, raises or takes more than a moment: grading, reading, data files and replies of any depth."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sei import answers, reading, steps, templates
from sei.data.files import Fault, rows
from sei.grading import latex
from sei.grading.compare import QUICK, compare
from sei.llm.door import loads
from sei.records import Problem, Verdict
from sei.target import recordings
from sei.teacher.api.replies import DiagnosisReply, GroupItem
from sei.teacher.api.structured import ParseError, parse, parse_list

DEPTHS = (40, 400, 4000)
PAIRS = [("x={", "}"), ("\\frac{", "}{1}"), ("\\frac{1}{", "}"), ("\\sqrt{", "}"), ("(", ")"), ("[", "]"), ("\\{", "\\}"),
         ("{", "}"), ("\\boxed{", "}"), ("x=(", ")"), ("(1,", ")"), ("\\left(", "\\right)"), ("x^{", "}"), ("\\text{", "}"),
         ("\\begin{pmatrix}", "\\end{pmatrix}"), ("x<(", ")"), ("x\\in(", ")"), ("-(", ")"), ("\\sin(", ")")]  # fmt: skip


@pytest.fixture(autouse=True)
def _quick() -> Any:
    """CPU seconds of this process, in which the grader's time limit holds nothing."""
    started = time.process_time()
    yield
    assert time.process_time() - started < 5.0


@pytest.mark.parametrize(("opening", "closing"), PAIRS)
def test_nested_text_is_graded_without_symbols(opening: str, closing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_in_workers", lambda pairs, *_: [None] * len(pairs))
    for depth in DEPTHS:
        text = opening * depth + "x" + closing * depth
        for output, gold in (
            ("\\boxed{5}", text),
            (f"\\boxed{{{text}}}", "5"),
            (f"\\boxed{{{text}}}", text),
            (text, "5"),
        ):
            verdict = answers.grade(output, gold, "math")
            assert verdict not in (Verdict.CORRECT, Verdict.TIMEOUT)
        for style in ("gsm8k", "math", "choice"):
            answers.grade(text, "(A) 5" if style == "choice" else "5", style)
            reading.read(text, style)
            steps.split_steps(text, style)
        problem = Problem.make(question="q", answer=text, solution="s", source="x")
        assert "32 brackets in brackets" in str(answers.check_gold(problem, "math"))


def test_what_is_nested_as_answers_are_is_compared_as_before() -> None:
    fraction = "1"
    for _ in range(12):
        fraction = f"\\frac{{1}}{{1+{fraction}}}"
    assert answers.grade(f"\\boxed{{{fraction}}}", fraction, "math") is Verdict.CORRECT
    assert answers.grade("$x = (y = 5)$", "5", "math") is Verdict.CORRECT


@pytest.mark.parametrize("value", ["\\sqrt{12}", "5"])
def test_relations_in_relations_take_no_exponential_time(value: str) -> None:
    """Two comparisons a relation, each of what is inside: 225 characters took hours, in the process of the run itself."""
    for depth in (7, 20, 60):
        text = "2\\sqrt{3}={" * depth + value + "}" * depth
        compare(latex.parse(value), latex.parse(text), QUICK)
        compare(latex.parse(text), latex.parse(value), QUICK)


def test_sets_in_sets_are_compared_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = count(2)

    def tree(depth: int) -> str:
        return str(next(numbers)) if depth == 0 else "\\{" + ",".join(tree(depth - 1) for _ in range(4)) + "\\}"

    gold, other = tree(4), tree(4)
    asked: list[Any] = []
    monkeypatch.setattr(answers, "_in_workers", lambda pairs, *_: [asked.extend(pairs), [None] * len(pairs)][1])
    assert answers.grade(f"\\boxed{{{other}}}", gold, "math") is Verdict.TIMEOUT
    assert asked == [(gold, other)]
    flat = ",".join(map(str, range(60)))
    assert answers.grade(f"\\boxed{{{flat}}}", flat, "math") is Verdict.CORRECT
    assert len(asked) == 1


JSON = [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"), ("[", ""), ('{"a":', "")]


@pytest.mark.parametrize(("opening", "closing"), JSON)
@pytest.mark.parametrize("depth", [400, 40_000])
def test_nested_json_is_a_fault_or_a_row(tmp_path: Path, opening: str, closing: str, depth: int) -> None:
    nested = opening * depth + "1" + closing * depth
    for name, text in (
        ("value", nested),
        ("field", f'{{"question": "2+3?", "answer": {nested}}}\n{{"question": "1+1?", "answer": "2"}}\n'),
        ("array", f'[{{"question": "2+3?", "answer": {nested}}}]'),
    ):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(text)
        found = [row for _, row in rows(path)]
        assert found
        for row in found:
            if not isinstance(row, Fault):
                read_without_raising(lambda row=row: recordings.read(row))
    read_without_raising(lambda: loads(nested))
    for text in (nested, f'{{"step": {nested}, "reason": "r"}}', f"text {nested} text"):
        read_without_raising(lambda text=text: parse(text, DiagnosisReply))
        read_without_raising(lambda text=text: parse_list(text, "groups", GroupItem))


def read_without_raising(read: Callable[[], Any]) -> None:
    """Whatever `read` says of it in its own words will do."""
    with contextlib.suppress(Fault, ParseError, ValueError, recordings.Failed):
        read()


@pytest.mark.parametrize("style", templates.STYLES)
def test_nested_tags_are_malformed(style: templates.TemplateStyle) -> None:
    for tag in ("<Step1>", "<Key>", "<Answer>", "<Step1><Key>"):
        text = tag * 20_000
        found = templates.parse(text, style)
        assert isinstance(found, templates.Malformed)
        templates.answer_line(text, style)
        templates.steps_of(text, style)


def test_a_nested_field_of_a_row_is_told_in_few_words(tmp_path: Path) -> None:
    deep = json.loads("[" * 900 + "]" * 900)
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"question": deep, "solution": "s"}))
    [(_, row)] = rows(path)
    assert not isinstance(row, Fault)
    with pytest.raises(Fault, match="field 'question' must be text, found list"):
        recordings.read(row)
