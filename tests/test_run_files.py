"""The commands on run folders whose files are damaged: a message that names the file, never a traceback."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sei import ledger, review
from sei.comparison.rows import compare
from sei.comparison.runs import find_runs
from sei.errors import UserError
from sei.llm.account import run_name
from sei.llm.store import Store
from sei.records import Correction, Mistake, Outcome, Verdict
from sei.run_files import read_object
from sei.workspace import write_json, write_records


def whole_run(folder: Path) -> None:
    """The files that the commands read, as a run writes them."""
    folder.mkdir(parents=True)
    outcome = Outcome("o", "t", "p", "fam", Verdict.CORRECT, "out")
    for name in ("outcomes.jsonl", "outcomes_before.jsonl"):
        write_records(folder / name, [outcome])
    mistake = Mistake("m", "p", "a", "tiny", "q", "1", "#### 1", "2+3=6\n#### 6")
    write_records(folder / "mistakes.jsonl", [mistake])
    write_records(folder / "corrections.jsonl", [Correction("c", "m", 1, "why", ("2+3=5",), "2+3=5\n#### 5", "5")])
    write_json(folder / "status.json", {"status": "done"})
    write_json(folder / "results.json", {"overrides": [], "recipe": "cot", "seed": 0, "tokens_trained": 5, "model": "m",
               "eval": {}, "error_types": []})  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump({"recipe": {"name": "cot"}, "seed": 0, "data": {"kind": "a"}}))
    Store(folder / "s.sqlite").close()
    write_json(folder / "teacher.json", {"run": "r", "store": str(folder / "s.sqlite")})


COMMANDS: dict[str, Callable[[Path], Any]] = {
    "compare": lambda folder: compare(find_runs([folder])),
    "ledger": ledger.read_ledger,
    "review": review.sheet,
}
READS = {
    "compare": ("results.json", "status.json", "config.yaml", "outcomes.jsonl", "outcomes_before.jsonl"),
    "ledger": ("results.json", "teacher.json"),
    "review": ("corrections.jsonl", "mistakes.jsonl"),
}
CONTENTS = {"nothing": b"{", "null": b"null", "list": b"[1]", "number": b"3", "text": b'"x"', "deep": b"[" * 100_000,
            "bytes": b"\xff\xfe\x00", "digits": b'{"seed": ' + b"1" * 10_000 + b"}"}  # fmt: skip
VALUES = {"nulls": None, "lists": [1], "texts": "x"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_whole_run_is_read(tmp_path: Path, command: str) -> None:
    whole_run(tmp_path / "run")
    COMMANDS[command](tmp_path / "run")


@pytest.mark.parametrize(("command", "name"), [(command, name) for command, names in READS.items() for name in names])
@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_that_is_another_thing_is_named(tmp_path: Path, command: str, name: str, content: str) -> None:
    whole_run(tmp_path / "run")
    (tmp_path / "run" / name).write_bytes(CONTENTS[content])
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        COMMANDS[command](tmp_path / "run")


@pytest.mark.parametrize(("command", "name"), [(command, name) for command, names in READS.items() for name in names])
@pytest.mark.parametrize("value", VALUES)
def test_values_of_another_kind_are_an_error_or_harmless(tmp_path: Path, command: str, name: str, value: str) -> None:
    whole_run(tmp_path / "run")
    path = tmp_path / "run" / name
    if path.suffix == ".jsonl":
        row = json.loads(path.read_text())
        path.write_text(json.dumps(dict.fromkeys(row, VALUES[value])) + "\n")
    else:
        write_json(path, dict.fromkeys(read_object(path), VALUES[value]))
    if path.suffix == ".jsonl" or command == "ledger":
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            COMMANDS[command](tmp_path / "run")
    else:  # not every value is looked at
        with contextlib.suppress(UserError):
            COMMANDS[command](tmp_path / "run")


@pytest.mark.parametrize("content", ['{"run": null}', '{"run": ""}', '{"run": [1]}', "[1]", "[" * 100_000, "{"])
def test_a_run_without_a_name_is_charged_to_nobody(tmp_path: Path, content: str) -> None:
    """`None` as a name would have runs share one budget."""
    (tmp_path / "teacher.json").write_text(content)
    with pytest.raises(UserError, match=r"teacher\.json"):
        run_name(tmp_path, tmp_path / "s.sqlite")
