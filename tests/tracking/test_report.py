"""The closing tables and `results.json` of small results made by hand."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest

from sei.records import ErrorType, Outcome, Verdict
from sei.results import Results
from sei.stages.evaluate import CheckpointScore
from sei.target.precision import Choice
from sei.terminal import Terminal
from sei.tracking import report
from sei.tracking.summary import summary
from sei.workspace import Artifact
from tests.test_config import composed


def rows(name: str, *votes: tuple[int, ...], family: bool = True, level: bool = False) -> list[Outcome]:
    return [
        Outcome(
            f"{name}{number}",
            name,
            f"{name}-p{number}",
            ("even", "odd")[number % 2] if family else "",
            Verdict.CORRECT if own[0] == 0 else Verdict.WRONG,
            "",
            level=1 + number % 2 if level else 0,
            votes=own,
        )
        for number, own in enumerate(votes)
    ]


def artifact(stage: str, **rejected: int) -> Artifact[Any]:
    lost = sum(rejected.values())
    counts = {"received": 4, "passed": 4 - lost, "records": 4 - lost, "rejected": rejected}
    return Artifact(stage, [], [], {**counts, "seconds": 0.5, "numbers": {}}, None, False)


def results(**more: Any) -> Results:
    found = Results(
        before={
            "gsm8k": rows("gsm8k", (1,), (0,), (1,), (1,)),
            "math": rows("math", (0,), (1,), level=True, family=False),
        },
        after={
            "gsm8k": rows("gsm8k", (0,), (0,), (1,), (0,)),
            "math": rows("math", (0,), (0,), level=True, family=False),
        },
    )
    for name, value in {"domains": {}, "checkpoints": [], "second": {}, **more}.items():
        setattr(found, name, value)
    return found


def collect(found: Results, *artifacts: Artifact[Any], select: str = "validation") -> dict[str, Any]:
    config = composed("recipe=correction", f"eval.select={select}", "recipe.training.keep_every=1")
    return report.collect(
        config, found, artifacts, [], {"training": Choice("32-true", "it is so"), "generation": Choice("float32")}
    )


def test_the_precision_is_recorded_with_its_reason() -> None:
    assert collect(results())["precision"] == {
        "training": {"value": "32-true", "why": "it is so"},
        "generation": {"value": "float32", "why": None},
    }


def shown(figures: dict[str, Any], *, terminal: bool = True) -> str:
    console = Terminal(file=io.StringIO(), width=100, force_terminal=terminal, color_system=None)
    report.show(console, figures, [artifact("attempts")], Path("run"))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def cells(text: str, title: str) -> dict[str, list[str]]:
    """The rows of the piped table with this title, by first cell."""
    lines = text[text.index(title) :].splitlines()[1:]
    table: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            if table:
                break
            continue
        first, *others = (cell.strip() for cell in line.strip("|").split("|"))
        table[first] = others
    return table


def test_averages_stand_below_the_sets_of_a_domain_and_of_all() -> None:
    text = shown(collect(results(domains={"in domain": ["gsm8k", "math"], "out": ["svamp"]})), terminal=False)
    table = cells(text, "Accuracy, recipe correction")
    assert text[: text.index("Accuracy by")].count("\n|--") == 2, "one rule for each table, below its header"
    assert table["gsm8k"][:1] == ["4"]
    assert table["gsm8k"][1].startswith("25.0 % [")
    assert table["gsm8k"][3] == "+50.0 points"
    paired = cells(text, "Changed by training")["gsm8k"]
    assert (paired[0], paired[2:]) == ("4", ["2", "0", "0.5000"])  # McNemar: 2 / 2^2
    assert paired[1].startswith("+50.0 [")
    assert table["micro, in domain"][0] == "6"
    assert table["micro, in domain"][1].startswith("33.3 % [")  # 2 of 6
    assert table["macro, in domain"][0] == "2 sets"
    assert table["macro, in domain"][1].startswith("37.5 % [")  # (25 + 50) / 2
    assert table["macro, in domain"][2].startswith("87.5 % [")  # (75 + 100) / 2
    assert not any("out" in name or "all" in name for name in table), "no set, or the same sets again"
    assert "macro, all" in cells(shown(collect(results()), terminal=False), "Accuracy, recipe correction")


def test_families_and_levels_have_tables_where_two_are_known() -> None:
    text = shown(collect(results()), terminal=False)
    by_family, by_level = text.index("Accuracy by family"), text.index("Accuracy by level")
    assert "macro average" in text[by_family:by_level]
    assert "math" not in text[by_family:by_level]
    assert "gsm8k" not in text[by_level : text.index("Ledger")]
    assert cells(text, "Accuracy by level")["math"][:2] == ["2", "1"]  # the last row: level 2, one item
    plain = Results(before={"set": rows("set", (0,), (1,), family=False)})
    plain.domains, plain.checkpoints, plain.second = {}, [], {}
    text = shown(collect(plain), terminal=False)
    assert "not trained" in text
    assert "Changed by training" not in text
    assert "Accuracy by" not in text
    assert "micro" not in text


def test_many_families_are_shown_by_their_average_alone() -> None:
    found = results()
    found.before = {"demo": [dataclasses.replace(row, family=row.id) for row in rows("demo", *[(0,)] * 13)]}
    figures = collect(found)
    table = cells(shown(figures, terminal=False), "Accuracy by family")
    assert list(table)[-1:] == ["demo"]
    assert table["demo"][:2] == ["macro average", "13"]
    assert "demo7" in figures["eval"]["demo"]["families"]
    assert "demo7" not in shown(figures)


def test_pass_and_majority_are_shown_where_there_are_samples() -> None:
    assert "pass@k" not in shown(collect(results()))
    found = results()
    found.before = {"gsm8k": rows("gsm8k", (0, 1, 1), (0, 0, 2))}
    found.after = {"gsm8k": rows("gsm8k", (0, 0, 1), (0, 0, 0))}
    figures = collect(found)
    table = cells(shown(figures, terminal=False), "gsm8k: 3 samples")
    assert list(table)[-3:] == ["1", "2", "3"]
    assert [cell.split()[0] for cell in table["3"]] == ["100.0", "100.0", "50.0", "100.0"]
    values = summary(figures, [], {})
    assert (values["gsm8k/majority_at_3"], values["gsm8k/pass_at_1"]) == (1.0, pytest.approx(5 / 6))


def test_checkpoints_and_the_papers_way_beside_the_chosen_one() -> None:
    scores = [
        CheckpointScore(100, {"accuracy": 0.2}, {"gsm8k": {"accuracy": 0.7}}),
        CheckpointScore(200, {"accuracy": 0.4}, {"gsm8k": {"accuracy": 0.5}}),
        CheckpointScore(300, {"accuracy": 0.3}, {}),
    ]
    honest = collect(results(checkpoints=scores))
    assert (honest["checkpoints"]["chosen"], honest["checkpoints"]["best_on_test"]) == (200, None)
    text = shown(honest, terminal=False)
    assert cells(text, "Checkpoints, %; chosen by validation accuracy")["200"] == ["40.0", "50.0", "chosen"]
    assert cells(text, "Checkpoints")["300"] == ["30.0", "-", ""]
    assert "too high" not in text
    text = shown(collect(results(checkpoints=scores), select="paper"), terminal=False)
    table = cells(text, "The paper's way: checkpoints chosen on each test set itself, so too high (a known flaw)")
    assert table["evaluation set"][0] == "by validation (step 200)"
    assert table["gsm8k"] == ["50.0 %", "70.0 % (step 100)", "60.0 % (steps 100 200)"]
    assert "chosen the last" in shown(collect(results(checkpoints=scores), select="last"))


def test_a_second_pass_is_compared_with_the_trained_first_one() -> None:
    second = {"gsm8k": rows("gsm8k", (1,), (0,), (0,), (0,)), "math": []}
    figures = collect(results(second=second))
    assert list(figures["second_pass"]) == ["gsm8k"]
    entry = figures["second_pass"]["gsm8k"]
    assert (entry["right_to_wrong"], entry["wrong_to_right"], entry["first"]["accuracy"]) == (1, 1, 0.75)
    assert cells(shown(figures, terminal=False), "Second pass")["gsm8k"][3:] == ["1", "1", "1.0000"]


def test_problems_without_an_attempt_are_counted_and_an_empty_set_has_no_figures() -> None:
    found = results()
    found.before["csqa"] = []
    found.after["math"] = []
    stages = (
        artifact("evaluate.before.csqa", no_attempt=4),
        artifact("evaluate.after.gsm8k"),
        artifact("attempts", no_attempt=1),
    )
    figures = collect(found, *stages)
    assert list(figures["eval"]) == ["gsm8k", "math"]
    assert figures["eval"]["math"]["after"] is None
    assert figures["unanswered"] == {"evaluate.before.csqa": 4}
    assert "evaluate.before.csqa: 4 problems without an attempt are in no figure" in shown(figures)


def test_a_type_is_fixed_persistent_or_new_by_the_last_round() -> None:
    def kind(name: str, size: int) -> ErrorType:
        return ErrorType(name, name, "", size, (), (), (), 1.0, (), round=1)

    found = results(rounds=[[kind("a", 5), kind("b", 3)], [kind("b", 1)], [kind("b", 2), kind("c", 4)]])
    table = {row["id"]: (row["mined"], row["status"]) for row in collect(found)["error_types"]}
    assert table == {"a": ([5, 0, 0], "fixed"), "b": ([3, 1, 2], "persistent"), "c": ([0, 0, 4], "new")}
    once = collect(results(rounds=[[kind("a", 5)]]))["error_types"]
    assert [(row["mined"], row["status"]) for row in once] == [([5], None)]
    assert collect(results())["error_types"] == []


@pytest.mark.parametrize("several", [False, True])
def test_tables_fit_a_terminal_of_100_columns_and_a_pipe_gets_a_line_a_row(several: bool) -> None:
    sets = ("out_of_domain", "college_math")
    found = results(domains={"out of domain": list(sets)})
    votes = [(0, 1), (1, 0)] if several else [(0,), (1,), (1,)]
    found.before = {name: rows(name, *(votes * 1000), level=True) for name in sets}
    found.after = found.second = found.before
    text = shown(collect(found))
    assert max(map(len, text.splitlines())) <= 100
    assert not [line for line in text.splitlines() if line.startswith("│   ")], "no row is folded"
    wide = results()
    wide.before = {
        "set": [dataclasses.replace(row, family="a family's name " * 20 + row.family) for row in found.before[sets[0]]]
    }
    piped = [line for line in shown(collect(wide), terminal=False).splitlines() if "family's name" in line]
    assert [line.count("family's name") for line in piped] == [20, 20]


@pytest.mark.parametrize(("theirs", "visible"), [("wrong", True), ("correct", False), ("", False)])
def test_the_second_grader_is_shown_where_it_differs(theirs: str, visible: bool) -> None:
    def graded(name: str) -> list[Outcome]:
        right = rows(name, *[(0,)] * 40)
        return [dataclasses.replace(row, math_verify=theirs if index < 4 else "correct" if theirs else "")
                for index, row in enumerate(right)]  # fmt: skip

    figures = collect(results(before={"gsm8k": graded("gsm8k")}, after={"gsm8k": graded("gsm8k")}))
    text = shown(figures)
    assert ("as math-verify grades it" in text) == visible
    if visible:
        assert figures["eval"]["gsm8k"]["math_verify"]["after"]["disagrees"] == 4
        assert "90.0 %" in text
