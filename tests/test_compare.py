"""`python -m sei.compare` on small run folders made by hand."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sei.compare import main, show
from sei.comparison.figure import plot
from sei.comparison.output import write
from sei.comparison.rows import Comparison, Kind, Row, compare
from sei.comparison.runs import find_runs
from sei.errors import UserError
from sei.records import Outcome, Verdict
from sei.statistics import holm, shares_interval
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


def _rows(comparison: Comparison, kind: Kind) -> list[Row]:
    return comparison.of_kind(kind)


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
    comparison = compare(find_runs([tmp_path]))
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
    # Student's t for two values: half-width 12.7062 * 0.125 (standard error of 0.5 and 0.25), cut at 0 and 1.
    assert (shares["step found"].low, shares["step found"].high) == (0.0, 1.0)
    text = io.StringIO()
    show(comparison, Terminal(file=text, width=200))
    assert "37.5 [" in text.getvalue()
    assert (shares["second pass"].paper, shares["step found"].paper) == (0.615, None)
    assert "(paper 61.5)" in text.getvalue()
    assert all(row.paper is None for row in _rows(comparison, "accuracy"))


def test_accuracy_and_paired_rows_by_hand(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("cot", 0, "1100", before="1000")
    make_run("cot", 1, "1000", before="1000")
    make_run("sei", 0, "1011", before="1000")
    make_run("sei", 1, "1111", before="1000")
    comparison = compare(find_runs([tmp_path]))
    cot, sei = _rows(comparison, "accuracy")
    assert (cot.recipe, cot.seeds, cot.items, cot.before, cot.after) == ("cot", "0 1", 4, 0.25, 0.375)
    assert (sei.after, sei.difference) == (0.875, 0.625)
    # Two seeds 0.5 and 0.25: standard error 0.125, t(0.975, 1) = 12.7062 -> half width 1.588275, cut at 0 and 1
    assert (cot.low, cot.high) == (0.0, 1.0)
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
    (test,) = _rows(compare(find_runs([tmp_path])), "mcnemar")
    assert (test.only_recipe, test.only_against) == (0, 0)


def test_differing_overrides_make_groups_but_where_and_how_does_not(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("sei", 0, "1100", overrides=("recipe.rounds=3", "model=tiny", "logger=none"))
    make_run("sei", 1, "1100", overrides=("recipe.rounds=3", "model=tiny", "logger=offline"))
    make_run("sei", 1, "1000", overrides=("model=tiny",))
    comparison = compare(find_runs([tmp_path]))
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
    comparison = compare(find_runs([tmp_path]))
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
    other = compare(find_runs([tmp_path]), baseline=third)
    against = {(row.recipe, row.against): row.difference for row in _rows(other, "paired")}
    assert against == {(first, third): 0.5, (second, third): 0.25}
    assert not any("no override" in remark for remark in comparison.remarks)
    with pytest.raises(UserError, match=r"--baseline 'sei': no such group. Choose one of: correction; correction, exp"):
        compare(find_runs([tmp_path]), baseline="sei")


def test_an_override_that_says_the_default_sets_nothing_apart(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("correction", 0, "1110", config=variant())
    make_run("correction", 1, "1110", overrides=("recipe.correction.step=true", "model=tiny"), config=variant())
    make_run("correction", 0, "1000", overrides=("recipe.correction.step=false",), config=variant(step=False))
    groups = compare(find_runs([tmp_path])).groups
    assert {label: len(runs) for label, runs in groups.items()} == {
        "correction": 2,
        "correction, recipe.correction.step=false": 1,
    }


def test_null_sets_a_value_apart_but_not_a_group(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("correction", 0, "1110", overrides=("ablation=none",))
    make_run("correction", 1, "1110")
    make_run("correction", 0, "1000", overrides=("recipe.training.tokens=null",))
    groups = compare(find_runs([tmp_path])).groups
    assert list(groups) == ["correction", "correction, recipe.training.tokens=null"]


def test_runs_that_differ_without_saying_so_are_named(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("correction", 0, "1110", config=variant(logger={"kind": "none"}))
    make_run("correction", 1, "1110", config=variant(step=False, logger={"kind": "offline"}))
    remarks = compare(find_runs([tmp_path])).remarks
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
    comparison = compare(find_runs([tmp_path]))
    assert [(row.recipe, row.after, row.paper, row.remark) for row in _rows(comparison, "accuracy")] == [
        ("correction", 0.75, 0.541, "paper: LeMa table 1"),
        ("correction, ablation=qlora", 0.0, None, ""),
        ("correction, ablation=without_step", 0.5, 0.515, "paper: LeMa table 4"),
    ]
    assert {row.against for row in _rows(comparison, "paired")} == {"correction"}
    console = Terminal(file=io.StringIO(), width=100)
    show(comparison, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "measured" in text
    assert "54.1" in text


def test_an_expected_figure_without_its_set_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("correction", 0, "1110", config=variant(expected=[{"model": "tiny", "accuracy": 1}]))
    with pytest.raises(UserError, match=r"expected has .* needs model, recipe, set, accuracy"):
        compare(find_runs([tmp_path]))


def test_items_of_several_samples_are_shares_and_have_no_mcnemar(make_run: MakeRun, tmp_path: Path) -> None:
    for recipe, votes in (("cot", (0, 1)), ("sei", (0, 0))):
        folder = make_run(recipe, 0, "1100")
        rows = [Outcome(f"o{i}", "test", f"p{i}", "", Verdict.CORRECT, "", votes=votes) for i in range(4)]
        write_records(folder / "outcomes.jsonl", rows)
    comparison = compare(find_runs([tmp_path]))
    assert [row.after for row in _rows(comparison, "accuracy")] == [0.5, 1.0]
    assert _rows(comparison, "accuracy")[0].low == shares_interval([[0.5] * 4]).low
    assert [row.difference for row in _rows(comparison, "paired")] == [0.5]
    assert _rows(comparison, "mcnemar") == []


def test_one_seed_is_said_and_has_wilson(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("cot", 0, "1100")
    make_run("sei", 0, "1110")
    comparison = compare(find_runs([tmp_path]))
    assert _rows(comparison, "accuracy")[0].low == pytest.approx(0.150, abs=1e-3)  # Wilson of 2 in 4
    assert _rows(comparison, "paired")[0].remark == "one seed: bootstrap over items only"
    assert any("cot has one seed" in remark for remark in comparison.remarks)
    assert any("one common seed" in remark for remark in comparison.remarks)


def test_missing_partners_and_unequal_budgets_are_said(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("cot", 0, "1100", tokens=1000)
    make_run("sei", 0, "1110", tokens=1500)
    make_run("sei", 1, "1110", tokens=1500)
    comparison = compare(find_runs([tmp_path]))
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
    comparison = compare(find_runs([tmp_path]))
    assert list(comparison.groups) == ["cot"]
    rows = {row.recipe: row for row in _rows(comparison, "failed")}
    assert (rows["sei"].seeds, rows["sei"].remark) == ("7", "UserError: disk [full]")
    assert "did not finish" in rows["killed"].remark
    console = Terminal(file=io.StringIO(), width=100)
    show(comparison, console)
    assert "disk [full]" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_job_run_twice_counts_once(make_run: MakeRun, tmp_path: Path) -> None:
    old, new = make_run("cot", 0, "0000", name="a"), make_run("cot", 0, "1111", name="b")
    os.utime(old / "results.json", (1, 1))
    comparison = compare(find_runs([tmp_path]))
    assert [run.name for run in comparison.groups["cot"]] == [str(new)]
    assert any("left out" in remark for remark in comparison.remarks)


def test_untrained_runs_have_no_tests(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("cot", 0, None, before="1000")
    make_run("sei", 0, "1110")
    comparison = compare(find_runs([tmp_path]))
    assert _rows(comparison, "accuracy")[0].remark == "not trained"
    assert not _rows(comparison, "paired")
    console = Terminal(file=io.StringIO(), width=100)
    show(comparison, console)


def test_runs_on_different_items_are_compared_apart(make_run: MakeRun, tmp_path: Path) -> None:
    for recipe in ("cot", "sei"):
        make_run(recipe, 0, "1100")
        long = ("data.test=5",)
        make_run(recipe, 0, "11000", before="00000", overrides=long)
    uneven = make_run("sei", 1, "110", before="0000")
    comparison = compare(find_runs([tmp_path]))
    assert {(row.eval_set, row.recipe): row.items for row in _rows(comparison, "accuracy")} == {
        ("test (4 items)", "cot"): 4,
        ("test (4 items)", "sei"): 4,
        ("test (5 items)", "cot, data.test=5"): 5,
        ("test (5 items)", "sei, data.test=5"): 5,
        ("test (3 items)", "sei"): 3,
    }
    assert {(row.eval_set, row.recipe, row.against) for row in _rows(comparison, "paired")} == {
        ("test (4 items)", "sei", "cot"),
        ("test (5 items)", "sei, data.test=5", "cot, data.test=5"),
    }
    said = "test: 3 different choices of items (4 items in 2 runs, 5 items in 2 runs, 3 items in 1 run)"
    assert any(remark.startswith(said) for remark in comparison.remarks)
    (left_out,) = [remark for remark in comparison.remarks if remark.startswith("left out: ")]
    assert f"1 item of test in {uneven}, answered only before or only after training" in left_out
    assert "cot, data.test=5 against cot, which have no trained runs of the same seed and items" in left_out


def test_cot_comes_first_and_each_is_tested_against_it(make_run: MakeRun, tmp_path: Path) -> None:
    rank = ("recipe.training.rank=4",)
    for recipe, overrides, after in (
        ("cot", (), "1000"),
        ("cot", rank, "1100"),
        ("correction", (), "1110"),
        ("sei", rank, "1111"),
        ("sei", ("recipe.rounds=2",), "0000"),
    ):
        make_run(recipe, 0, after, overrides=overrides)
    comparison = compare(find_runs([tmp_path]))
    assert list(comparison.groups) == [
        "cot", "correction", "cot, recipe.training.rank=4", "sei, recipe.rounds=2", "sei, recipe.training.rank=4",
    ]  # fmt: skip
    assert {(row.recipe, row.against): row.difference for row in _rows(comparison, "paired")} == {
        ("correction", "cot"): 0.5,
        ("cot, recipe.training.rank=4", "cot"): 0.25,
        ("sei, recipe.rounds=2", "cot"): -0.25,
        ("sei, recipe.training.rank=4", "cot, recipe.training.rank=4"): 0.5,
    }
    tests = _rows(comparison, "paired")
    assert [row.p_holm for row in tests] == holm([row.p or 0.0 for row in tests])
    named = compare(find_runs([tmp_path]), baseline="correction")
    assert next(iter(named.groups)) == "correction"
    assert {row.against for row in _rows(named, "paired")} == {"correction"}


def test_transitions_by_hand(make_run: MakeRun, tmp_path: Path) -> None:
    """Four items, two seeds: by item fixed 1 of 2, broken 0 of 2, fixed 2 of 2, still wrong twice."""
    for seed, marks in ((0, "0110"), (1, "1110")):
        folder = make_run("sei", seed, "0000")
        for name, rights in (("outcomes_before", "0100"), ("outcomes", marks)):
            verdicts = [Verdict.CORRECT if mark == "1" else Verdict.WRONG for mark in rights]
            rows = [
                Outcome(
                    f"o{i}", "test", f"p{i}", "ab"[i % 2], verdict, "", "type-x" if verdict is Verdict.WRONG else ""
                )
                for i, verdict in enumerate(verdicts)
            ]
            write_records(folder / f"{name}.jsonl", rows)
        results = json.loads((folder / "results.json").read_text())
        results["error_types"] = [{"id": "type-x", "name": "sign lost"}]
        (folder / "results.json").write_text(json.dumps(results))
    found = {(row.by, row.part): row for row in _rows(compare(find_runs([tmp_path])), "transition")}
    assert list(found) == [("all", ""), ("family", "a"), ("family", "b"), ("error type", "sign lost")]
    whole = found["all", ""]
    assert (whole.fixed, whole.broken, whole.still_wrong, whole.still_right) == (3, 0, 3, 2)
    assert whole.fixed_share == pytest.approx((0.5 + 1 + 0) / 3)
    assert whole.fixed_low == pytest.approx(shares_interval([[0.5, 1, 0]]).low)
    assert (whole.broken_share, whole.broken_low) == (0.0, 0.0)
    b = found["family", "b"]
    assert (b.fixed, b.broken, b.still_wrong, b.still_right) == (0, 0, 2, 2)
    kind = found["error type", "sign lost"]
    assert (kind.fixed, kind.broken, kind.still_wrong, kind.still_right) == (3, 0, 3, None)


def test_a_type_that_items_broke_into(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("sei", 0, "00", before="11")
    rows = [Outcome(f"o{i}", "test", f"p{i}", "", Verdict.WRONG, "", f"type-{i}") for i in range(2)]
    write_records(folder / "outcomes.jsonl", rows)
    results = json.loads((folder / "results.json").read_text()) | {
        "error_types": [{"id": "type-0", "name": "sign lost"}]
    }
    (folder / "results.json").write_text(json.dumps(results))
    kinds = [row for row in _rows(compare(find_runs([tmp_path])), "transition") if row.by == "error type"]
    assert [(row.part, row.fixed, row.broken, row.fixed_share) for row in kinds] == [("sign lost", 0, 1, None)]


def test_cost_is_tokens_seconds_and_dollars(make_run: MakeRun, tmp_path: Path) -> None:
    for seed, seconds in ((0, 10.0), (1, 20.0)):
        folder = make_run("cot", seed, "1100", tokens=100 + seed)
        results = json.loads((folder / "results.json").read_text()) | {"seconds": {"a": seconds, "b": 1.0}}
        (folder / "results.json").write_text(json.dumps(results))
    asked = make_run("sei", 0, "1110")
    (asked / "teacher.json").write_text(json.dumps({"store": str(tmp_path / "gone.sqlite"), "run": "r"}))
    cot, sei = _rows(compare(find_runs([tmp_path])), "accuracy")
    assert (cot.tokens_trained, cot.seconds, cot.dollars) == (100.5, 16.0, 0.0)
    assert (sei.seconds, sei.dollars) == (None, None), "neither is known"


@pytest.mark.parametrize(
    ("ending", "begins", "holds"),
    [
        ("md", b"**Accuracy on te\\_st (4 items), %", rb"| cot, a\|b\_c=1 | 1 | 0.0 | 50.0 |"),
        ("tex", b"% needs \\usepackage{booktabs}", rb"cot, a|b\_c=1 & 1 & 0.0 & 50.0 & {[}15.0, 85.0] "),
        ("csv", b"kind,eval_set,recipe,against", b'paired,te_st,sei,"cot, a|b_c=1",0,4,'),
        ("pdf", b"%PDF", b""),
        ("svg", b"<?xml", b"te st (4 items)"),
        ("png", b"\x89PNG", b""),
    ],
)
def test_output_by_its_ending(make_run: MakeRun, tmp_path: Path, ending: str, begins: bytes, holds: bytes) -> None:
    for recipe, after in (("cot", "1100"), ("sei", "1110")):
        folder = make_run(recipe, 0, after, overrides=("a|b_c=1",) if recipe == "cot" else ())
        for path in folder.glob("outcomes*"):
            path.write_text(path.read_text().replace('"eval_set": "test"', '"eval_set": "te_st"'))
    write(compare(find_runs([tmp_path])), tmp_path / f"out.{ending}")
    written = (tmp_path / f"out.{ending}").read_bytes()
    assert written.startswith(begins)
    assert holds in written


def test_panels_have_one_axis_of_accuracy_within_its_range(make_run: MakeRun, tmp_path: Path) -> None:
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    for recipe, after in (("cot", "1100"), ("sei", "1111")):
        for seed in (0, 1):
            make_run(recipe, seed, after, tokens=1000 if recipe == "cot" else 2000)
    kept: list[Figure] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyplot, "close", kept.append)
        plot(compare(find_runs([tmp_path])), tmp_path / "out.png")
    axes = kept[0].get_axes()
    assert [axis.get_xlabel() for axis in axes] == ["", "training tokens"], "dollars are nought for both"
    assert {axis.get_ylim() for axis in axes} == {(0.0, 100.0)}


def test_an_output_that_cannot_be_is_refused_at_once(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("cot", 0, "1100")
    with pytest.raises(SystemExit, match=r"--output a.docx: the form follows from the ending, one of .md, .tex"):
        main([str(tmp_path), "--output", "a.docx"])
    with pytest.raises(SystemExit, match="there is no folder"):
        main([str(tmp_path), "--output", str(tmp_path / "no" / "a.md")])
    assert not (tmp_path / "compare.csv").exists()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("results.json", "{", "cannot be read \\(Expecting property name"),
        ("results.json", '{"recipe": "cot"}', "field 'seed' is missing"),
        ("outcomes.jsonl", '{"id": 1}\n', "cannot be read as Outcome \\(id: Input should be"),
    ],
)
def test_damaged_runs_are_named(make_run: MakeRun, tmp_path: Path, file: str, text: str, message: str) -> None:
    (make_run("cot", 0, "1100") / file).write_text(text)
    with pytest.raises(UserError, match=f"cot-0.*{message}"):
        find_runs([tmp_path])


def test_command_writes_files_and_prints_csv_off_a_terminal(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for recipe, after in (("cot", "1100"), ("sei", "1110")):
        make_run(recipe, 0, after)
        make_run(recipe, 1, after)
    main([str(tmp_path)])
    printed = capsys.readouterr()
    assert printed.out == (tmp_path / "compare.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert [row["kind"] for row in rows] == [
        "accuracy", "accuracy", "paired", "mcnemar", "mcnemar", "transition", "transition",
    ]  # fmt: skip
    assert rows[2]["difference"] == "0.25"
    names = ("compare.csv", "compare.png", "report.html")
    assert f"wrote {', '.join(str(tmp_path / name) for name in names)}" in printed.err
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert "sei − cot" in (tmp_path / "report.html").read_text()


def test_command_with_nothing_but_failures_or_untrained_runs(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = tmp_path / "failed"
    failed.mkdir()
    (failed / "status.json").write_text('{"status": "failed", "error": "UserError: no"}')
    main([str(failed)])
    printed = capsys.readouterr()
    assert "UserError: no" in printed.out
    assert not (failed / "compare.png").exists()
    untrained = make_run("cot", 0, None, before="1000")
    main([str(untrained)])
    assert "not trained" in capsys.readouterr().out


def test_command_without_runs_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no run folders below"):
        main([str(tmp_path)])
    with pytest.raises(SystemExit, match="no such folder"):
        main([str(tmp_path / "nowhere")])
