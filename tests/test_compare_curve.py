"""`python -m sei.compare --curve KEY` on small run folders made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sei.compare import main
from sei.comparison.curve import curves, sheets
from sei.comparison.rows import compare
from sei.comparison.runs import find_runs
from sei.errors import UserError
from sei.records import Outcome, Verdict
from sei.workspace import write_records


def make_run(folder: Path, recipe: str, seed: int, train: int, right: int, *, items: int = 40, first: int = 0) -> None:
    """A finished run with `right` of its items right after training. The items are named by seed: each has its own."""
    run = folder / f"{recipe}-{train}-{seed}"
    run.mkdir(parents=True)
    for name, count in (("outcomes_before", 0), ("outcomes", right)):
        rows = [
            Outcome(f"o{i}", "test", f"seed{seed}-item{i}", "", Verdict.CORRECT if i < count else Verdict.WRONG, "")
            for i in range(first, first + items)
        ]
        write_records(run / f"{name}.jsonl", rows)
    overrides = [f"recipe={recipe}", f"seed={seed}", f"data.train={train}"]
    results = {"recipe": recipe, "model": "tiny", "seed": seed, "overrides": overrides, "tokens_trained": 1}
    (run / "results.json").write_text(json.dumps(results))
    (run / "config.yaml").write_text(json.dumps({"seed": seed, "data": {"train": train}, "recipe": {"name": recipe}}))
    (run / "status.json").write_text('{"status": "done"}')


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """`sei` is far ahead with 100 problems, level somewhere between 100 and 1,000, and behind with 1,000."""
    for seed in (0, 1):
        for train, cot, sei in ((100, 8, 24), (1000, 30, 14)):
            make_run(tmp_path, "cot", seed, train, cot + seed)
            make_run(tmp_path, "sei", seed, train, sei + seed)
    return tmp_path


def test_seeds_with_items_of_their_own_are_compared_within_each_seed(sweep: Path) -> None:
    found = curves(find_runs([sweep]), "data.train")
    assert (found.baseline, found.places, found.tests) == ("cot", (100.0, 1000.0), 2)
    few, many = (one for one in found.points if one.recipe == "sei")
    assert few.difference == pytest.approx(16 / 40)
    assert many.difference == pytest.approx(-16 / 40)
    for point in (few, many):
        assert point.seeds == "0 1"
        assert point.difference_low is not None
        assert point.difference_high is not None
        assert point.difference_low < point.difference < point.difference_high  # type: ignore[operator]
        assert point.p is not None
        assert point.p < 0.01
        assert point.p_holm is not None
        assert point.p <= point.p_holm <= 1
    assert few.after == pytest.approx(24.5 / 40)


def test_a_line_crosses_halfway_on_a_logarithmic_axis_between_equal_and_opposite_differences(sweep: Path) -> None:
    (crossing,) = curves(find_runs([sweep]), "data.train").crossings
    assert crossing.place == pytest.approx((100 * 1000) ** 0.5)
    assert crossing.falls
    assert crossing.share > 0.99
    assert crossing.low is not None
    assert crossing.high is not None
    assert 100 < crossing.low < crossing.place < crossing.high < 1000


def test_lines_that_do_not_cross_are_not_said_to(tmp_path: Path) -> None:
    for train in (100, 1000):
        make_run(tmp_path, "cot", 0, train, 10)
        make_run(tmp_path, "sei", 0, train, 20)
    found = curves(find_runs([tmp_path]), "data.train")
    assert found.crossings[0].place is None
    *_, table = sheets(found)
    assert table.rows == [["sei", "test", "not said", "-", f"{100 * found.crossings[0].share:.0f}"]]


def test_a_seed_that_is_missing_at_one_place_is_left_out_there_alone(sweep: Path) -> None:
    make_run(sweep, "cot", 2, 100, 8)
    make_run(sweep, "sei", 2, 100, 24)
    found = curves(find_runs([sweep]), "data.train")
    few, many = (one for one in found.points if one.recipe == "sei")
    assert (few.seeds, many.seeds) == ("0 1 2", "0 1")
    assert many.difference == pytest.approx(-16 / 40)


def test_different_items_of_one_seed_are_refused(sweep: Path) -> None:
    make_run(sweep, "cot", 3, 100, 8)
    make_run(sweep, "sei", 3, 100, 8, first=1)
    with pytest.raises(UserError, match="answered different items of test"):
        curves(find_runs([sweep]), "data.train")


@pytest.mark.parametrize(("key", "said"), [("data.trian", "no number"), ("recipe.name", "no number"), ("seed", "")])
def test_a_key_that_makes_no_curve(sweep: Path, key: str, said: str) -> None:
    if key == "seed":
        assert curves(find_runs([sweep]), key).places == (0.0, 1.0)
        return
    with pytest.raises(UserError, match=f"{said} of it, and a curve needs two"):
        curves(find_runs([sweep]), key)


def test_the_command_writes_table_and_figure(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        [
            str(sweep),
            "--curve",
            "data.train",
            "--output",
            str(tmp_path / "curve.md"),
            "--output",
            str(tmp_path / "c.svg"),
        ]
    )
    printed = capsys.readouterr()
    assert printed.out == (sweep / "curve.csv").read_text()
    assert printed.out.startswith("eval_set,recipe,place,seeds,after")
    assert "| sei | +40.0\\* \\[" in (tmp_path / "curve.md").read_text()
    assert (sweep / "curve.png").stat().st_size > 10_000
    assert (tmp_path / "c.svg").read_text().startswith("<?xml")
    assert "wrote " in printed.err


def test_seeds_that_disagree_make_the_interval_wide(tmp_path: Path) -> None:
    for train in (100, 1000):
        for seed, sei in ((0, 36), (1, 4)):
            make_run(tmp_path, "cot", seed, train, 20)
            make_run(tmp_path, "sei", seed, train, sei)
    point = next(one for one in curves(find_runs([tmp_path]), "data.train").points if one.recipe == "sei")
    assert point.difference == 0
    assert point.difference_low is not None
    assert point.difference_high is not None
    assert point.difference_low < -0.35 < 0.35 < point.difference_high, "as if one seed had been drawn twice"


def test_a_comparison_without_a_key_compares_within_seeds_that_have_items_of_their_own(tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run(tmp_path, "cot", seed, 100, 10 + seed)
        make_run(tmp_path, "sei", seed, 100, 30 + seed)
    found = compare(find_runs([tmp_path]))
    (accuracy, _), (paired,) = found.of_kind("accuracy"), found.of_kind("paired")
    assert (accuracy.eval_set, accuracy.seeds, accuracy.items) == ("test", "0 1", 40), "one set, not one for each seed"
    assert paired.difference == pytest.approx(20 / 40)
    assert paired.remark == "bootstrap over seeds and the items of each"
    make_run(tmp_path, "lema", 1, 100, 5, first=3)  # one seed with two choices of items: compared apart
    names = {row.eval_set for row in compare(find_runs([tmp_path])).of_kind("accuracy")}
    assert len(names) == 3


def test_runs_are_not_told_apart_by_a_key_to_ignore(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        for recipe in ("cot", "sei"):
            make_run(tmp_path, recipe, seed, 100 + seed, 10)
    for words, groups in (([], 4), (["--ignore", "data.train"], 2)):
        main([str(tmp_path), *words])
        assert capsys.readouterr().out.count("\naccuracy,test,") == groups
