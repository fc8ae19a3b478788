"""Calibration: mistakes are what they claim to be, and a teacher's figures are counted from them."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest

from sei.answers import grade
from sei.calibrate import Item, annotated_items, arithmetic_items, main, measure, spoil
from sei.data.sources import load
from sei.equations import read_equations
from sei.llm.store import Store
from sei.records import Diagnosis, Problem, Verdict
from sei.steps import split_steps
from sei.teacher.symbolic import SymbolicTeacher
from tests.teacher.fault_server import Running

SHARED = Path(__file__).parents[1] / "../shared/data"


def check(item: Item) -> None:
    """The steps before the wrong one are the gold ones, it is not, those after it hold, and the answer is wrong."""
    gold, _ = split_steps(item.mistake.gold_solution)
    steps, _ = split_steps(item.mistake.output)
    assert len(steps) == len(gold)
    assert steps[: item.step - 1] == gold[: item.step - 1]
    assert steps[item.step - 1] != gold[item.step - 1]
    assert all(equation.holds for equation in read_equations(steps) if equation.step > item.step)
    assert grade(item.mistake.output, item.mistake.gold_answer) is Verdict.WRONG


def test_mistakes_of_the_arithmetic_world_go_wrong_where_they_say() -> None:
    items = arithmetic_items(200, seed=0)
    assert len({item.mistake.id for item in items}) == 200
    assert {1, 2} < {item.step for item in items}
    for item in items:
        check(item)
    assert arithmetic_items(200, seed=0) == items


@pytest.mark.skipif(not SHARED.exists(), reason="shared data not here")
def test_mistakes_from_gsm8k_go_wrong_where_they_say() -> None:
    problems = load("gsm8k", path=str(SHARED / "gsm8k"), validation=0, seed=0).train
    items = annotated_items(problems, 300, seed=0)
    assert len(items) == 300
    for item in items:
        check(item)


def test_a_wrong_step_is_followed_through_in_words_and_annotations() -> None:
    solution = (
        "He has 3 bags * 4 pens = <<3*4=12>>12 pens.\nAfter 5 of the 12 pens are lost, 12-5=<<12-5=7>>7 stay.\n#### 7"
    )
    problem = Problem.make(question="3 bags of 4 pens, 5 lost?", answer="7", solution=solution, source="test")
    items = [item for seed in range(200) if (item := spoil(problem, random.Random(seed)))]
    for item in items:
        check(item)
    outputs = {item.mistake.output for item in items}
    assert (
        "He has 3 bags * 4 pens = <<3*4=14>>14 pens.\nAfter 5 of the 14 pens are lost, 14-5=<<14-5=9>>9 stay.\n#### 9"
        in outputs
    )
    assert (
        "He has 3 bags + 4 pens = <<3+4=7>>7 pens.\nAfter 5 of the 7 pens are lost, 7-5=<<7-5=2>>2 stay.\n#### 2"
        in outputs
    )
    assert (
        "He has 3 bags * 4 pens = <<3*4=12>>12 pens.\nAfter 5 of the 12 pens are lost, 12+5=<<12+5=17>>17 stay.\n#### 17"
        in outputs
    )


def test_a_number_that_may_be_given_or_a_result_is_not_followed() -> None:
    solution = "He has 3*4=<<3*4=12>>12 pens.\n12-5=<<12-5=7>>7 stay.\n#### 7"
    problem = Problem.make(question="3 bags of 4 pens for 12 men?", answer="7", solution=solution, source="test")
    assert spoil(problem, random.Random(0)) is None


def test_only_the_exact_step_counts_as_located() -> None:
    class Late(SymbolicTeacher):
        """Finds everything one step too late."""

        def diagnose(self, mistakes):  # type: ignore[no-untyped-def]
            return [
                Diagnosis(m.id, m.id, t.step + 1, "kind", ("phrase",), "") for m, t in zip(mistakes, items, strict=True)
            ]

    items = arithmetic_items(20, seed=1)
    assert measure(items, Late(), "arithmetic").located == 0
    good = measure(items, SymbolicTeacher(), "arithmetic")
    assert good.located >= 18
    assert good.locate_low < good.locate <= good.locate_high
    assert good.usd_per_1000_diagnoses == 0


def table(printed: str) -> list[dict[str, str]]:
    return list(csv.DictReader(printed.splitlines()))


def test_the_command_prints_an_api_teachers_figures_and_what_it_charged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [
        "teacher=local",
        "teacher.model=gpt-4o",
        f"cache_dir={tmp_path}",
    ]
    with Running() as server:
        overrides = ["--items", "12", *common, f"teacher.base_url={server.url}"]
        assert main(overrides) == 0
        first = capsys.readouterr().out
        asked = server.get("stats")["asks"]
        assert main(overrides) == 0
        assert server.get("stats")["asks"] == asked, "a rerun asks nothing"
        assert capsys.readouterr().out == first
    (row,) = table(first)
    assert (row["teacher"], row["source"], row["n"]) == ("gpt-4o", "arithmetic", "12")
    assert asked == 24
    assert row["rejected_corrections"].startswith("answer_wrong"), "the server makes its answers up"
    with Store(tmp_path / "teacher.sqlite").transaction() as connection:
        rows = connection.execute("SELECT prompt, sum(tokens_in), sum(tokens_out) FROM answers GROUP BY prompt")
        tokens = {prompt: (tokens_in, tokens_out) for prompt, tokens_in, tokens_out in rows}
    for prompt, column in (("diagnose", "diagnoses"), ("correct/gsm8k", "corrections")):
        tokens_in, tokens_out = tokens[f"teacher/{prompt}"]
        # gpt-4o: 2.50 dollars for a million tokens in, 10 out; 12 items
        expected = 1000 * (tokens_in * 2.5 + tokens_out * 10) / 1e6 / 12
        assert float(row[f"usd_per_1000_{column}"]) == pytest.approx(expected)
        assert expected > 0.1


def test_a_dry_run_asks_nobody_and_a_typo_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--items", "5", "teacher=gpt-4o", "dry_run=true", f"cache_dir={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    assert "arithmetic: 5 diagnoses" in printed
    assert "US dollars" in printed
    assert list(tmp_path.iterdir()) == []
    assert main(["teecher=gpt-4o"]) == 2
    assert "Nearest: teacher" in capsys.readouterr().err


def test_an_installation_without_the_checkout_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sei.compose.CONF", tmp_path / "conf")  # where `pip install .` has it looked for
    assert main([]) == 2
    assert "pip install -e ." in capsys.readouterr().err
