"""Which planted rules a run's error types found, and which its training mended: by hand-made types, items and run folders."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from sei.clustering.clusterers import KMeans
from sei.clustering.embedders import Hashing
from sei.errors import UserError
from sei.planted.__main__ import main, runs_below
from sei.planted.discovery import discover, followed, types_of_rules
from sei.planted.repair import Item, against_baseline, repairs, unharmed
from sei.records import Diagnosis, ErrorType, Mistake, Outcome, Problem, Verdict

QUESTION = "Ann has 9 pens. Ben has 4 more pens than Ann. How many pens do they have together?"
SOLUTION = "Ben has <<9+4=13>>13 pens.\nTogether they have <<9+13=22>>22 pens.\n#### 22"
PROBLEM = Problem.make(
    question=QUESTION, answer="22", solution=SOLUTION, source="arithmetic", split="test", family="more_than"
)


def error_type(name: str, *mistake_ids: str) -> ErrorType:
    return ErrorType(name, name, "", len(mistake_ids), (name,), (name,), mistake_ids, 1.0, (1.0,))


def item(seed: int, *, planted: bool, before: bool, after: bool, right_after: bool = False, key: str = "p") -> Item:
    shown = {"before": frozenset({"ten_parts"} if before else ()), "after": frozenset({"ten_parts"} if after else ())}
    return Item(("test", key), seed, {"ten_parts": planted}, shown, {"before": False, "after": right_after})  # type: ignore[arg-type]


@pytest.mark.parametrize(("output", "rule"), [("#### 14", "wrong_person"), ("#### 15", None), ("#### 22", None)])
def test_a_mistake_follows_the_rule_whose_answer_it_has(output: str, rule: str | None) -> None:
    mistake = Mistake("m", PROBLEM.id, "a", QUESTION, "22", SOLUTION, output, "tiny", "more_than", 2)
    assert followed([mistake]).get("m") == rule


def test_a_rule_is_found_by_a_type_that_holds_half_of_it_and_is_half_of_it() -> None:
    rule_of = {"1": "ten_parts", "2": "ten_parts", "3": "wrong_order", "4": "wrong_order", "5": "wrong_order"}
    types = [error_type("half", "1", "x"), error_type("mixed", "3", "4", "x", "y", "z")]
    assert {rule: kind.name for rule, kind in types_of_rules(types, rule_of).items()} == {"ten_parts": "half"}
    whole = [error_type("diluted", "1", "2", "x", "y", "z"), error_type("small", "3")]
    assert types_of_rules(whole, rule_of) == {}, "two of five mistakes; one of three"


def test_discovery_measures_types_against_rules() -> None:
    """Two sorts of phrases, five mistakes each, of which one is on the wrong side."""
    phrases = ["forgets the purchase"] * 5 + ["multiplies before adding"] * 5
    diagnoses = [Diagnosis(f"d{n}", f"m{n}", 1, "wrong", (phrase,), "") for n, phrase in enumerate(phrases)]
    rule_of = {f"m{n}": "last_forgotten" if n < 6 else "wrong_order" for n in range(10)}
    found, types = discover(diagnoses, rule_of, Hashing(), KMeans(min_types=2, max_types=2, max_share=1.0))
    assert (found.mistakes, found.following, found.types, len(types)) == (10, 10, 2, 2)
    assert found.purity == pytest.approx(0.9)
    # Contingency [[5, 0], [1, 4]]: pairs together in both 10 + 6, in types 10 + 10, in rules 15 + 6, of 45.
    assert found.rand == pytest.approx((16 - 20 * 21 / 45) / ((20 + 21) / 2 - 20 * 21 / 45))
    assert set(found.found) == {"last_forgotten", "wrong_order"}


def test_repair_counts_items_where_the_rule_was_planted_and_elsewhere() -> None:
    rows = [item(0, planted=True, before=True, after=False, right_after=True, key=str(n)) for n in range(20)]
    rows += [item(0, planted=True, before=False, after=False, key=f"w{n}") for n in range(5)]
    rows += [item(0, planted=False, before=False, after=True, right_after=True, key="e")]
    [row] = [one for one in repairs("sei", rows) if one.items]
    assert (row.rule, row.items, row.shown, row.right) == (
        "ten_parts", 25, {"before": 20, "after": 0}, {"before": 0, "after": 20},
    )  # fmt: skip
    assert (row.elsewhere, row.shown_elsewhere) == (1, {"before": 0, "after": 1})
    assert row.repaired
    assert unharmed(rows) == {"before": (0, 1), "after": (1, 1)}


def test_a_rule_that_half_of_the_items_still_show_is_not_repaired() -> None:
    rows = [item(0, planted=True, before=True, after=n < 10, key=str(n)) for n in range(20)]
    assert not any(row.repaired for row in repairs("sei", rows))
    few = [item(0, planted=True, before=True, after=False, key=str(n)) for n in range(3)]
    assert not any(row.repaired for row in repairs("sei", few)), "three items show too little"


def test_recipes_are_compared_with_cot_on_the_same_items() -> None:
    def rows(kept: int) -> list[Item]:
        return [item(0, planted=True, before=True, after=n < kept, key=f"{n:02}") for n in range(40)]

    found = against_baseline({"cot": rows(30), "sei": rows(10), "correction": rows(30)})
    assert [(row["recipe"], row["difference"]) for row in found] == [("sei", -0.5), ("correction", 0.0)]
    assert found[0]["p_holm"] == pytest.approx(2 * found[0]["p"])
    assert found[0]["p_holm"] < 0.01
    assert against_baseline({"sei": rows(10)}) == []


def make_run(folder: Path, data: str = "arithmetic") -> Path:
    """A finished run of one test item, which was answered by the planted rule and then right."""
    folder.mkdir(parents=True)
    outcome = Outcome("o", "in_domain", PROBLEM.id, "more_than", Verdict.WRONG, "#### 14")
    after = dataclasses.replace(outcome, verdict=Verdict.CORRECT, output="#### 22")
    for name, text in (
        ("status.json", json.dumps({"status": "done"})),
        ("config.yaml", f"data: {{name: {data}}}"),
        ("results.json", json.dumps({"recipe": "cot", "seed": 0, "tokens_trained": 10})),
        ("test_problems.jsonl", json.dumps(PROBLEM.to_json())),
        ("outcomes_before.jsonl", json.dumps(outcome.to_json())),
        ("outcomes.jsonl", json.dumps(after.to_json())),
    ):
        (folder / name).write_text(text + "\n", encoding="utf-8")
    return folder


def test_the_command_reads_a_run_and_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run")
    main([str(run)])
    assert "Repair: % of test items with each planted rule" in capsys.readouterr().out
    figures = json.loads((run / "planted.json").read_text(encoding="utf-8"))
    assert figures["discovery"] is None, "recipe cot diagnoses nothing"
    [row] = [row for row in figures["repair"]["rules"] if row["items"]]
    assert (row["recipe"], row["rule"], row["shown"], row["right"]) == (
        "cot", "wrong_person", {"before": 1, "after": 0}, {"before": 0, "after": 1},
    )  # fmt: skip


def test_runs_that_differ_in_something_unsaid_are_not_put_together(tmp_path: Path) -> None:
    make_run(tmp_path / "long")
    make_run(tmp_path / "short")
    with pytest.raises(SystemExit, match=r"both are recipe=cot with seed=0, and something else differs"):
        main([str(tmp_path)])


def test_runs_that_cannot_be_measured_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run here or below"):
        runs_below([tmp_path])
    make_run(tmp_path / "other", data="gsm8k")
    with pytest.raises(UserError, match=r"its data are gsm8k; wrong rules were planted in data=arithmetic alone"):
        runs_below([tmp_path])
