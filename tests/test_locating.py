"""Labels of the first wrong step: rows are checked, and F1 is ProcessBench's, whatever the teacher."""

from __future__ import annotations

import csv
import json
import sys
import types
from pathlib import Path

import pytest

from sei.calibrate import main
from sei.data.labelled import Labelled, read_labelled
from sei.errors import UserError
from sei.locating import measure
from sei.records import Rejected
from sei.statistics import harmonic_interval
from sei.teacher.base import Solution
from tests.teacher.fault_server import Running

PENS = "Ann buys 3 boxes of 12 pens. She gives 6 pens away and sells the others for $2 each. How much does she earn?"
AGES = "Ben is 7 years old. His sister is twice as old. How old are they together?"
GOLD = {
    PENS: "3*12=<<3*12=36>>36 pens.\n36-6=<<36-6=30>>30 pens are left.\n30*2=$<<30*2=60>>60.\n#### 60",
    AGES: "The sister is 7*2=<<7*2=14>>14.\nTogether they are 7+14=<<7+14=21>>21.\n#### 21",
}
ROWS: list[tuple[str, str, list[str], int]] = [  # generator, problem, steps, label
    ("a", PENS, ["She has 3*12 = 36 pens.", "She sells 36 - 6 = 30 pens.", "She earns 30*2 = 60 dollars."], -1),
    ("a", PENS, ["She has 3*12 = 36 pens.", "She sells 36 + 6 = 42 pens.", "She earns 42*2 = 84 dollars."], 1),
    ("a", PENS, ["She has 3*12 = 38 pens.", "She sells 38 - 6 = 32 pens.", "She earns 32*2 = 64 dollars."], 0),
    ("a", AGES, ["His sister is 2*7 = 14.", "Together they are 14 + 7 = 21."], -1),
    ("a", AGES, ["His sister is 2*7 = 14.", "Together they are 14 - 7 = 7."], 1),
    ("a", AGES, ["His sister is 7*2 = 14.", "So 7 + 14 = 21.", "The answer is 21."], -1),
    ("b", PENS, ["All pens: 3*12*2 = 72 dollars.", "Away: 6*2 = 12 dollars.", "72 - 12 = 60 dollars."], -1),
    ("b", PENS, ["3*12 = 36 pens.", "36 - 6 = 30 pens.", "30*2 = 65 dollars."], 2),
    ("b", PENS, ["Let x be the pens.", "x/2 = 36, so x = 72.", "She earns 72*2 = 144 dollars."], 1),
    ("b", AGES, ["His sister is 7/2 = 3.5.", "Together they are 7 + 3.5 = 10.5."], 0),
    ("b", AGES, ["His sister is 14.", "Together they are 7 + 14 = 21."], -1),
    ("b", AGES, ["His sister is 2*7 = 14.", "Together they are 7 + 14 = 21."], 0),  # a label that is wrong itself
]


def rows() -> list[dict[str, object]]:
    return [
        {"id": f"row-{number}", "generator": generator, "problem": problem, "steps": steps, "label": label}
        | {"final_answer_correct": label < 0}
        for number, (generator, problem, steps, label) in enumerate(ROWS)
    ]


def written(path: Path, content: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return path


class Fixed:
    """Says what it was told to."""

    def __init__(self, answers: list[int | None]) -> None:
        self.answers = answers

    def locate(self, solutions: list[Solution]) -> list[int | Rejected]:
        pairs = zip(solutions, self.answers, strict=True)
        return [Rejected.make(one.id, "unsure", "", "") if step is None else step for one, step in pairs]


def test_f1_is_the_harmonic_mean_of_both_accuracies_by_hand() -> None:
    labels = [1, 1, 1, 1, -1, -1]
    labelled = [Labelled(f"{n}", "ab"[n % 2], "2+3?", ("One.", "Two."), label, None) for n, label in enumerate(labels)]
    # found, another step, unsure, said to be right | passed, a step called wrong
    whole, first, second = measure(labelled, Fixed([2, 1, None, 0, 0, 2]), {})  # type: ignore[arg-type]
    assert (whole.found, whole.erroneous, whole.passed, whole.correct) == (1, 4, 1, 2)
    assert whole.f1 == pytest.approx(2 * 0.25 * 0.5 / 0.75)
    assert (whole.decided, whole.named, whole.precision) == (5, 3, pytest.approx(1 / 3))
    assert whole.rejected == "unsure 1"
    assert [first.generator, second.generator] == ["a", "b"]
    assert (first.erroneous, first.found, first.correct) == (2, 1, 1)
    assert second.f1 == 0
    assert whole.f1_low is not None
    assert whole.f1_high is not None
    assert 0 <= whole.f1_low <= whole.f1 <= whole.f1_high <= 1
    (only_wrong,) = measure(labelled[2:3], Fixed([2]), {})  # type: ignore[arg-type]
    assert (only_wrong.accuracy_erroneous, only_wrong.accuracy_correct, only_wrong.f1) == (1, None, None)


def test_an_interval_of_harmonic_means_narrows_with_the_number_of_items() -> None:
    few, many = harmonic_interval((8, 10), (6, 10)), harmonic_interval((800, 1000), (600, 1000))
    assert few.mean == many.mean == pytest.approx(2 * 0.8 * 0.6 / 1.4)
    assert many.low - 0.03 < few.mean < many.high + 0.03
    assert few.high - few.low > 5 * (many.high - many.low)
    assert harmonic_interval((10, 10), (10, 10)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": 3}, "label: expected a whole number from -1 to 2, found 3"),
        ({"label": True}, "label: expected a whole number from -1 to 2, found True"),
        ({"label": None}, "label: expected a whole number from -1 to 2, found nothing"),
        ({"steps": []}, "steps: expected a list of texts, none of them empty, found []"),
        ({"steps": "She has 36."}, "steps: expected a list of texts"),
        ({"steps": ["One.", 2, "Three."]}, "steps: expected a list of texts"),
        ({"problem": " "}, "problem: expected a text, found ' '"),
        ({"generator": 7}, "generator: expected a text, found 7"),
        ({"final_answer_correct": "yes"}, "final_answer_correct: expected true or false, found 'yes'"),
        ({"id": "row-0"}, "id 'row-0' is that of"),
    ],
)
def test_a_bad_row_is_named_with_its_place(tmp_path: Path, change: dict[str, object], said: str) -> None:
    content = rows()
    content[1] |= change
    with pytest.raises(UserError) as error:
        read_labelled(str(written(tmp_path / "labels.jsonl", content)))
    assert f"labels.jsonl:2: {said}" in str(error.value)
    assert "Wanted: rows with the fields problem" in str(error.value)


def test_names_that_lead_nowhere_say_what_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="Known: processbench/gsm8k, processbench/math"):
        read_labelled("processbench/aime")
    with pytest.raises(UserError, match="no such file"):
        read_labelled(str(tmp_path / "labels.jsonl"))
    asked = []

    def offline(*arguments: object, **named: object) -> None:
        asked.append((*arguments, named["split"]))
        raise ConnectionError("no network")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=offline))
    with pytest.raises(
        UserError, match=r"processbench/math: Qwen/ProcessBench could not be read .* Download it elsewhere"
    ):
        read_labelled("processbench/math")
    assert asked == [("Qwen/ProcessBench", None, "math")]


def table(printed: str) -> list[dict[str, str]]:
    return list(csv.DictReader(printed.splitlines()))


def test_the_symbolic_teacher_takes_its_gold_solutions_from_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = [{"question": question, "answer": solution} for question, solution in GOLD.items()]
    problems = written(tmp_path / "problems.jsonl", content)
    labels = written(tmp_path / "labels.jsonl", rows())
    common = ["--labels", str(labels), f"cache_dir={tmp_path}"]
    assert main([*common, "data=jsonl", f"data.path={problems}", "data.validation=0", "data.test=1"]) == 0
    whole, first, second = table(capsys.readouterr().out)
    assert (whole["generator"], first["generator"], second["generator"]) == ("all", "a", "b")
    assert (first["erroneous"], first["found"], first["correct"], first["passed"]) == ("3", "3", "3", "3")
    assert float(first["f1"]) == 1
    # Of b's four wrong ones it finds two, leaves the algebra undecided, and does not believe the wrong label.
    assert (second["erroneous"], second["found"], second["correct"], second["passed"]) == ("4", "2", "2", "2")
    assert second["rejected"].startswith("in_doubt_unread_steps")
    assert float(whole["f1"]) == pytest.approx(2 * (5 / 7) / (1 + 5 / 7))
    assert whole["with_gold"] == "12"
    assert main(common) == 0
    assert table(capsys.readouterr().out)[0]["rejected"] == "no_gold_solution 12"


def test_an_api_teacher_is_asked_once_for_each_solution_and_costed_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = written(tmp_path / "labels.jsonl", rows())
    common = ["--labels", str(labels), "teacher=local", "teacher.model=gpt-4o", f"cache_dir={tmp_path / 'cache'}"]
    with Running() as server:
        here = [*common, f"teacher.base_url={server.url}"]
        assert main([*here, "dry_run=true"]) == 0
        assert "12 labelled solutions, 0 of them in the store; about" in capsys.readouterr().out
        assert server.get("stats")["asks"] == 0
        assert main([*here, "--items", "5"]) == 0
        capsys.readouterr()
        assert server.get("stats")["asks"] == 5
        assert main(here) == 0
        assert server.get("stats")["asks"] == 12, "five of the answers were in the store"
        (whole, *_) = table(capsys.readouterr().out)
        assert main(here) == 0
        assert server.get("stats")["asks"] == 12
    assert (whole["teacher"], whole["decided"], whole["rejected"]) == ("gpt-4o", "12", "")
    assert float(whole["usd"]) > 0
