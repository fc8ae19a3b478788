"""`python -m sei.aimed` on small run folders made by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from sei.aimed import Item, effect, families_with_rows, figures_of, items_of, main
from sei.errors import UserError
from sei.recipes.self_error_instruct import aimed_at
from sei.records import ErrorType, Example, Mistake, Outcome, Problem, Synthetic, Verdict
from sei.tracking.page.folder import RunFolder
from sei.workspace import write_records

SIZES = {"a": 9, "b": 5, "c": 2}  # odd: a and c; even: b


def error_type(name: str) -> ErrorType:
    return ErrorType(name, name, "", SIZES[name], (), (), (), 0.0, ())


def make_stage(run: Path, number: int, name: str, stage: str, records: list[object]) -> None:
    folder = run / "stages" / f"{number:02d}-{name}"
    folder.mkdir(parents=True)
    write_records(folder / "records.jsonl", records)  # type: ignore[arg-type]
    (folder / "manifest.json").write_text(json.dumps({"stage": stage}))


def make_run(
    folder: Path, aim: str, seed: int, right: str, *, families: str = "wwwx", types: str = "abc-"
) -> RunFolder:
    """Four test items: types a, b, c, and one that is right before training. `right`: 1 for each that is so afterwards."""
    run = folder / f"{aim}-{seed}"
    run.mkdir(parents=True)
    for name, marks in (("outcomes_before", "0001"), ("outcomes", right)):
        rows = [
            Outcome(
                f"o{i}", "test", f"p{i}", family, Verdict.CORRECT if mark == "1" else Verdict.WRONG, "",
                error_type="" if kind == "-" or name == "outcomes" else kind,
            )
            for i, (mark, kind, family) in enumerate(zip(marks, types, families, strict=True))
        ]  # fmt: skip
        write_records(run / f"{name}.jsonl", rows)
    (run / "results.json").write_text(json.dumps({"recipe": "sei", "seed": seed}))
    (run / "config.yaml").write_text(json.dumps({"recipe": {"name": "sei", "synthesis": {"aim": aim}}}))
    (run / "status.json").write_text('{"status": "done"}')
    make_stage(run, 1, "problems", "problems", [Problem("g", "?", "1", "1", "train", family="gold")])
    mistake = Mistake("m", "p", "t", "?", "1", "1", "2", "tiny", family="w")
    make_stage(run, 2, "mistakes", "mine", [mistake])
    make_stage(run, 3, "error_types", "cluster", [error_type(name) for name in SIZES])
    made = Synthetic("s", "?", "1", "1", "a", ("m",))
    make_stage(run, 4, "synthetic", "synthesize", [made])
    make_stage(run, 5, "adapter", "finetune", [Example("e", "?", "1", "synthetic", ("s", "m"))])
    return RunFolder(run)


def test_every_other_type_by_size_is_aimed_at() -> None:
    types = [error_type(name) for name in "cab"]
    assert [kind.id for kind in aimed_at(types, "odd")] == ["a", "c"]
    assert [kind.id for kind in aimed_at(types, "even")] == ["b"]
    assert aimed_at(types, "all") == types


def test_an_item_is_compared_with_itself_under_the_other_aim(tmp_path: Path) -> None:
    odd, even = make_run(tmp_path, "odd", 0, "1011"), make_run(tmp_path, "even", 0, "0100")
    found = items_of(0, odd, even)
    assert [(item.fixed_aimed, item.fixed_other) for item in found] == [(True, False)] * 3, (
        "the right one is no mistake"
    )
    assert effect(found).difference == 1
    swapped = items_of(0, make_run(tmp_path / "2", "odd", 0, "0100"), make_run(tmp_path / "2", "even", 0, "1010"))
    assert effect(swapped).difference == -1


def test_the_interval_is_over_seeds_and_items(tmp_path: Path) -> None:
    pairs = [(make_run(tmp_path, "odd", seed, "1001"), make_run(tmp_path, "even", seed, "0001")) for seed in (0, 1)]
    found = effect([item for seed, pair in enumerate(pairs) for item in items_of(seed, *pair)])
    assert (found.items, found.seeds, found.aimed, found.other) == (6, 2, 2 / 6, 0)
    assert 0 <= found.low < found.difference < found.high <= 1


def test_seeds_with_the_same_mistakes_are_drawn_together_with_them() -> None:
    """Five seeds of the same hundred items are no five hundred items: the interval stays as wide as theirs."""
    one = [Item(0, "test", f"p{i}", i < 30, i >= 80) for i in range(100)]
    shared = [dataclasses.replace(item, seed=seed) for seed in range(5) for item in one]
    apart = [dataclasses.replace(item, problem=f"{item.seed}-{item.problem}") for item in shared]
    single, many, others = (effect(items) for items in (one, shared, apart))
    assert many.difference == single.difference == others.difference
    assert many.high - many.low > 0.9 * (single.high - single.low)
    assert others.high - others.low < 0.6 * (single.high - single.low)


def test_broken_answers_by_whether_their_family_has_rows(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, "odd", 0, "1110"), make_run(tmp_path, "even", 0, "1111", families="wwww")]
    assert families_with_rows(runs[0]) == {"w"}, "of the mistake behind the new problem, not of problems without rows"
    rows = {row["rows"]: (row["items"], row["broken"]) for row in figures_of(runs)["forgetting"]}
    assert rows == {True: (1, 0), False: (1, 1)}


def test_what_cannot_be_compared_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "one", "odd", 3, "1111")
    with pytest.raises(SystemExit, match=r"seed 3: no finished run with recipe\.synthesis\.aim=even"):
        main([str(tmp_path / "one")])
    make_run(tmp_path / "all", "all", 0, "1111")
    with pytest.raises(SystemExit, match=r"aim=all\. Two runs of each seed are compared here"):
        main([str(tmp_path / "all")])
    with pytest.raises(SystemExit, match="no finished run here or below"):
        main([str(tmp_path / "nothing")])
    make_run(tmp_path / "twice", "odd", 0, "1111")
    make_run(tmp_path / "twice" / "more", "odd", 0, "1111")
    with pytest.raises(SystemExit, match="both have seed=0"):
        main([str(tmp_path / "twice")])
    with pytest.raises(UserError, match=r"eval\.diagnose=true"):
        effect([])


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, "odd", 0, "1010")
    make_run(tmp_path, "even", 0, "0100")
    main([str(tmp_path)])
    printed = capsys.readouterr().out
    assert "100.0" in printed
    assert "+100.0" in printed
    assert json.loads((tmp_path / "aimed.json").read_text())["aiming"]["test"]["difference"] == 1
