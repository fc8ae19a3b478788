"""`python -m sei.compare` on small run folders made by hand."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sei import compare
from sei.errors import UserError
from sei.records import Outcome, Verdict
from sei.statistics import shares_interval
from sei.terminal import Terminal
from sei.workspace import write_records

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(
        recipe: str,
        seed: int,
        after: str | None,
        *,
        before: str = "0000",
        overrides: tuple[str, ...] = (),
        **more: object,
    ) -> Path:
        """A finished run; `before` and `after` have one character per test item, 1 for right."""
        folder = tmp_path / str(more.get("name", "-".join([recipe, *overrides, str(seed)])))
        folder.mkdir()
        for name, marks in (("outcomes_before", before), ("outcomes", after or "")):
            verdicts = [Verdict.CORRECT if mark == "1" else Verdict.WRONG for mark in marks]
            rows = [Outcome(f"o{i}", "test", f"p{i}", "", verdict, "") for i, verdict in enumerate(verdicts)]
            write_records(folder / f"{name}.jsonl", rows)
        results = {
            "recipe": recipe,
            "model": "tiny",
            "seed": seed,
            "status": "done",
            "overrides": [f"recipe={recipe}", f"seed={seed}", *overrides],
            "tokens_trained": more.get("tokens", 1000),
            "second_pass": more.get("second_pass", {}),
            "located": more.get("located", {}),
        }
        (folder / "results.json").write_text(json.dumps(results))
        if "config" in more:
            (folder / "config.yaml").write_text(json.dumps({"seed": seed, **more["config"]}))  # type: ignore[dict-item]
        (folder / "status.json").write_text('{"status": "done"}')
        return folder

    return make


def _rows(comparison: compare.Comparison, kind: str) -> list[compare.Row]:
    return [row for row in comparison.rows if row.kind == kind]


def test_second_pass_and_checks_as_means_over_seeds(make_run: MakeRun, tmp_path: Path) -> None:
    paper = {"model": "tiny", "recipe": "sc", "set": "test", "accuracy": 61.5, "second_pass": True}
    for seed, right, found in ((0, 3, 0.5), (1, 1, 0.25)):
        second = {"test": {"n": 4, "second": {"accuracy": right / 4}, "right_to_wrong": 1, "wrong_to_right": 0}}
        checked = {"set": "test", "located": {"mean": found}, "corrected": {"mean": 0.0}}
        student = {"set": "test", "located": {"mean": 0.9}, "corrected": {"mean": 0.9}}
        make_run(
            "sc",
            seed,
            "1100",
            second_pass=second,
            located={"student": student, "adapter": checked},
            config={"expected": [paper]},
        )
    make_run("cot", 0, "1100")
    comparison = compare.compare(compare.find_runs([tmp_path]))
    shares = {row.remark: row for row in _rows(comparison, "share")}
    assert {name: row.after for name, row in shares.items()} == {
        "second pass": 0.5,
        "right to wrong": 0.25,
        "wrong to right": 0.0,
        "step found": 0.375,
        "corrected": 0.0,
    }
    assert shares["step found"].recipe == "sc"
    assert shares["step found"].seeds == "0 1"
    # Student's t for two values: half-width 12.7062 * 0.125 (standard error of 0.5 and 0.25).
    assert shares["step found"].high == pytest.approx(0.375 + 12.7062 * 0.125, abs=1e-3)
    text = io.StringIO()
    compare.show(comparison, Terminal(file=text, width=200))
    assert "37.5 [" in text.getvalue()
    assert (shares["second pass"].paper, shares["step found"].paper) == (0.615, None)
    assert "(paper 61.5)" in text.getvalue()
    assert all(row.paper is None for row in _rows(comparison, "accuracy"))


def test_accuracy_and_paired_rows_by_hand(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("cot", 0, "1100", before="1000")
    make_run("cot", 1, "1000", before="1000")
    make_run("sei", 0, "1011", before="1000")
    make_run("sei", 1, "1111", before="1000")
    comparison = compare.compare(compare.find_runs([tmp_path]))
    cot, sei = _rows(comparison, "accuracy")
    assert (cot.recipe, cot.seeds, cot.items, cot.before, cot.after) == ("cot", "0 1", 4, 0.25, 0.375)
    assert (sei.after, sei.difference) == (0.875, 0.625)
    # Two seeds 0.5 and 0.25: standard error 0.125, t(0.975, 1) = 12.7062 -> half width 1.588275
    assert cot.high == pytest.approx(0.375 + 1.588275, abs=1e-5)
    (paired,) = _rows(comparison, "paired")
    assert (paired.recipe, paired.against, paired.difference) == ("sei", "cot", 0.5)
    # Seed 0: items 2 and 3 by sei alone, item 1 by cot alone. Seed 1: three by sei alone, p = 2 / 2^3.
    assert [(row.seeds, row.only_recipe, row.only_against) for row in _rows(comparison, "mcnemar")] == [
        ("0", 2, 1),
        ("1", 3, 0),
    ]
    assert _rows(comparison, "mcnemar")[1].p == pytest.approx(0.25)


def test_outcomes_are_paired_by_item_and_not_by_line(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("cot", 0, "1100")
    other = make_run("sei", 0, "1100")
    lines = (other / "outcomes.jsonl").read_text().splitlines(keepends=True)
    (other / "outcomes.jsonl").write_text("".join(reversed(lines)))
    (test,) = _rows(compare.compare(compare.find_runs([tmp_path])), "mcnemar")
    assert (test.only_recipe, test.only_against) == (0, 0)


def test_differing_overrides_make_groups_but_where_and_how_does_not(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("sei", 0, "1100", overrides=("recipe.rounds=3", "model=tiny", "logger=none"))
    make_run("sei", 1, "1100", overrides=("recipe.rounds=3", "model=tiny", "logger=offline"))
    make_run("sei", 1, "1000", overrides=("model=tiny",))
    comparison = compare.compare(compare.find_runs([tmp_path]))
    assert {label: len(runs) for label, runs in comparison.groups.items()} == {"sei": 1, "sei, recipe.rounds=3": 2}


def variant(*, explanation: bool = True, step: bool = True, **more: object) -> dict[str, object]:
    """The composed configuration of one variant of LeMa's recipe."""
    return {
        "model": {"name": "tiny"},
        "recipe": {"name": "correction", "correction": {"explanation": explanation, "step": step}},
        **more,
    }


def test_an_ablation_is_one_row_a_variant_tested_against_the_plain_recipe(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        make_run("correction", seed, "1110", config=variant())
        explanation = ("recipe.correction.explanation=false", "experiment=lema_ablation")
        make_run("correction", seed, "1100", overrides=explanation, config=variant(explanation=False))
        step = ("recipe.correction.step=false", "cache_dir=elsewhere")
        make_run("correction", seed, "1000", overrides=step, config=variant(step=False))
    comparison = compare.compare(compare.find_runs([tmp_path]))
    first, second, third = (
        "correction",
        "correction, experiment=lema_ablation, recipe.correction.explanation=false",
        "correction, recipe.correction.step=false",
    )
    assert {label: [run.seed for run in runs] for label, runs in comparison.groups.items()} == {
        first: [0, 1, 2],
        second: [0, 1, 2],
        third: [0, 1, 2],
    }
    assert [row.after for row in _rows(comparison, "accuracy")] == [0.75, 0.5, 0.25]
    against = {(row.recipe, row.against): row.difference for row in _rows(comparison, "paired")}
    assert against == {(second, first): -0.25, (third, first): -0.5}
    other = compare.compare(compare.find_runs([tmp_path]), baseline=third)
    against = {(row.recipe, row.against): row.difference for row in _rows(other, "paired")}
    assert against == {(first, third): 0.5, (second, third): 0.25}
    assert not any("no override" in remark for remark in comparison.remarks)
    with pytest.raises(UserError, match=r"--baseline 'sei': no such group. Choose one of: correction; correction, exp"):
        compare.compare(compare.find_runs([tmp_path]), baseline="sei")


def test_an_override_that_says_the_default_sets_nothing_apart(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("correction", 0, "1110", config=variant())
    make_run("correction", 1, "1110", overrides=("recipe.correction.step=true", "model=tiny"), config=variant())
    make_run("correction", 0, "1000", overrides=("recipe.correction.step=false",), config=variant(step=False))
    groups = compare.compare(compare.find_runs([tmp_path])).groups
    assert {label: len(runs) for label, runs in groups.items()} == {
        "correction": 2,
        "correction, recipe.correction.step=false": 1,
    }


def test_null_sets_a_value_apart_but_not_a_group(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("correction", 0, "1110", overrides=("ablation=none",))
    make_run("correction", 1, "1110")
    make_run("correction", 0, "1000", overrides=("recipe.training.tokens=null",))
    groups = compare.compare(compare.find_runs([tmp_path])).groups
    assert list(groups) == ["correction", "correction, recipe.training.tokens=null"]


def test_runs_that_differ_without_saying_so_are_named(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("correction", 0, "1110", config=variant(logger={"kind": "none"}))
    make_run("correction", 1, "1110", config=variant(step=False, logger={"kind": "offline"}))
    remarks = compare.compare(compare.find_runs([tmp_path])).remarks
    assert "correction: its runs differ in recipe.correction.step, although no override of theirs sets it" in remarks


def test_the_papers_figure_stands_beside_the_measured_one(make_run: MakeRun, tmp_path: Path) -> None:
    entry = {"model": "tiny", "recipe": "correction", "set": "test", "accuracy": 54.1, "source": "LeMa table 1"}
    narrow = {**entry, "accuracy": 51.5, "source": "LeMa table 4", "ablation": "without_step"}
    others = [{**entry, key: "other", "accuracy": 1} for key in ("model", "recipe", "set", "data")]
    expected = [*others, narrow, entry]
    make_run("correction", 1, "1110", overrides=("expected=[]",), config=variant(expected=[]))
    make_run("correction", 0, "1110", overrides=('ablation="null"',), config=variant(expected=expected))
    make_run(
        "correction", 0, "1100", overrides=("ablation=without_step",), config=variant(step=False, expected=expected)
    )
    make_run("correction", 0, "0000", overrides=("ablation=qlora",), config=variant(expected=expected))
    comparison = compare.compare(compare.find_runs([tmp_path]))
    assert [(row.recipe, row.after, row.paper, row.remark) for row in _rows(comparison, "accuracy")] == [
        ("correction", 0.75, 0.541, "paper: LeMa table 1"),
        ("correction, ablation=qlora", 0.0, None, ""),
        ("correction, ablation=without_step", 0.5, 0.515, "paper: LeMa table 4"),
    ]
    assert {row.against for row in _rows(comparison, "paired")} == {"correction"}
    console = Terminal(file=io.StringIO(), width=100)
    compare.show(comparison, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "measured" in text
    assert "54.1 %" in text


def test_an_expected_figure_without_its_set_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("correction", 0, "1110", config=variant(expected=[{"model": "tiny", "accuracy": 1}]))
    with pytest.raises(UserError, match=r"expected has .* needs model, recipe, set, accuracy"):
        compare.compare(compare.find_runs([tmp_path]))


def test_items_of_several_samples_are_shares_and_have_no_mcnemar(make_run: MakeRun, tmp_path: Path) -> None:
    for recipe, votes in (("cot", (0, 1)), ("sei", (0, 0))):
        folder = make_run(recipe, 0, "1100")
        rows = [Outcome(f"o{i}", "test", f"p{i}", "", Verdict.CORRECT, "", votes=votes) for i in range(4)]
        write_records(folder / "outcomes.jsonl", rows)
    comparison = compare.compare(compare.find_runs([tmp_path]))
    assert [row.after for row in _rows(comparison, "accuracy")] == [0.5, 1.0]
    assert _rows(comparison, "accuracy")[0].low == shares_interval([[0.5] * 4]).low
    assert [row.difference for row in _rows(comparison, "paired")] == [0.5]
    assert _rows(comparison, "mcnemar") == []


def test_one_seed_is_said_and_has_wilson(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("cot", 0, "1100")
    make_run("sei", 0, "1110")
    comparison = compare.compare(compare.find_runs([tmp_path]))
    assert _rows(comparison, "accuracy")[0].low == pytest.approx(0.150, abs=1e-3)  # Wilson of 2 in 4
    assert _rows(comparison, "paired")[0].remark == "one seed: bootstrap over items only"
    assert any("cot has one seed" in remark for remark in comparison.remarks)
    assert any("one common seed" in remark for remark in comparison.remarks)


def test_missing_partners_and_unequal_budgets_are_said(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("cot", 0, "1100", tokens=1000)
    make_run("sei", 0, "1110", tokens=1500)
    make_run("sei", 1, "1110", tokens=1500)
    comparison = compare.compare(compare.find_runs([tmp_path]))
    assert _rows(comparison, "paired")[0].seeds == "0"
    assert any("cot has no finished run of seed 1" in remark for remark in comparison.remarks)
    assert any("budgets differ: 1,000 to 1,500" in remark for remark in comparison.remarks)


def test_failed_and_unfinished_jobs_are_shown(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("cot", 0, "1100")
    failed = make_run("sei", 0, "1110")  # an older result below a later failure must not count
    (failed / "status.json").write_text('{"status": "failed", "error": "UserError: disk [full]"}')
    (failed / "config.yaml").write_text("recipe: {name: sei}\nseed: 7\n")
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / "status.json").write_text('{"status": "running"}')
    comparison = compare.compare(compare.find_runs([tmp_path]))
    assert list(comparison.groups) == ["cot"]
    rows = {row.recipe: row for row in _rows(comparison, "failed")}
    assert (rows["sei"].seeds, rows["sei"].remark) == ("7", "UserError: disk [full]")
    assert "did not finish" in rows["killed"].remark
    console = Terminal(file=io.StringIO(), width=100)
    compare.show(comparison, console)
    assert "disk [full]" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_job_run_twice_counts_once(make_run: MakeRun, tmp_path: Path) -> None:
    old, new = make_run("cot", 0, "0000", name="a"), make_run("cot", 0, "1111", name="b")
    os.utime(old / "results.json", (1, 1))
    comparison = compare.compare(compare.find_runs([tmp_path]))
    assert [run.folder for run in comparison.groups["cot"]] == [new]
    assert any("left out" in remark for remark in comparison.remarks)


def test_untrained_runs_have_no_tests(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("cot", 0, None, before="1000")
    make_run("sei", 0, "1110")
    comparison = compare.compare(compare.find_runs([tmp_path]))
    assert _rows(comparison, "accuracy")[0].remark == "not trained"
    assert not _rows(comparison, "paired")
    console = Terminal(file=io.StringIO(), width=100)
    compare.show(comparison, console)


def test_different_test_items_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("cot", 0, "1100")
    make_run("sei", 0, "11000", before="00000")
    with pytest.raises(
        UserError, match=r"evaluation set test: .*sei-0 \(5 items\).*cot-0 \(4 items\).* 4 items in common"
    ):
        compare.compare(compare.find_runs([tmp_path]))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("results.json", "{", "cannot be read \\(Expecting property name"),
        ("results.json", '{"recipe": "cot"}', "field 'overrides' is missing"),
        ("outcomes.jsonl", '{"id": 1}\n', "cannot be read as Outcome \\(id: Input should be"),
    ],
)
def test_damaged_runs_are_named(make_run: MakeRun, tmp_path: Path, file: str, text: str, message: str) -> None:
    (make_run("cot", 0, "1100") / file).write_text(text)
    with pytest.raises(UserError, match=f"cot-0.*{message}"):
        compare.find_runs([tmp_path])


def test_command_writes_files_and_prints_csv_off_a_terminal(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for recipe, after in (("cot", "1100"), ("sei", "1110")):
        make_run(recipe, 0, after)
        make_run(recipe, 1, after)
    compare.main([str(tmp_path)])
    printed = capsys.readouterr()
    assert printed.out == (tmp_path / "compare.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert [row["kind"] for row in rows] == ["accuracy", "accuracy", "paired", "mcnemar", "mcnemar"]
    assert rows[2]["difference"] == "0.25"
    assert "wrote compare.csv, compare.png and report.html" in printed.err
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert "sei − cot" in (tmp_path / "report.html").read_text()


def test_command_with_nothing_but_failures_or_untrained_runs(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = tmp_path / "failed"
    failed.mkdir()
    (failed / "status.json").write_text('{"status": "failed", "error": "UserError: no"}')
    compare.main([str(failed)])
    printed = capsys.readouterr()
    assert "UserError: no" in printed.out
    assert not (failed / "compare.png").exists()
    untrained = make_run("cot", 0, None, before="1000")
    compare.main([str(untrained)])
    assert "not trained" in capsys.readouterr().out


def test_command_without_runs_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no run folders below"):
        compare.main([str(tmp_path)])
    with pytest.raises(SystemExit, match="no such folder"):
        compare.main([str(tmp_path / "nowhere")])
