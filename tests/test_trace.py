"""`python -m sei.trace`: every record in both directions, on a terminal and off it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from sei import trace
from sei.errors import UserError
from sei.terminal import Terminal
from sei.tracking.graph import Graph, read_graph
from sei.workspace import write_json
from tests.tracking.run_folder import HOSTILE, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("trace") / "run", mistakes=20, items=40, rows=20)


@pytest.fixture(scope="module")
def graph(run: Path) -> Graph:
    return read_graph(run)


def lines(graph: Graph, wanted: str) -> list[list[str]]:
    """The rows off a terminal: direction, depth, kind, id, text."""
    out = io.StringIO()
    trace.show(graph, trace.find(graph, wanted), Terminal(file=out, width=60))
    return [line.split("\t") for line in out.getvalue().splitlines()]


def drawn(graph: Graph, wanted: str) -> str:
    """What a terminal of 120 columns shows."""
    out = io.StringIO()
    console = Terminal(file=out, width=120, force_terminal=True, color_system=None, highlight=False)
    trace.show(graph, trace.find(graph, wanted), console)
    return out.getvalue()


def test_a_training_row_leads_back_to_the_attempt_of_its_mistake(graph: Graph) -> None:
    found = [row[:4] for row in lines(graph, "example-2") if row[0] == "from"]
    assert found[:3] == [
        ["from", "1", "new problem", "synthetic-2"],
        ["from", "2", "mistake", "mistake-2"],  # the row names it too: it stands where it is nearest
        ["from", "2", "error type", "type-a"],
    ]
    assert [row[3] for row in found[3:]] == [f"mistake-{n}" for n in range(0, 20, 2)]


def test_a_mistake_leads_on_to_the_rows_that_came_of_it(graph: Graph) -> None:
    found = [row for row in lines(graph, "mistake-2") if row[0] == "to"]
    assert [row[1:4] for row in found][:3] == [
        ["1", "diagnosis", "diagnosis-2"],
        ["1", "new problem", "synthetic-2"],
        ["2", "training row", "example-2"],
    ]
    assert ["1", "error type", "type-a"] in [row[1:4] for row in found]
    assert "rejected-2" in [row[3] for row in found], "what was rejected of it has its reason"


def test_a_fixed_test_item_leads_to_what_was_trained_on_for_its_type(graph: Graph) -> None:
    found = lines(graph, "outcome-before-4")  # an outcome is its item
    assert found[0][:4] == ["this", "0", "test item", "problem-t4"]
    said = {row[2]: row[4] for row in found if row[0] == "says"}
    assert said["change"] == "fixed"
    assert said["gold"] == "4"
    assert (said["before training"], said["after training"]) == ("wrong: output 4 before", "correct: output 4 after")
    assert said["question"].startswith("Test question 4")
    below = [row[1:4] for row in found if row[0] == "from"]
    assert below[:3] == [
        ["1", "error type", "type-a"],
        ["2", "new problem", "synthetic-0"],
        ["3", "training row", "example-0"],
    ]
    assert {row[2] for row in below if row[1] == "training row"} == {f"example-{n}" for n in range(0, 20, 2)}
    assert not any(row[0] == "to" for row in found)


def test_a_type_lists_its_test_items_by_what_became_of_them(graph: Graph) -> None:
    items = [row for row in lines(graph, "type-a") if row[2] == "test item"]
    assert [row[4].split(",")[0] for row in items] == ["fixed"] * 10 + ["broken"] * 10 + ["still wrong"] * 10


def test_a_terminal_is_shown_a_few_of_each_kind_and_no_markup_or_control_characters(graph: Graph) -> None:
    text = drawn(graph, "type-a")
    assert "and 5 more: new problem" in text
    assert "and 5 more: test item, still wrong" in text
    assert max(map(cell_len, text.splitlines())) <= 120
    assert HOSTILE.split("\ud800")[0].strip() in drawn(graph, "problem-t2").replace("\n    ", " ")


def test_a_unique_beginning_is_enough_and_others_are_named(graph: Graph) -> None:
    assert trace.find(graph, "diagnosis-13").id == "diagnosis-13"
    assert trace.find(graph, "outcome-after-39").id == "problem-t39"
    with pytest.raises(UserError, match=r"example-: 20 records begin so: example-0, .* and 15 more. Give more"):
        trace.find(graph, "example-")
    with pytest.raises(UserError, match=r"exmaple-3: no record of .* Nearest: example-3"):
        trace.find(graph, "exmaple-3")


def test_without_an_id_the_types_and_where_to_go_on(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trace.main([str(run)]) == 0
    text = capsys.readouterr().out
    (row,) = re.findall(r"^\| type-a .*$", text, re.MULTILINE)
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["lost a carry", "1", "10", "10", "10", "10", "10"]
    assert f"next: python -m sei.trace {run} problem-t0" in text.splitlines()


def test_a_run_that_is_not_there_or_not_done_says_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trace.main([str(tmp_path / "none"), "x"]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert trace.main([str(run.parent), "x"]) == 2
    assert f"no finished stage (its status is unknown). Give one of the run folders in it, such as {run}" in (
        capsys.readouterr().err
    )
    failed = make_run(tmp_path / "failed")
    write_json(failed / "status.json", {"status": "failed", "error": "UserError: no"})
    assert trace.main([str(failed), "mistake-1"]) == 0
    assert "This run is failed: what its later stages make is not there." in capsys.readouterr().err
    assert trace.main([str(failed), "problem-t1"]) == 2
    assert "The run is failed: what its later stages make is not there." in capsys.readouterr().err
    (failed / "stages" / "01-mistakes" / "records.jsonl").write_text("{")
    assert trace.main([str(failed), "mistake-1"]) == 2
    assert "holds values of another kind" in capsys.readouterr().err


def test_a_run_without_types_says_what_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = make_run(tmp_path / "plain")
    for folder in (plain / "stages").glob("*-error_types*"):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    assert trace.main([str(plain)]) == 0
    assert "which has no error types" in capsys.readouterr().out
    assert "This run's recipe forms no error types" in drawn(read_graph(plain), "problem-t0")
