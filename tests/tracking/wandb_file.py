"""What a reader of the W&B page would see of a run folder, read from the offline files that `wandb sync` would upload.

The format of a `.wandb` file: seven bytes of header, then records of protocol buffers framed as LevelDB's log frames them:
blocks of 32 KiB, in them pieces of (checksum, length, kind) and bytes, where kind says whole, first, middle or last.
"""

from __future__ import annotations

import csv
import json
import re
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2 as proto

BLOCK, HEADER, PIECE = 32768, 7, struct.Struct("<IHB")
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[proto.Record]:
    """The records of one file, up to where a kill cut it."""
    data = path.read_bytes()
    assert data[:4] == b":W&B", path
    place, parts = HEADER, b""
    while place + PIECE.size <= len(data):
        if BLOCK - place % BLOCK < PIECE.size:  # what is left of a block cannot hold a piece
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = PIECE.unpack_from(data, place)
        place += PIECE.size
        if kind not in (WHOLE, FIRST, MIDDLE, LAST) or place + length > len(data):
            return
        parts += data[place : place + length]
        place += length
        if kind in (WHOLE, LAST):
            yield proto.Record.FromString(parts)
            parts = b""


@dataclass
class Page:
    """One run as W&B shows it: all files of a folder that have its id, in the order of their start."""

    files: list[Path]
    runs: list[Any] = field(default_factory=list)  # the record that opens each file
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)  # by name, with its * where it has one
    artifacts: dict[str, Any] = field(default_factory=dict)
    exits: list[int] = field(default_factory=list)

    @property
    def run(self) -> Any:
        return self.runs[-1]

    def series(self, name: str, axis: str | None = None) -> list[tuple[Any, Any]]:
        """A metric over its axis: the one that it is defined over, unless another is named."""
        glob = f"{name.rpartition('/')[0]}/*"
        axis = axis or (self.metrics[glob].step_metric if glob in self.metrics else "_step")
        return [(row[axis], row[name]) for row in self.history if name in row]

    def drawn(self, name: str, axis: str | None = None) -> list[tuple[Any, Any]]:
        """The same as a panel draws it, along the axis. After a kill the last rows before it may be there twice."""
        return sorted(set(self.series(name, axis)))

    def table(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table, by column."""
        place = self.summary[name]["path"]
        path = next(file.parent / "files" / place for file in self.files if (file.parent / "files" / place).is_file())
        content = json.loads(path.read_text(encoding="utf-8"))
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def read_page(run_folder: Path) -> Page:
    """The page of a run folder. W&B's service may still be writing what the process has finished: it is waited for."""
    last = max(run_folder.glob("wandb/offline-run-*/*.wandb"))
    deadline = time.monotonic() + 20
    while not any(record.HasField("exit") for record in records(last)) and time.monotonic() < deadline:
        time.sleep(0.02)
    page = Page(sorted(run_folder.glob("wandb/offline-run-*/*.wandb")))
    for path in page.files:
        for record in records(path):
            _add(page, record)
    assert len({run.run_id for run in page.runs}) == 1, "one run a job"
    return page


def _add(page: Page, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        page.runs.append(record.run)
        page.config.update(_values(record.run.config.update))
    elif kind == "config":
        page.config.update(_values(record.config.update))
    elif kind == "history":
        page.history.append(_values(record.history.item))
    elif kind == "summary":
        for item in record.summary.update:
            _set(page.summary, item)
    elif kind == "metric":
        page.metrics[record.metric.glob_name or record.metric.name] = record.metric
    elif kind == "artifact":
        page.artifacts[record.artifact.name] = record.artifact
    elif kind == "exit":
        page.exits.append(record.exit.exit_code)


def _values(items: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        _set(found, item)
    return found


def _set(values: dict[str, Any], item: Any) -> None:
    *path, name = list(item.nested_key) or [item.key]
    for part in path:
        values = values.setdefault(part, {})
    values[name] = json.loads(item.value_json)


def check_page(run_folder: Path, results: dict[str, Any], files: int = 1) -> Page:
    """What holds for the page of every job that ended well, whatever its recipe. `files`: how often it was started."""
    page = read_page(run_folder)
    assert len(page.files) == files
    assert page.exits[-1] == 0
    assert all(run.resume for run in page.runs)
    steps = [row["_step"] for row in page.history]
    assert steps == sorted(set(steps)), "no step twice, none before another"
    if files == 1:
        assert steps == list(range(len(steps))), "none left out"
    assert page.summary.keys() >= {"status", "validation/accuracy", "tokens_trained", "commit", "device"}
    assert page.summary["status"] == "done"
    _check_names(page, results)
    _check_curves(page, run_folder, results)
    for stage, account in results["ledger"].items():
        name = f"ledger/{stage.replace('.', '_')}"
        assert [value for _, value in page.drawn(f"{name}/received")] == [account["received"]], stage
        assert [value for _, value in page.drawn(f"{name}/passed")] == [account["passed"]], stage
    for name, entry in results["eval"].items():
        before, after = entry["before"]["accuracy"], entry["after"]["accuracy"]
        assert page.drawn(f"eval/{name}") == [(0, before), (results["tokens_trained"], after)]
        assert page.summary[f"{name}/change"] == pytest.approx(after - before)
        assert page.summary[f"{name}/fixed"] - page.summary[f"{name}/broken"] == round(
            (after - before) * entry["after"]["n"]
        )
    _check_tables(page, run_folder, results)
    return page


def _check_tables(page: Page, run_folder: Path, results: dict[str, Any]) -> None:
    items = page.table("tables/items")
    for name, entry in results["eval"].items():
        own = [row for row in items if row["set"] == name]
        assert len(own) == entry["before"]["n"]
        assert sum(row["before"] == "correct" for row in own) == entry["before"]["correct"]
        assert sum(row["after"] == "correct" for row in own) == entry["after"]["correct"]
        assert Counter(row["change"] for row in own)["fixed"] == page.summary[f"{name}/fixed"]
        assert all(row["question"] and row["gold"] and row["output before"] and row["output after"] for row in own)
        for kind in results["error_types"]:
            typed = [row for row in own if row["error type before"] == kind["name"]]
            assert len(typed) == entry["error_types"][kind["id"]]["before"]
    mistakes = page.table("tables/mistakes")
    found = {name: account for name, account in results["ledger"].items() if name.endswith("mistakes")}
    assert len(mistakes) == len({row["mistake"] for row in mistakes})
    assert set(Counter(row["stage"] for row in mistakes)) <= set(found)
    told = [row for row in mistakes if row["diagnosis"]]
    if {"diagnoses", "traces"} & set(results["ledger"]):
        assert len(told) > len(mistakes) / 2
        assert all(row["its text"] in row["output"] for row in told if row["its text"])
    made = [account["records"] for name, account in results["ledger"].items() if name == "synthetic"]
    assert len(page.table("tables/synthesized")) == sum(made)
    for stage, account in {row.pop("stage"): row for row in page.table("tables/ledger")}.items():
        assert account["received"] == results["ledger"][stage]["received"]
    names = [f"{results['model']}-{results['data']}-{name}" for name in ("problems", "training-set", "evaluation")]
    assert set(names) <= set(page.artifacts)
    assert "model" not in {artifact.type for artifact in page.artifacts.values()}, (
        "adapters stay here, see logger.upload"
    )
    chain = json.loads(page.artifacts[names[-1]].metadata)["made_from"]
    assert [entry.partition(":")[0] for entry in chain if entry.partition(":")[0] in names][:2] == names[:2]
    local = next(iter(page.artifacts[names[1]].manifest.contents))
    assert len(Path(local.local_path).read_text(encoding="utf-8").splitlines()) > 0
    assert Path(local.local_path).is_relative_to(run_folder.resolve()), "staged in the run folder"


def _check_names(page: Page, results: dict[str, Any]) -> None:
    assert page.config["recipe"]["name"] == page.run.job_type == results["recipe"]
    assert page.config["seed"] == results["seed"]
    assert page.config["variant"].split(", ")[0] == results["recipe"]
    assert page.run.display_name == f"{page.config['variant']}, seed {results['seed']}"[:128]
    assert {results["recipe"], results["model"], results["data"]} <= set(page.run.tags)
    assert not re.search(r'"[A-Z]\w+\.\w+"', json.dumps(page.config)), "no name of an enumeration"


def _check_curves(page: Page, run_folder: Path, results: dict[str, Any]) -> None:
    trainings = [
        stage for stage in results["ledger"] if stage.partition(".round")[0] in ("adapter", "student", "sampler")
    ]
    tokens = 0
    for stage in trainings:
        name, _, number = stage.partition(".round")
        prefix = f"round{number or 1}/train" if name == "adapter" else f"round{number or 1}/{name}/train"
        (manifest,) = run_folder.glob(f"stages/[0-9]*-{stage}/manifest.json")
        numbers = json.loads(manifest.read_text(encoding="utf-8"))["numbers"]
        assert page.drawn(f"{prefix}/loss") == list(enumerate(numbers["loss_curve"], start=1))
        assert page.drawn(f"{prefix}/tokens")[-1][1] == numbers["tokens"] == numbers["tokens_curve"][-1]
        tokens += numbers["tokens"]
        assert page.drawn(f"{prefix}/loss", "tokens_trained")[-1] == (tokens, numbers["final_loss"])
        with (run_folder / "curves" / f"{stage}.csv").open(encoding="utf-8", newline="") as file:
            rows = [*csv.DictReader(file)]
        assert [float(row["loss"]) for row in rows] == numbers["loss_curve"]
        assert [int(row["step"]) for row in rows] == list(range(1, numbers["steps"] + 1))
    assert tokens == results["tokens_trained"]
